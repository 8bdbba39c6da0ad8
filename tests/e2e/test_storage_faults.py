"""What an agent reads when the database cannot be used, and that the server survives it."""

import asyncio
import resource
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from e2e.raw_mcp import RawMcp
from e2e.servers import Server, after, contents, events, opened, row_counts, server, start_server
from task_copilot.database import sqlite
from task_copilot.database.store import open_database
from task_copilot.errors import StorageBusy, StorageError
from task_copilot.events import log

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="prlimit")

NO_LIMIT = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
BIG = "x" * 60_000


def limit_files(mcp: RawMcp, size: int) -> None:
    """Lets no file of the server's process grow beyond `size`, as if the disk were full."""
    resource.prlimit(mcp.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def has_room_again(mcp: RawMcp) -> None:
    resource.prlimit(mcp.process.pid, resource.RLIMIT_FSIZE, NO_LIMIT)


def is_whole(database: Path) -> bool:
    with opened(database) as connection:
        (verdict,) = connection.execute("PRAGMA integrity_check").fetchone()
        broken = connection.execute("PRAGMA foreign_key_check").fetchall()
    return bool(verdict == "ok" and not broken)


def assert_log_has_no_holes(database: Path) -> None:
    numbers = [event["seq"] for event in events(database)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert contents(database)["log"][0][-1] == len(numbers)


async def made_database(tmp_path: Path) -> Path:
    """A database with one task in a stream, one checkpoint and no server."""
    async with start_server(tmp_path) as mcp:
        await mcp.ok("task_create", title="Kept", streamId="A", description="a description")
        await mcp.ok("checkpoint_create", taskId="TASK-1", draftContent="a draft")
    return mcp.database


def settle(database: Path) -> None:
    """Brings all that the write-ahead log holds into the file itself."""
    with opened(database, write=True) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


# A full disk


async def test_a_full_disk_refuses_changes_and_takes_them_once_it_has_room(tmp_path: Path) -> None:
    async with start_server(tmp_path, log_level="info") as mcp:
        await mcp.ok("task_create", title="Kept", streamId="A")
        await mcp.served()
        before = contents(mcp.database)
        limit_files(mcp, 0)
        for tool, arguments in (
            ("task_create", {"title": "Lost", "streamId": "A"}),
            ("task_update", {"id": "TASK-1", "status": "completed"}),
            ("checkpoint_create", {"taskId": "TASK-1", "draftContent": BIG}),
        ):
            text = await mcp.refused(tool, **arguments)
            assert "Nothing was written" in text
            assert "disk" in text
            assert "try again" in text
        assert contents(mcp.database) == before
        assert (await mcp.ok("task_get", id="TASK-1"))["title"] == "Kept"
        has_room_again(mcp)
        assert (await mcp.ok("task_create", title="After", streamId="A"))["id"] == "TASK-2"
        assert (await mcp.ok("task_update", id="TASK-1", status="completed"))["id"] == "TASK-1"
        assert is_whole(mcp.database)
        assert_log_has_no_holes(mcp.database)


async def test_many_changes_at_once_on_a_full_disk_are_all_refused(tmp_path: Path) -> None:
    async with start_server(tmp_path) as mcp:
        await mcp.ok("task_create", title="Kept")
        before = contents(mcp.database)
        limit_files(mcp, 0)
        texts = await asyncio.gather(
            *(mcp.refused("task_create", title=f"Lost {number}") for number in range(50))
        )
        assert all("disk" in text for text in texts)
        assert contents(mcp.database) == before
        has_room_again(mcp)
        await asyncio.gather(*(mcp.ok("task_create", title=f"After {n}") for n in range(50)))
        assert row_counts(mcp.database)["tasks"] == 51
        assert_log_has_no_holes(mcp.database)


async def test_a_disk_that_fills_up_loses_no_change_that_was_answered(tmp_path: Path) -> None:
    async with start_server(tmp_path) as mcp:
        await mcp.ok("task_create", title="First")
        limit_files(mcp, 600_000)
        answered = ["TASK-1"]
        for _ in range(20):
            result = await mcp.call("task_create", {"title": "More", "description": BIG})
            if result.get("isError"):
                break
            answered.append(result["structuredContent"]["id"])
        else:
            pytest.fail("the disk never filled up")
        assert [f"TASK-{row[0]}" for row in contents(mcp.database)["tasks"]] == answered
        assert_log_has_no_holes(mcp.database)
        mcp.process.kill()
        await mcp.wait_exit()
        assert is_whole(mcp.database)
        assert [f"TASK-{row[0]}" for row in contents(mcp.database)["tasks"]] == answered


async def test_a_disk_that_is_full_from_the_start_is_said_and_tried_again(tmp_path: Path) -> None:
    full = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))"
    async with start_server(tmp_path, command=after(full)) as mcp:
        assert "disk" in await mcp.refused("task_create", title="Lost")
        assert "disk" in await mcp.refused("task_list")
        has_room_again(mcp)
        assert (await mcp.ok("task_create", title="After"))["id"] == "TASK-1"


