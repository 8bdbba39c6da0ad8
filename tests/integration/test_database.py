"""Group commit, the writing thread, migrations and databases that are not ours."""

import asyncio
import multiprocessing
import threading
from collections import deque
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import MetaData, text

from support import World, database_at, events_of, table
from task_copilot import tasks
from task_copilot.database import committer as committer_module
from task_copilot.database import sqlite, store, urls
from task_copilot.database.migrate import configuration
from task_copilot.database.tables import SCHEMA_VERSION
from task_copilot.database.transaction import Transaction
from task_copilot.errors import InvalidInput, SchemaMismatch, StorageBusy, StorageError
from task_copilot.events import log


def creation(world: World, title: str = "t") -> Any:
    new = tasks.NewTask(title=title)
    return lambda tx: tasks.create(tx, world.scope, new)


def failing(tx: Transaction) -> None:
    tx.connection.execute(text("UPDATE tasks SET title = 'never seen'"))
    raise InvalidInput("no")


@pytest.mark.usefixtures("unhurried")
def test_operations_of_one_commit_have_one_number_after_the_other(world: World) -> None:
    waiting = deque(creation(world) for _ in range(10))
    outcomes, rows = world.database.committer.commit(waiting)
    assert [outcome.result.id for outcome in outcomes] == list(range(1, 11))
    assert [row.seq for row in rows] == list(range(1, 11))
    assert not waiting


@pytest.mark.usefixtures("unhurried")
def test_an_operation_that_fails_undoes_itself_and_nothing_else(world: World) -> None:
    waiting = deque([creation(world, "a"), failing, creation(world, "b")])
    outcomes, rows = world.database.committer.commit(waiting)
    assert [type(outcome.error) for outcome in outcomes] == [type(None), InvalidInput, type(None)]
    assert [row.seq for row in rows] == [1, 2]
    assert [row["title"] for row in table(world.database, "tasks")] == ["a", "b"]


@pytest.mark.usefixtures("unhurried")
def test_a_commit_takes_at_most_a_hundred_operations(world: World) -> None:
    waiting = deque(creation(world) for _ in range(130))
    outcomes, _rows = world.database.committer.commit(waiting)
    assert (len(outcomes), len(waiting)) == (100, 30)


def test_a_commit_ends_when_its_time_is_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(committer_module, "MAX_SECONDS", 0.0)
    waiting = deque(creation(world, str(number)) for number in range(3))
    outcomes, _rows = world.database.committer.commit(waiting)
    assert (len(outcomes), len(waiting)) == (1, 2)
    while waiting:
        world.database.committer.commit(waiting)
    assert [row["title"] for row in table(world.database, "tasks")] == ["0", "1", "2"]


@pytest.mark.sqlite_only
def test_a_disk_that_fills_up_fails_only_the_operation_that_needs_room(world: World) -> None:
    world.task()
    connection = world.database.committer.connection.connection.driver_connection
    assert connection is not None
    pages = connection.execute("PRAGMA page_count").fetchone()[0]

    def limited(dbapi_connection: Any, _record: Any) -> None:
        dbapi_connection.execute(f"PRAGMA max_page_count={pages + 8}")

    from sqlalchemy import event

    event.listen(world.database.write_engine, "connect", limited)
    world.database.committer.close()
    large = tasks.NewTask(title="large", description="x" * 200_000)
    waiting: deque[Any] = deque(
        [
            creation(world, "a"),
            lambda tx: tasks.create(tx, world.scope, large),
            creation(world, "b"),
        ]
    )
    outcomes, _rows = world.database.committer.commit(waiting)
    assert [type(outcome.error) for outcome in outcomes] == [type(None), StorageError, type(None)]
    assert "the disk is full" in str(outcomes[1].error)
    assert [row["title"] for row in table(world.database, "tasks")] == ["A task", "a", "b"]
    assert [event["seq"] for event in events_of(world.database)] == [1, 2, 3]


