"""A database of every released version opens with all that it holds, whatever happens meanwhile."""

import multiprocessing
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from support import World, events_of, table
from task_copilot import archive, redact, requests, streams, task_updates
from task_copilot.database import sqlite, store
from task_copilot.database.migrate import configuration
from task_copilot.database.store import Database
from task_copilot.database.tables import SCHEMA_VERSION, metadata
from task_copilot.errors import SchemaMismatch
from task_copilot.events import log
from task_copilot.events.log import LogRow
from task_copilot.requests import Request

pytestmark = pytest.mark.sqlite_only

RELEASED = sorted((Path(__file__).parents[1] / "data").glob("*.sql"))
"""One dump of each released version, made by data/dump.py."""

Contents = dict[str, list[dict[str, Any]]]


def restored(dump: Path, folder: Path) -> Path:
    """The database of a dump."""
    path = folder / "tasks.db"
    connection = sqlite.driver().connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.executescript(dump.read_text("utf-8"))
    connection.close()
    return path


def brought_to(version: int, path: Path) -> Path:
    """The same database as the program left it whose newest migration is `version`."""
    from alembic.command import upgrade

    config = configuration()
    engine = sqlite.write_engine(make_url(f"sqlite:///{path}"), durability="normal")
    with engine.connect() as connection:
        driver_connection: Any = connection.connection.driver_connection
        sqlite.begin(driver_connection)
        with connection.begin():
            config.attributes["connection"] = connection
            upgrade(config, f"{version:04d}")
            driver_connection.execute(f"PRAGMA user_version={version}")
    engine.dispose()
    assert versions(path) == (version, f"{version:04d}")
    return path


def version_of(dump: Path) -> int:
    found = re.search(r"^PRAGMA user_version=(\d+);$", dump.read_text("utf-8"), re.MULTILINE)
    assert found is not None
    return int(found[1])


OLD = [(dump, version) for dump in RELEASED for version in range(version_of(dump), SCHEMA_VERSION)]
"""Each dump as it is, and as each later program left it."""


@pytest.fixture(params=OLD, ids=lambda one: f"{one[0].stem}, tables {one[1]}")
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    dump, version = request.param
    return brought_to(version, restored(dump, tmp_path))


@pytest.fixture
def first(tmp_path: Path) -> Path:
    """A database of the first release."""
    return restored(RELEASED[0], tmp_path)


def contents(path: Path) -> Contents:
    """Every row of every table but Alembic's own, read with nothing but SQLite."""
    connection = sqlite.driver().connect(path)
    names = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
    found: Contents = {}
    for (name,) in names:
        if name != "alembic_version":
            rows = connection.execute(f'SELECT * FROM "{name}" ORDER BY 1, 2')  # noqa: S608
            columns = [column[0] for column in rows.description]
            found[name] = [dict(zip(columns, row, strict=True)) for row in rows]
    connection.close()
    return found


def versions(path: Path) -> tuple[int, str]:
    """The version by the program's own mark, and by Alembic's."""
    connection = sqlite.driver().connect(path)
    (mark,) = connection.execute("PRAGMA user_version").fetchone()
    (step,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    connection.close()
    return mark, step


def opened(path: Path) -> Database[LogRow]:
    return store.open_database(f"sqlite:///{path}", number=log.number, durability="normal")


def assert_kept(before: Contents, after: Contents) -> None:
    """Nothing of `before` is missing or different in `after`; columns may have come."""
    for name, rows in before.items():
        seen = [{column: row[column] for column in rows[0]} for row in after[name]] if rows else []
        assert seen == rows, name
        assert len(after[name]) == len(rows), name


def test_each_release_has_its_database() -> None:
    assert [path.stem for path in RELEASED][:1] == ["0.1.0"]


def test_a_database_of_a_released_version_keeps_all_that_it_holds(old: Path) -> None:
    before = contents(old)
    assert all(before[name] for name in ("workspaces", "streams", "tasks", "checkpoints", "events"))
    database = opened(old)
    assert_kept(before, contents(old))
    assert contents(old)["events"] == before["events"]
    assert contents(old)["log"] == before["log"]
    assert versions(old) == (SCHEMA_VERSION, f"{SCHEMA_VERSION:04d}")
    with database.read_engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
        assert connection.exec_driver_sql("PRAGMA foreign_key_check").all() == []


def test_an_upgraded_database_has_the_tables_that_the_program_declares(old: Path) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    database = opened(old)
    with database.read_engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_work_goes_on_in_an_upgraded_database(old: Path) -> None:
    head = contents(old)["log"][0]["head"]
    database = opened(old)
    world = World(database)
    number = world.task("After the upgrade", "Stream-A")
    started = task_updates.TaskChange(status="in_progress")
    world.do(lambda tx, scope: task_updates.update_task(tx, scope, number, started))
    every = database.read_now(lambda c: streams.every(c, world.scope.workspace.id))
    assert [stream.archived_at for stream in every] == [None, None]
    assert [event["seq"] for event in events_of(database)][head:] == list(range(head + 1, head + 6))


def test_what_an_old_database_holds_can_be_archived_and_redacted(old: Path) -> None:
    world = World(opened(old))
    request = Request("after-the-upgrade", "checkpoint_resume", "digest")
    world.do(lambda tx, scope: requests.keep(tx, scope, request, 1, "Schema"))
    world.do(lambda tx, scope: archive.archive(tx, scope, "Stream-A"))
    done = world.do(lambda tx, scope: redact.redact(tx, scope, 1, "title"))
    assert (done.checkpoints, done.answers) == (1, 1)
    assert world.event_types()[-2:] == ["stream.archived", "task.redacted"]
    assert "Schema" not in str(contents(old))


OF_A_STREAM = "FROM tasks WHERE workspace_id = 1 AND stream_id = 'A'"


@pytest.mark.parametrize(
    ("query", "index"),
    [
        (f"SELECT max(updated_at) {OF_A_STREAM}", "tasks_by_change"),
        (
            f"SELECT id {OF_A_STREAM} AND status = 'in_progress' ORDER BY updated_at DESC",
            "tasks_in_progress",
        ),
        (f"SELECT id {OF_A_STREAM} AND files <> '[]'", "tasks_with_files"),
        ("SELECT request_id FROM requests WHERE created_at < '2026'", "requests_by_time"),
    ],
)
def test_an_upgrade_makes_the_indexes_that_reads_rely_on(
    first: Path, query: str, index: str
) -> None:
    plan = opened(first).read_now(
        lambda connection: connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}").all()
    )
    assert f"INDEX {index} " in f"{plan[0][-1]} "