LIMITED_PAGES = """
from pathlib import Path
from sqlalchemy import Engine, event

@event.listens_for(Engine, "connect")
def limit(connection, record):
    # Like the first look of the program itself, this one may have to wait for another.
    [waits] = connection.execute("PRAGMA busy_timeout").fetchone()
    connection.execute("PRAGMA busy_timeout=10000")
    connection.execute("PRAGMA max_page_count=" + Path("pages").read_text())
    connection.execute(f"PRAGMA busy_timeout={waits}")
"""


async def test_only_the_change_that_does_not_fit_is_refused_among_many(tmp_path: Path) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    pages = folder / "pages"
    pages.write_text("1000000")
    async with start_server(tmp_path, command=after(LIMITED_PAGES)) as mcp:
        await mcp.ok("task_create", title="First")
        await mcp.ok("task_create", title="Room", description="x" * 30_000)
        await mcp.ok("task_update", id="TASK-2", description="")
    settle(mcp.database)
    pages.write_text(str(mcp.database.stat().st_size // 4096))
    async with start_server(tmp_path, command=after(LIMITED_PAGES)) as mcp:
        await mcp.ok("task_update", id="TASK-1", notes="so that the server has all that it needs")
        with opened(mcp.database, write=True) as other:
            # While the first waits for the lock the others queue up, for one transaction.
            other.execute("BEGIN IMMEDIATE")
            first = asyncio.create_task(mcp.ok("task_create", title="Waits for the lock"))
            await mcp.text("task_list")
            small = [asyncio.create_task(mcp.ok("task_create", title=f"S{n}")) for n in range(4)]
            big = asyncio.create_task(mcp.refused("task_create", title="Big", description=BIG))
            more = [asyncio.create_task(mcp.ok("task_create", title=f"M{n}")) for n in range(4)]
            await mcp.text("task_list")
            other.execute("ROLLBACK")
        refusal, *_ = await asyncio.gather(big, first, *small, *more)
        assert "Nothing was written" in refusal
        assert "the disk is full" in refusal
        assert "Free some space and try again" in refusal
        assert row_counts(mcp.database)["tasks"] == 11
        assert_log_has_no_holes(mcp.database)
        assert is_whole(mcp.database)


# A database that cannot be written


def read_only_url(database: Path) -> str:
    return f"sqlite:///file:{database}?mode=ro&uri=true"


async def test_a_read_only_database_is_read_and_changes_are_refused(tmp_path: Path) -> None:
    database = await made_database(tmp_path)
    before = contents(database)
    async with start_server(tmp_path, database_url=read_only_url(database)) as mcp:
        for tool, arguments in (
            ("task_create", {"title": "Lost"}),
            ("task_update", {"id": "TASK-1", "notes": "lost"}),
            ("checkpoint_create", {"taskId": "TASK-1"}),
            ("checkpoint_resume", {"taskId": "TASK-1"}),
        ):
            text = await mcp.refused(tool, **arguments)
            assert "Nothing was written" in text
            assert "read-only. Make it writable" in text
        assert "TASK-1 pending A Kept" in await mcp.text("task_list")
        assert (await mcp.ok("task_get", id="TASK-1"))["description"] == "a description"
        assert "A pending 0/1" in await mcp.text("stream_list")
        assert "CP-1" in await mcp.text("checkpoint_list", taskId="TASK-1")
        rest = await mcp.ok("checkpoint_resume", taskId="TASK-1", draftOffset=2)
        assert rest["draftContent"] == "draft"
    assert contents(database) == before


async def test_a_database_given_as_a_uri_makes_no_folder_in_the_project(tmp_path: Path) -> None:
    database = await made_database(tmp_path)
    async with start_server(tmp_path, database_url=read_only_url(database)) as mcp:
        await mcp.text("task_list")
    assert names_in(mcp.folder) == []


# A file that is something else


async def refuses_everything(mcp: Server, *words: str) -> None:
    """Every kind of call is refused with `words`, and the server goes on."""
    for tool, arguments in (
        ("task_create", {"title": "Lost"}),
        ("task_list", {}),
        ("task_get", {"id": "TASK-1"}),
        ("checkpoint_create", {"taskId": "TASK-1"}),
    ):
        text = await mcp.refused(tool, **arguments)
        assert [word for word in words if word not in text] == [], text
    answer = await mcp.request("tools/list")
    assert len(answer["result"]["tools"]) == 8


async def test_a_file_that_is_no_database_is_left_as_it_is(tmp_path: Path) -> None:
    mcp = server(tmp_path)
    content = b"notes of mine\n" * 1000
    mcp.database.write_bytes(content)
    async with start_server(tmp_path, database=mcp.database) as mcp:
        words = (str(mcp.database), "not a database", "Move it away", "TASK_COPILOT_DATABASE_URL")
        await refuses_everything(mcp, *words)
        assert mcp.database.read_bytes() == content
        mcp.database.rename(tmp_path / "moved")
        assert (await mcp.ok("task_create", title="After"))["id"] == "TASK-1"
    assert (tmp_path / "moved").read_bytes() == content


async def test_a_database_of_another_program_is_left_as_it_is(tmp_path: Path) -> None:
    database = tmp_path / "theirs.db"
    with opened_new(database) as connection:
        connection.execute("CREATE TABLE tasks (id INTEGER PRIMARY KEY, what TEXT)")
        connection.execute("INSERT INTO tasks VALUES (1, 'theirs')")
    content = database.read_bytes()
    async with start_server(tmp_path, database=database) as mcp:
        words = ("belongs to another program", "left as it is", "TASK_COPILOT_DATABASE_URL")
        await refuses_everything(mcp, *words)
    assert database.read_bytes() == content
    assert names_in(tmp_path) == ["data", "project", "theirs.db"]


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def opened_new(database: Path) -> Any:
    database.touch()
    return opened(database, write=True)


async def test_a_database_of_a_newer_version_is_left_as_it_is(tmp_path: Path) -> None:
    database = await made_database(tmp_path)
    with opened(database, write=True) as connection:
        connection.execute("PRAGMA user_version = 99")
    settle(database)
    content = database.read_bytes()
    async with start_server(tmp_path) as mcp:
        words = ("newer Task Copilot", "99", "left as it is", "upgrade Task Copilot")
        await refuses_everything(mcp, *words)
    assert database.read_bytes() == content


async def test_a_database_that_is_upgraded_meanwhile_is_not_written_any_more(
    tmp_path: Path,
) -> None:
    async with start_server(tmp_path) as mcp:
        await mcp.ok("task_create", title="Kept")
        with opened(mcp.database, write=True) as connection:
            connection.execute("PRAGMA user_version = 99")
        before = contents(mcp.database)
        text = await mcp.refused("task_create", title="Lost")
        assert "upgraded the database" in text
        assert "Restart this server" in text
        assert contents(mcp.database) == before


async def test_a_damaged_database_is_said_to_be_damaged(tmp_path: Path) -> None:
    database = await made_database(tmp_path)
    settle(database)
    content = bytearray(database.read_bytes())
    content[4096:] = b"\x5a" * (len(content) - 4096)
    database.write_bytes(content)
    async with start_server(tmp_path) as mcp:
        for call in (mcp.refused("task_create", title="Lost"), mcp.refused("task_list")):
            text = await call
            assert "damaged" in text
            assert "Restore it from a backup" in text
            assert str(database) in text


# A folder that cannot be made, and URLs that name nothing


@pytest.mark.parametrize("below", ["tasks.db", "deeper/tasks.db"])
async def test_a_file_where_the_folder_should_be_is_named_with_what_to_do(
    tmp_path: Path, below: str
) -> None:
    blocking = tmp_path / "blocking"
    blocking.write_text("mine")
    async with start_server(tmp_path, database=blocking / below) as mcp:
        await refuses_everything(mcp, str(blocking), "TASK_COPILOT_DATABASE_URL")
        assert "Errno" not in await mcp.refused("task_list")
        assert blocking.read_text() == "mine"
        blocking.unlink()
        assert (await mcp.ok("task_create", title="After"))["id"] == "TASK-1"


async def test_the_folder_of_a_new_database_is_made(tmp_path: Path) -> None:
    database = tmp_path / "some" / "new folder" / "tasks.db"
    async with start_server(tmp_path, database=database) as mcp:
        await mcp.ok("task_create", title="One")
    assert row_counts(database)["tasks"] == 1
    assert database.parent.stat().st_mode & 0o077 == 0


async def test_a_folder_in_place_of_the_database_is_said(tmp_path: Path) -> None:
    folder = tmp_path / "folder.db"
    folder.mkdir()
    async with start_server(tmp_path, database=folder) as mcp:
        await refuses_everything(mcp, str(folder), "cannot be opened")
    assert names_in(folder) == []


@pytest.mark.parametrize(
    "url",
    [
        "nonsense",
        "http://example.org/tasks.db",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite://host:port/tasks.db",
        "sqlite:///tasks.db?timeout=soon",
        "sqlite+nosuch:////tmp/tasks.db",
        "postgresql://me:geheim@host/db",
        "postgresql+psycopg://me:geheim@host:5432",
    ],
)
async def test_a_url_that_names_no_usable_database_is_refused_with_an_example(
    tmp_path: Path, url: str
) -> None:
    async with start_server(tmp_path, database_url=url) as mcp:
        await refuses_everything(mcp, "TASK_COPILOT_DATABASE_URL", "sqlite:////home/me/tasks.db")
        assert "geheim" not in await mcp.refused("task_list")
        await mcp.wait_until(lambda: "Events are not served" in mcp.stderr_text())
    assert "geheim" not in mcp.stderr_text()


# Locks of other processes


async def assert_waits(task: asyncio.Task[Any], seconds: float) -> None:
    """The task is not done within `seconds`; raises what it raised if it is."""
    done, _ = await asyncio.wait({task}, timeout=seconds)
    assert not done, task.result()


SHORT_PATIENCE = """
import task_copilot.database.sqlite
task_copilot.database.sqlite.LOCK_WAIT_SECONDS = 0.4
"""


async def test_a_lock_that_ends_soon_only_delays_the_change(tmp_path: Path) -> None:
    async with start_server(tmp_path) as mcp:
        await mcp.ok("task_create", title="First")
        with opened(mcp.database, write=True) as other:
            other.execute("BEGIN IMMEDIATE")
            change = asyncio.create_task(mcp.ok("task_create", title="Second"))
            await assert_waits(change, 2)
            # Nobody who only reads waits for the lock.
            assert (await mcp.ok("task_get", id="TASK-1"))["title"] == "First"
            other.execute("COMMIT")
            assert (await asyncio.wait_for(change, 5))["id"] == "TASK-2"
        assert_log_has_no_holes(mcp.database)


async def test_a_lock_that_does_not_end_is_told_to_the_agent(tmp_path: Path) -> None:
    async with start_server(tmp_path, command=after(SHORT_PATIENCE)) as mcp:
        await mcp.ok("task_create", title="First")
        before = contents(mcp.database)
        with opened(mcp.database, write=True) as other:
            other.execute("BEGIN IMMEDIATE")
            texts = await asyncio.gather(
                *(mcp.refused("task_create", title=f"Lost {number}") for number in range(5))
            )
            assert "TASK-1" in await mcp.text("task_list")
            other.execute("ROLLBACK")
        for text in texts:
            assert "locked" in text
            assert "Nothing was written" in text
            assert "try again" in text
        assert contents(mcp.database) == before
        assert (await mcp.ok("task_create", title="After"))["id"] == "TASK-2"


async def test_a_new_database_that_is_locked_is_waited_for(tmp_path: Path) -> None:
    database = tmp_path / "tasks.db"
    with opened_new(database) as other:
        other.execute("BEGIN EXCLUSIVE")
        async with start_server(tmp_path, database=database) as mcp:
            change = asyncio.create_task(mcp.ok("task_create", title="First"))
            await assert_waits(change, 1)
            other.execute("COMMIT")
            assert (await asyncio.wait_for(change, 5))["id"] == "TASK-1"


async def test_an_existing_database_that_is_locked_at_the_start_is_waited_for(
    tmp_path: Path,
) -> None:
    database = await made_database(tmp_path)
    with opened(database, write=True) as other:
        other.execute("BEGIN IMMEDIATE")
        async with start_server(tmp_path) as mcp:
            assert "TASK-1" in await mcp.text("task_list")
            change = asyncio.create_task(mcp.ok("task_create", title="Second"))
            await assert_waits(change, 0.5)
            other.execute("ROLLBACK")
            assert (await asyncio.wait_for(change, 5))["id"] == "TASK-2"


async def test_a_database_that_another_process_has_for_itself_is_waited_for(
    tmp_path: Path,
) -> None:
    database = await made_database(tmp_path)
    with opened(database, write=True) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        async with start_server(tmp_path) as mcp:
            change = asyncio.create_task(mcp.ok("task_create", title="Second"))
            await assert_waits(change, 0.5)
            other.execute("ROLLBACK")
            other.close()
            assert (await asyncio.wait_for(change, 5))["id"] == "TASK-2"


# The database module itself


def test_a_write_gives_up_a_lock_after_the_time_it_may_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sqlite.LOCK_WAIT_SECONDS == 10
    monkeypatch.setattr(sqlite, "LOCK_WAIT_SECONDS", 0.2)
    database = open_database(f"sqlite:///{tmp_path}/tasks.db", number=log.number)
    with opened(tmp_path / "tasks.db", write=True) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageBusy, match="try again"):
            database.write_now(lambda transaction: transaction.now)
        other.execute("ROLLBACK")
        assert database.write_now(lambda transaction: transaction.now)
    database.committer.close()
    database.write_engine.dispose()
    database.read_engine.dispose()


def test_a_first_write_waits_while_another_connection_sets_up_the_database(
    tmp_path: Path,
) -> None:
    # Whoever opens a database first holds it for a moment, be it a reader of this process.
    database = open_database(f"sqlite:///{tmp_path}/tasks.db", number=log.number)
    database.read_engine.dispose()
    done = threading.Event()

    def write() -> str:
        now = database.write_now(lambda transaction: transaction.now)
        done.set()
        return now

    with opened(tmp_path / "tasks.db", write=True) as other, ThreadPoolExecutor() as threads:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        written = threads.submit(write)
        try:
            assert not done.wait(0.3)
        finally:
            other.execute("ROLLBACK")
            other.close()
        assert written.result(5)
    database.committer.close()
    database.write_engine.dispose()
    database.read_engine.dispose()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("SQLITE_FULL", "the disk is full. Free some space"),
        ("SQLITE_IOERR_WRITE", "Check the disk"),
        ("SQLITE_READONLY_DBMOVED", "Make it writable"),
        ("SQLITE_CORRUPT_VTAB", "Restore it from a backup"),
        ("SQLITE_CANTOPEN", "Check that its folder exists"),
        ("SQLITE_BUSY_SNAPSHOT", "Try again"),
        ("SQLITE_NOTADB", "Move it away"),
    ],
)
def test_every_error_of_the_storage_says_what_to_do(
    tmp_path: Path, name: str, words: str, make_error: Callable[[str], Exception]
) -> None:
    url = make_url(f"sqlite:///{tmp_path}/tasks.db")
    meaning = sqlite.translate(make_error(name), url)
    assert isinstance(meaning, StorageError)
    assert words in str(meaning)
    assert str(tmp_path) in str(meaning)


@pytest.fixture
def make_error() -> Callable[[str], Exception]:
    def make(name: str) -> Exception:
        error = sqlite.driver().OperationalError(name)
        error.sqlite_errorname = name
        assert isinstance(error, Exception)
        return error

    return make