@pytest.mark.sqlite_only
def test_a_database_that_stays_locked_fails_after_the_wait_and_writes_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "LOCK_WAIT_SECONDS", 0.05)
    other = sqlite.driver().connect(world.database.url.database, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageBusy, match="Nothing was written; try again"):
        world.task()
    other.execute("ROLLBACK")
    assert world.task() == 1


@pytest.mark.sqlite_only
def test_a_write_waits_for_the_lock_of_another_process(world: World) -> None:
    other = sqlite.driver().connect(
        world.database.url.database, isolation_level=None, check_same_thread=False
    )
    other.execute("BEGIN IMMEDIATE")
    release = threading.Timer(0.2, lambda: other.execute("ROLLBACK"))
    release.start()
    assert world.task() == 1
    release.join()


async def test_results_come_back_after_their_events_were_published(database_url: str) -> None:
    database = database_at(database_url)
    world = World(database)
    published: list[int] = []
    database.start(lambda rows: published.extend(row.seq for row in rows))

    async def make() -> None:
        await database.write(creation(world))
        assert published[-1] == max(published)

    await asyncio.gather(*(make() for _ in range(50)))
    assert published == list(range(1, 51))
    await database.close()


async def test_a_cancelled_call_leaves_the_writer_working(database_url: str) -> None:
    database = database_at(database_url)
    world = World(database)
    database.start(lambda rows: None)
    call = asyncio.create_task(database.write(creation(world)))
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert (await database.write(creation(world))).id == 2
    await database.close()


async def test_a_defect_in_an_operation_reaches_its_caller_only(database_url: str) -> None:
    database = database_at(database_url)
    world = World(database)
    database.start(lambda rows: None)

    def broken(_tx: Transaction) -> None:
        raise ZeroDivisionError

    results = await asyncio.gather(
        database.write(creation(world)),
        database.write(broken),
        database.write(creation(world)),
        return_exceptions=True,
    )
    assert [type(result).__name__ for result in results] == ["Saved", "ZeroDivisionError", "Saved"]
    await database.close()


async def test_a_closed_database_refuses_to_write(database_url: str) -> None:
    database = database_at(database_url)
    database.start(lambda rows: None)
    await database.close()
    with pytest.raises(StorageError):
        await database.write(lambda tx: None)


def create_in_process(url: str, count: int) -> None:
    database = store.open_database(url, number=log.number, durability="normal")
    world = World(database)
    for _ in range(count):
        world.task()


def test_processes_that_start_at_once_make_the_tables_together(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'tasks.db'}"
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=create_in_process, args=(url, 20)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    database = store.open_database(url, number=log.number)
    assert [event["seq"] for event in events_of(database)] == list(range(1, 81))
    assert len(table(database, "workspaces")) == 1


def test_the_newest_migration_is_the_version_of_the_program() -> None:
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory.from_config(configuration())
    assert scripts.get_current_head() == f"{SCHEMA_VERSION:04d}"


def test_the_migrations_make_the_tables_that_the_program_declares(world: World) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    from task_copilot.database.tables import metadata

    declared = MetaData()
    for each in metadata.sorted_tables:
        each.to_metadata(declared)
    with world.database.read_engine.connect() as connection:
        if connection.dialect.name == "postgresql":
            make_deferrable(declared)
        found = compare_metadata(MigrationContext.configure(connection), declared)
    assert [each for each in found if table_of(each) not in OWN_OF_POSTGRES] == []


OWN_OF_POSTGRES = {"numbers", "commits", "task_copilot_version"}
"""Tables that a SQLite file needs none for."""


def make_deferrable(declared: MetaData) -> None:
    """On PostgreSQL a foreign key says so where its check may wait; on SQLite any may."""
    for each in declared.tables.values():
        for constraint in each.foreign_key_constraints:
            constraint.deferrable, constraint.initially = True, "IMMEDIATE"


def table_of(difference: Any) -> Any:
    return difference[1].name if difference[0] == "remove_table" else None


