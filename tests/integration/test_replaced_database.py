"""The file of the database is deleted, replaced or put back while it is in use, or meanwhile."""

import asyncio
import contextlib
import json
import logging
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from support import World
from task_copilot import tasks, workspaces
from task_copilot.announced import AnnouncedFile
from task_copilot.application import Application, open_blocking, places_of
from task_copilot.clock import system_clock
from task_copilot.database import sqlite
from task_copilot.database.store import Database
from task_copilot.database.transaction import Transaction
from task_copilot.errors import StorageError
from task_copilot.events import log
from task_copilot.events.bus import Bus
from task_copilot.events.log import LogPage, LogRow, LogState
from task_copilot.location import Location
from task_copilot.settings import Settings
from task_copilot.workspaces import Scope

pytestmark = pytest.mark.sqlite_only

LIMIT_SECONDS = 10.0


def opened(folder: Path, name: str = "tasks.db") -> Database[LogRow]:
    """The database as a process of the program opens it."""
    return open_blocking(settings(folder, name), system_clock)


def settings(folder: Path, name: str = "tasks.db") -> Settings:
    url = f"sqlite:///{folder / name}"
    return Settings(database_url=url, durability="normal", port=1)


@contextlib.contextmanager
def world_of(folder: Path, name: str = "tasks.db", workspace: str = "shop") -> Iterator[World]:
    database = opened(folder, name)
    yield World(database, workspace)
    let_go(database)


def let_go(database: Database[LogRow]) -> None:
    database.committer.close()
    database.read_engine.dispose()


def state_of(database: Database[LogRow]) -> LogState:
    return database.read_now(log.state)


def titles(database: Database[LogRow]) -> list[str]:
    return database.read_now(
        lambda c: list(c.exec_driver_sql("SELECT title FROM tasks ORDER BY id").scalars())
    )


def remove(folder: Path, *, whole: bool = True) -> None:
    (folder / "tasks.db").unlink()
    if whole:
        (folder / "tasks.db-wal").unlink()
        (folder / "tasks.db-shm").unlink()


def announce(database: Database[LogRow]) -> None:
    """Notes the present state as a hub does that has told its listeners of it."""
    file = AnnouncedFile(places_of(database.url).announced)
    file.note(state_of(database))
    file.close()


def backup(database: Database[LogRow], to: Path) -> None:
    with contextlib.closing(sqlite.driver().connect(database.url.database)) as source:
        source.execute(f"VACUUM INTO '{to}'")


# While it is in use


@pytest.mark.parametrize("whole", [True, False], ids=["with the log", "the file alone"])
@pytest.mark.parametrize("first", ["read", "write"])
def test_a_deleted_database_is_made_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, whole: bool, first: str
) -> None:
    with world_of(tmp_path) as world, world_of(tmp_path) as other:
        world.task("old")
        other.task("old")
        before = state_of(world.database)
        remove(tmp_path, whole=whole)
        if first == "read":
            assert titles(world.database) == []
        World(world.database).task("new")
        assert titles(world.database) == titles(other.database) == ["new"]
        assert state_of(other.database).epoch == state_of(world.database).epoch != before.epoch
        World(other.database).task("newer")
        assert titles(world.database) == ["new", "newer"]
        [verdict] = world.database.read_now(
            lambda c: list(c.exec_driver_sql("PRAGMA integrity_check").scalars())
        )
        assert verdict == "ok"
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 2, messages  # one of each process
    assert all("was deleted or moved away" in m or "was replaced" in m for m in messages)