# Several processes


def create_in_process(path: Path, count: int) -> None:
    world = World(opened(path))
    for _ in range(count):
        world.task(stream="Stream-A")


def test_processes_that_start_at_once_on_an_old_database_upgrade_it_once(first: Path) -> None:
    before = contents(first)
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=create_in_process, args=(first, 10)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    after = contents(first)
    events = len(before["events"]) + 4 * 10 * 2
    assert [event["seq"] for event in after["events"]] == list(range(1, events + 1))
    assert after["events"][: len(before["events"])] == before["events"]
    assert after["log"] == [{**before["log"][0], "head": events}]
    assert len(after["tasks"]) == len(before["tasks"]) + 40
    assert versions(first) == (SCHEMA_VERSION, f"{SCHEMA_VERSION:04d}")


OLDER_PROGRAM = """
import sys
from pathlib import Path
from task_copilot.database import sqlite, sqlite_engine
sqlite.SCHEMA_VERSION = sqlite_engine.SCHEMA_VERSION = int(sys.argv[2])
from integration.test_migrations import opened
from support import World, table
from task_copilot.errors import SchemaMismatch
database = opened(Path(sys.argv[1]))
world = World(database)
world.task("by the older program")
print("ready", flush=True)
sys.stdin.readline()
try:
    world.task("too late")
except SchemaMismatch as error:
    print(error)
print(len(table(database, "tasks")))
"""


@pytest.mark.parametrize("version", range(1, SCHEMA_VERSION))
def test_a_process_of_the_older_version_stops_writing_and_can_still_read(
    first: Path, version: int
) -> None:
    brought_to(version, first)
    tests = str(Path(__file__).parents[1])
    with subprocess.Popen(
        [sys.executable, "-c", OLDER_PROGRAM, str(first), str(version)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([tests, str(Path(tests).parent)])},
    ) as older:
        assert older.stdout is not None
        assert older.stdout.readline() == "ready\n"
        assert versions(first)[0] == version
        newer = World(opened(first))
        newer.task("by the newer program")
        said, _ = older.communicate("go on\n", timeout=60)
    titles = [row["title"] for row in table(newer.database, "tasks")]
    assert titles[-2:] == ["by the older program", "by the newer program"]
    assert "Restart this server" in said.splitlines()[0]
    assert said.splitlines()[1] == str(len(titles))


# Crashes


def fail() -> None:
    raise RuntimeError("in the middle of the upgrade")


def end() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def upgrade_and_crash(path: Path, place: str, crash: Callable[[], None]) -> None:
    from alembic import op

    def crashing(*_given: object, **_named: object) -> None:
        crash()

    owner: Any = sqlite if place == "mark_migrated" else op
    setattr(owner, place, crashing)
    opened(path)


@pytest.mark.parametrize("crash", [fail, end], ids=["exception", "SIGKILL"])
@pytest.mark.parametrize("place", ["create_table", "create_index", "mark_migrated"])
@pytest.mark.parametrize("version", range(1, SCHEMA_VERSION))
def test_an_upgrade_that_breaks_off_leaves_the_old_database_whole(
    first: Path, version: int, place: str, crash: Callable[[], None]
) -> None:
    brought_to(version, first)
    before = contents(first)
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=upgrade_and_crash, args=(first, place, crash))
    process.start()
    process.join(60)
    assert process.exitcode == (1 if crash is fail else -signal.SIGKILL)
    assert versions(first) == (version, f"{version:04d}")
    assert contents(first) == before
    opened(first)
    assert versions(first) == (SCHEMA_VERSION, f"{SCHEMA_VERSION:04d}")
    assert_kept(before, contents(first))


# Databases from the future


def test_a_database_of_a_newer_version_is_left_untouched_to_the_byte(first: Path) -> None:
    connection = sqlite.driver().connect(first, isolation_level=None)
    connection.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    connection.execute("ALTER TABLE streams ADD COLUMN of_the_future TEXT")
    connection.close()
    before = {path.name: path.read_bytes() for path in first.parent.iterdir()}
    with pytest.raises(SchemaMismatch, match="upgrade Task Copilot"):
        opened(first)
    assert {path.name: path.read_bytes() for path in first.parent.iterdir()} == before


def test_each_migration_follows_the_one_before_it() -> None:
    from alembic.script import ScriptDirectory

    steps = [s.revision for s in ScriptDirectory.from_config(configuration()).walk_revisions()]
    assert steps == [f"{number:04d}" for number in range(SCHEMA_VERSION, 0, -1)]