def test_an_opened_database_does_not_import_alembic(tmp_path: Path) -> None:
    import subprocess
    import sys

    database_at(tmp_path)
    program = (
        "import sys; from task_copilot.database.store import open_database;"
        "from task_copilot.events import log;"
        f"open_database('sqlite:///{tmp_path / 'tasks.db'}', number=log.number);"
        "assert 'alembic' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def altered(tmp_path: Path, *statements: str) -> str:
    path = tmp_path / "other.db"
    connection = sqlite.driver().connect(path, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()
    return f"sqlite:///{path}"


def test_a_database_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    url = altered(tmp_path, "CREATE TABLE songs (title)")
    before = (tmp_path / "other.db").read_bytes()
    with pytest.raises(SchemaMismatch, match="belongs to another program"):
        store.open_database(url, number=log.number)
    assert (tmp_path / "other.db").read_bytes() == before


@pytest.mark.sqlite_only
def test_a_database_of_a_newer_version_is_refused_and_left_alone(world: World) -> None:
    url = str(world.database.url)
    world.do(lambda tx, _s: tx.connection.exec_driver_sql("PRAGMA user_version = 99"))
    with pytest.raises(SchemaMismatch, match="made by a newer Task Copilot"):
        store.open_database(url, number=log.number)


@pytest.mark.sqlite_only
def test_a_process_that_was_overtaken_by_an_upgrade_stops_writing(world: World) -> None:
    world.task()
    newer = f"PRAGMA user_version = {SCHEMA_VERSION + 1}"
    world.do(lambda tx, _s: tx.connection.exec_driver_sql(newer))
    with pytest.raises(SchemaMismatch, match="Restart this server"):
        world.task()
    assert len(table(world.database, "tasks")) == 1


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "tasks.db"
    path.write_bytes(b"these are not the tables" * 100)
    with pytest.raises(StorageError, match="the file is not a database"):
        database_at(tmp_path)
    assert path.read_bytes() == b"these are not the tables" * 100


@pytest.mark.parametrize(
    "url", ["nonsense", "sqlite://", "sqlite:///:memory:", "postgresql://localhost/x"]
)
def test_a_url_of_no_database_file_is_refused_by_the_settings_name(url: str) -> None:
    with pytest.raises(StorageError, match="TASK_COPILOT_DATABASE_URL"):
        urls.parse_url(url)


@pytest.mark.parametrize(
    ("version", "safe"),
    [
        ((3, 40, 1), False),
        ((3, 44, 5), False),
        ((3, 44, 6), True),
        ((3, 45, 0), False),
        ((3, 50, 6), False),
        ((3, 50, 7), True),
        ((3, 51, 2), False),
        ((3, 51, 3), True),
        ((3, 53, 0), True),
    ],
)
def test_only_a_sqlite_without_the_wal_reset_bug_is_used(
    version: tuple[int, int, int], safe: bool
) -> None:
    assert sqlite.has_wal_reset_fix(version) is safe


def test_an_old_sqlite_is_refused_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "has_wal_reset_fix", lambda version: False)
    with pytest.raises(StorageError, match="pip install pysqlite3"):
        sqlite.driver()


def test_the_durability_setting_reaches_sqlite(tmp_path: Path) -> None:
    for durability, level in (("full", 2), ("normal", 1)):
        database = database_at(tmp_path, durability=durability)
        found = database.write_now(
            lambda tx: tx.connection.exec_driver_sql("PRAGMA synchronous").scalar()
        )
        assert found == level


async def test_a_watch_sees_the_commits_of_others_and_not_its_own(tmp_path: Path) -> None:
    database, other = database_at(tmp_path), World(database_at(tmp_path))
    world = World(database)
    looks: asyncio.Queue[int] = asyncio.Queue()
    database.start(lambda rows: None)
    database.watch(lambda: looks.put_nowait(0))
    async with asyncio.timeout(10):
        await looks.get()  # the first look cannot know what came before it
        for _ in range(3):
            await database.write(creation(world))
        other.task()
        await looks.get()
        other.task()
        await looks.get()
    assert looks.empty()
    await database.close()