def test_a_folder_that_is_deleted_is_made_again(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "folder"
    with world_of(folder) as world:
        world.task("old")
        shutil.rmtree(tmp_path / "deep")
        World(world.database).task("new")
        assert titles(world.database) == ["new"]
        assert folder.joinpath("tasks.db").exists()


@pytest.mark.parametrize("logs", ["left", "removed"])
def test_another_database_in_its_place_is_used_and_kept_whole(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, logs: str
) -> None:
    with world_of(tmp_path, "other.db") as other:
        for number in range(3):
            other.task(f"theirs {number}")
        their_epoch = state_of(other.database).epoch
    with world_of(tmp_path) as world:
        world.task("old")
        if logs == "removed":
            remove(tmp_path)
        (tmp_path / "other.db").rename(tmp_path / "tasks.db")
        assert titles(world.database) == ["theirs 0", "theirs 1", "theirs 2"]
        World(world.database).task("ours")
        assert len(titles(world.database)) == 4
        assert state_of(world.database).epoch != their_epoch
        [message] = [record.getMessage() for record in caplog.records]
        assert "was replaced" in message
        assert "listeners start anew" in message


def test_a_change_that_went_into_a_file_just_deleted_is_made_in_the_new_one(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        world.task("old")
        removals = [lambda: remove(tmp_path)]

        def change(tx: Transaction) -> int:
            workspace = workspaces.ensure(tx, Location("shop", "/work/shop"))
            saved = tasks.create(tx, Scope(workspace, "me"), tasks.NewTask(title="new"))
            while removals:  # between the look at the file and the commit
                removals.pop()()
            return saved.id

        assert world.database.write_now(change) == 1
        assert titles(world.database) == ["new"]


async def test_reads_and_writes_at_once_all_go_on_in_the_new_database(tmp_path: Path) -> None:
    database = opened(tmp_path)
    World(database).task("old")
    database.start(lambda rows: None)
    replaced = threading.Event()
    database.on_replaced = replaced.set
    remove(tmp_path)
    results = await asyncio.gather(
        *(database.read(log.state) for _ in range(20)),
        *(database.write(lambda tx: None) for _ in range(20)),
    )
    assert {state.head for state in results if state is not None} == {0}
    assert database.generation == 2
    assert replaced.is_set()
    await database.close()


async def test_a_watch_notices_without_any_call(tmp_path: Path) -> None:
    database = opened(tmp_path)
    World(database).task("old")
    loop, replaced = asyncio.get_running_loop(), asyncio.Event()

    def on_replaced() -> None:
        loop.call_soon_threadsafe(replaced.set)

    database.on_replaced = on_replaced
    database.start(lambda rows: None)
    database.watch(lambda: None)
    (tmp_path / "tasks.db").unlink()  # alone: the watch may be at work before the next step
    async with asyncio.timeout(LIMIT_SECONDS):
        await replaced.wait()
    assert (tmp_path / "tasks.db").exists()
    await database.close()


def test_what_cannot_be_opened_in_its_place_is_an_error_until_it_can(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        world.task("old")
        remove(tmp_path)
        (tmp_path / "tasks.db").write_bytes(b"something else" * 1000)
        for _ in range(2):
            with pytest.raises(StorageError, match="not a database"):
                titles(world.database)
            with pytest.raises(StorageError, match="not a database"):
                world.task("lost")
        (tmp_path / "tasks.db").unlink()
        World(world.database).task("new")
        assert titles(world.database) == ["new"]


# While nobody uses it


def test_a_first_start_and_a_second_find_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    epochs = set()
    for _ in range(3):
        with world_of(tmp_path) as world:
            world.task()
            announce(world.database)
            epochs.add(state_of(world.database).epoch)
    assert len(epochs) == 1
    assert caplog.text == ""


def test_a_database_restored_to_an_older_state_gets_a_new_epoch_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with world_of(tmp_path) as world:
        world.task("kept")
        backup(world.database, tmp_path / "backup.db")
        world.task("lost")
        announce(world.database)
        before = state_of(world.database)
    (tmp_path / "backup.db").rename(tmp_path / "tasks.db")
    with world_of(tmp_path) as world, world_of(tmp_path) as other:
        assert titles(world.database) == ["kept"]
        now = state_of(world.database)
        assert (now.epoch != before.epoch, now.head) == (True, 1)
        assert state_of(other.database) == now
    [message] = [record.getMessage() for record in caplog.records]
    assert "restored to an older state" in message
    assert "event 1, and listeners have had 2" in message


def test_a_database_that_was_replaced_gets_a_new_epoch(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with world_of(tmp_path, "other.db") as other:
        for _ in range(9):
            other.task()
        theirs = state_of(other.database)
    with world_of(tmp_path) as world:
        world.task()
        announce(world.database)
    (tmp_path / "other.db").rename(tmp_path / "tasks.db")
    with world_of(tmp_path) as world:
        assert state_of(world.database).epoch != theirs.epoch
        assert state_of(world.database).head == theirs.head
    assert "another one than before" in caplog.text


@pytest.mark.parametrize("content", [b"", b"garbage", b"\0" * 38], ids=ascii)
def test_a_damaged_note_is_written_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    with world_of(tmp_path) as world:
        world.task()
        state = state_of(world.database)
        path = places_of(world.database.url).announced
    path.write_bytes(content)
    with world_of(tmp_path) as world:
        assert state_of(world.database) == state
    assert AnnouncedFile(path).read() == state
    assert caplog.text == ""


def test_processes_that_open_a_restored_database_at_once_agree(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        backup(world.database, tmp_path / "backup.db")
        world.task()
        announce(world.database)
    (tmp_path / "backup.db").rename(tmp_path / "tasks.db")
    found: list[LogState] = []

    def open_it() -> None:
        database = opened(tmp_path)
        found.append(state_of(database))
        let_go(database)

    threads = [threading.Thread(target=open_it) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def test_openers_beside_a_hub_that_announces_find_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with world_of(tmp_path) as world:
        epoch = state_of(world.database).epoch
        ended = threading.Event()

        def open_often() -> None:
            while not ended.is_set():
                let_go(opened(tmp_path))

        openers = [threading.Thread(target=open_often) for _ in range(2)]
        for opener in openers:
            opener.start()
        for _ in range(50):
            world.task()
            announce(world.database)
        ended.set()
        for opener in openers:
            opener.join()
        assert state_of(world.database).epoch == epoch
    assert caplog.text == ""


# The hub of a database that is put back in place, under the same file


async def test_a_hub_begins_anew_where_its_database_is_put_back_in_place(
    tmp_path: Path, unused_tcp_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    database = opened(tmp_path)
    world = World(database)
    world.task("kept")
    backup(database, tmp_path / "backup.db")
    world.task("lost")
    chosen = Settings(database_url=f"sqlite:///{tmp_path / 'tasks.db'}", port=unused_tcp_port)
    application = Application(database, chosen, system_clock)
    assert await application.serve()
    bus = application._succession._bus
    assert bus is not None
    before, restarted = bus.epoch, asyncio.Event()
    bus.add_waker(lambda: restarted.set() if bus.epoch != before else None)
    with (
        contextlib.closing(sqlite.driver().connect(tmp_path / "backup.db")) as source,
        contextlib.closing(sqlite.driver().connect(tmp_path / "tasks.db")) as target,
    ):
        source.backup(target)
    async with asyncio.timeout(LIMIT_SECONDS):
        await restarted.wait()
    assert bus.head == 1
    assert state_of(database) == LogState(bus.epoch, 1)
    assert "restored to an older state" in caplog.text
    await application.close()


@pytest.mark.parametrize("place", ["emptied", "the same"])
async def test_a_hub_delivers_what_is_written_while_it_looks_where_another_log_stands(
    tmp_path: Path, unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Its own commits alone: nobody else's tells it to look once more."""
    monkeypatch.setattr(Database, "watch", lambda *_given: None)
    database = opened(tmp_path)
    World(database).task("old")
    backup(database, tmp_path / "same.db")
    chosen = Settings(database_url=f"sqlite:///{tmp_path / 'tasks.db'}", port=unused_tcp_port)
    application = Application(database, chosen, system_clock)
    assert await application.serve()
    bus = application._succession._bus
    assert bus is not None
    read, left = database.read, ["while it looks"]

    async def reading(query: Callable[[Connection], Any]) -> Any:
        found = await read(query)
        if query is log.state and left:
            await database.write(creating(left.pop()))
        return found

    monkeypatch.setattr(database, "read", reading)
    remove(tmp_path)
    if place == "the same":
        (tmp_path / "same.db").rename(tmp_path / "tasks.db")
    await read(log.state)  # which finds another file there
    delivered = asyncio.Event()
    bus.add_waker(lambda: delivered.set() if window_of(bus) == ["while it looks"] else None)
    async with asyncio.timeout(LIMIT_SECONDS):
        await delivered.wait()
    assert bus.state == await read(log.state)
    await application.close()


async def test_a_hub_whose_log_stands_in_another_file_tells_nobody_that_events_are_gone(
    tmp_path: Path, unused_tcp_port: int
) -> None:
    database = opened(tmp_path)
    world = World(database)
    for number in range(3):
        world.task(f"old {number}")
    backup(database, tmp_path / "same.db")
    chosen = Settings(database_url=f"sqlite:///{tmp_path / 'tasks.db'}", port=unused_tcp_port)
    application = Application(database, chosen, system_clock)
    assert await application.serve()
    succession = application._succession
    bus = succession._bus
    assert bus is not None
    pages: Any = bus._pages
    after, left = pages._pages.after, ["while a listener reads"]

    async def reading(position: int) -> LogPage:
        page: LogPage = await after(position)
        if position == 0 and left:
            left.clear()
            remove(tmp_path)
            (tmp_path / "same.db").rename(tmp_path / "tasks.db")
            await database.read(log.state)  # which finds another file there
            succession.begin_anew()
            assert succession._renewal is not None
            await succession._renewal
        return page

    pages._pages.after = reading
    async with asyncio.timeout(LIMIT_SECONDS):
        stretch = await bus.after(0, 64)
    assert ([row.seq for row in stretch.rows], stretch.upto) == ([1, 2, 3], 3)
    assert left == []
    await application.close()


def creating(title: str) -> Callable[[Transaction], Any]:
    def create(tx: Transaction) -> None:
        place = workspaces.ensure(tx, Location(name="shop", path="/work/shop"))
        tasks.create(tx, Scope(place, "me"), tasks.NewTask(title=title))

    return create


def window_of(bus: Bus) -> list[str]:
    """The titles of the tasks of the events that the hub has in memory."""
    return [json.loads(row.payload)["data"]["taskTitle"] for row in bus.window.newest_first()]
