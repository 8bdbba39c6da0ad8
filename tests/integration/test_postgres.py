"""What PostgreSQL has that a file has not: a server that goes away, and others on it."""

import asyncio
import contextlib
import gc
import multiprocessing
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import literal_column, make_url, select, text

import postgres
from postgres import connected, cut
from support import World, close, database_at, events_of, table, ticking
from task_copilot import tasks, workspaces
from task_copilot.database import outage, urls
from task_copilot.database import postgres as dialect
from task_copilot.database.prepared import Prepared
from task_copilot.database.store import Database
from task_copilot.database.tables import SCHEMA_VERSION, events
from task_copilot.database.transaction import Transaction
from task_copilot.errors import (
    InvalidInput,
    OutcomeUnknown,
    SchemaMismatch,
    StorageBusy,
    StorageError,
    StorageUnreachable,
)
from task_copilot.events.log import LogRow
from task_copilot.location import Location

LIMIT_SECONDS = 20.0


@pytest.fixture
def url(postgres_server: postgres.Server) -> Iterator[str]:
    with postgres_server.database() as found:
        yield found


@pytest.fixture
def world(url: str) -> Iterator[World]:
    database = database_at(url, clock=ticking())
    yield World(database)
    close(database)


def creating(world: World, title: str = "t") -> Callable[[Transaction], Any]:
    new = tasks.NewTask(title=title)
    return lambda tx: tasks.create(tx, world.scope, new)


def titles(world: World) -> list[str]:
    return [row["title"] for row in table(world.database, "tasks")]


# Opening


def write_many(url: str, count: int) -> None:
    database = database_at(url)
    world = World(database)
    for _ in range(count):
        world.task(stream="Stream-A")
    close(database)


def test_processes_that_start_at_once_make_the_tables_together(
    postgres_server: postgres.Server,
) -> None:
    with postgres_server.database(empty=True) as url:
        context = multiprocessing.get_context("spawn")
        workers = [context.Process(target=write_many, args=(url, 20)) for _ in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(60)
            assert worker.exitcode == 0
        database = database_at(url)
        assert [event["seq"] for event in events_of(database)] == list(range(1, 161))
        assert [row["id"] for row in table(database, "tasks")] == list(range(1, 81))
        assert [row["pending"] for row in table(database, "streams")] == [80]
        assert len(table(database, "workspaces")) == 1
        close(database)


def test_a_database_of_another_program_is_refused_and_left_alone(
    postgres_server: postgres.Server,
) -> None:
    with postgres_server.database(empty=True) as url:
        with connected(url) as other:
            other.execute("CREATE TABLE alembic_version (version_num text)")
        with pytest.raises(SchemaMismatch, match="holds tables of another program"):
            database_at(url)
        with connected(url) as other:
            assert other.execute(
                "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
            ).fetchone() == (1,)


def test_a_database_of_a_newer_version_is_refused_and_left_alone(world: World, url: str) -> None:
    world.do(upgraded)
    with pytest.raises(SchemaMismatch, match="made by a newer Task Copilot"):
        database_at(url)


def upgraded(tx: Transaction, _scope: Any) -> None:
    tx.connection.execute(
        text("UPDATE task_copilot_version SET version_num = :number"),
        {"number": f"{SCHEMA_VERSION + 1:04d}"},
    )


def test_a_process_that_was_overtaken_by_an_upgrade_stops_writing(world: World) -> None:
    world.task()
    world.do(upgraded)
    with pytest.raises(SchemaMismatch, match="Restart this server"):
        world.task()
    assert len(titles(world)) == 1


def test_a_database_of_another_encoding_is_refused(postgres_server: postgres.Server) -> None:
    postgres_server.admin.execute(
        "CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'"
    )
    with pytest.raises(StorageError, match="encoding is LATIN1; Task Copilot needs UTF8"):
        database_at(postgres_server.url("latin"))


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("postgresql+psycopg://me:geheim@127.0.0.1:1/db", "does not answer"),
        ("postgresql+psycopg://me:geheim@127.0.0.1:1/db?password=geheim", "does not answer"),
        ("postgresql+psycopg://me:geheim@127.0.0.1:1/db?nope=geheim", "TASK_COPILOT_DATABASE_URL"),
        ("postgresql+psycopg://me:geheim@/db?host=/nowhere", "does not answer"),
        ("postgresql+psycopg://me:geheim@host:port/db", "is not a URL"),
        ("postgresql+psycopg://me:geheim@host", "names no database"),
        ("postgresql://me:geheim@host/db", "begins with postgresql\\+psycopg://"),
        ("mysql://me:geheim@host/db", "names no SQLite file"),
        ("postgresql+psycopg:/me:geheim@host/db", "is not a URL"),
    ],
)
def test_a_url_that_does_not_work_is_refused_without_its_password(
    address: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outage, "WAIT_SECONDS", 0.0)
    with pytest.raises(StorageError, match=words) as found:
        database_at(address)
    assert "geheim" not in str(found.value)
    assert "geheim" not in urls.welcome(address)


def test_a_database_that_is_not_there_is_refused_at_once(postgres_server: postgres.Server) -> None:
    began = time.monotonic()
    with pytest.raises(StorageError, match='cannot be used: database "nope" does not exist'):
        database_at(postgres_server.url("nope"))
    assert time.monotonic() - began < outage.WAIT_SECONDS


def test_without_the_driver_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "task_copilot.database.postgres_engine", None)
    with pytest.raises(StorageError, match=r"pip install 'task-copilot\[postgres\]'"):
        database_at("postgresql+psycopg://host/db")


# Writing side by side


def test_a_lock_that_is_kept_fails_after_the_wait_and_writes_nothing(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialect, "LOCK_WAIT_SECONDS", 0.05)
    database = database_at(url)
    world = World(database)
    with connected(url) as other:
        other.execute(f"SELECT pg_advisory_lock({dialect.LOCK_KEY})")
        with pytest.raises(StorageBusy, match="kept it locked"):
            world.task()
    assert world.task() == 1
    close(database)


def test_who_cannot_be_alone_with_the_database_is_told_so_and_fails_nobody_who_writes(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialect, "ALONE_WAIT_SECONDS", 0.5)
    with connected(url) as other:
        name = make_url(url).database
        other.execute(f"ALTER DATABASE {name} SET deadlock_timeout = '50ms'")
    session, command = World(database_at(url)), database_at(url)
    writes, ended = threading.Event(), threading.Event()

    def write() -> None:
        while not ended.is_set():
            session.task()
            writes.set()

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        try:
            assert writes.wait(LIMIT_SECONDS)
            with pytest.raises(StorageBusy, match="have the database open"):
                command.alone(lambda _connection: None)
        finally:
            ended.set()
        writing.result(LIMIT_SECONDS)
    close(session.database)
    close(command)


@pytest.mark.usefixtures("unhurried")
def test_an_error_of_sql_undoes_its_operation_and_leaves_the_others(world: World) -> None:
    def broken(tx: Transaction) -> None:
        tx.connection.execute(text("SELECT nonsense"))

    waiting: deque[Any] = deque([creating(world, "a"), broken, creating(world, "b")])
    outcomes, rows = world.database.committer.commit(waiting)
    assert [outcome.error is None for outcome in outcomes] == [True, False, True]
    assert [row.seq for row in rows] == [1, 2]
    assert titles(world) == ["a", "b"]
    assert world.task() == 3  # no number is lost


def test_a_process_that_stops_in_the_middle_lets_the_others_go_on(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialect, "IDLE_SECONDS", 1)
    stopped, going_on = database_at(url), database_at(url)
    world, other = World(stopped, "a"), World(going_on, "b")
    begun, resume = threading.Event(), threading.Event()
    attempts: list[int] = []

    def stops(tx: Transaction) -> Any:
        attempts.append(1)
        made = creating(world, "late")(tx)
        begun.set()
        if len(attempts) == 1:
            resume.wait(LIMIT_SECONDS)
        return made

    thread = threading.Thread(target=lambda: stopped.write_now(stops))
    thread.start()
    assert begun.wait(LIMIT_SECONDS)
    other.task("in time")
    resume.set()
    thread.join(LIMIT_SECONDS)
    assert titles(other) == ["in time", "late"]
    assert len(attempts) == 2
    close(stopped)
    close(going_on)


# Connections that are lost


def test_a_connection_that_was_cut_is_made_again(world: World, url: str) -> None:
    world.task("before")
    cut(url)
    world.task("after")
    assert titles(world) == ["before", "after"]
    cut(url)
    assert titles(world) == ["before", "after"]


@pytest.mark.usefixtures("unhurried")
def test_an_operation_that_is_cut_off_is_carried_out_once(world: World, url: str) -> None:
    attempts: list[int] = []

    def unlucky(tx: Transaction) -> Any:
        made = creating(world, "b")(tx)
        attempts.append(1)
        if len(attempts) < 3:
            cut(url)
        return made

    waiting: deque[Any] = deque([creating(world, "a"), unlucky, creating(world, "c")])
    outcomes, rows = world.database.committer.commit(waiting)
    assert [outcome.result.id for outcome in outcomes] == [1, 2, 3]
    assert [row.seq for row in rows] == [1, 2, 3]
    assert titles(world) == ["a", "b", "c"]


@pytest.mark.parametrize("reached", [True, False])
def test_a_commit_whose_answer_is_lost_is_carried_out_once(
    world: World, url: str, monkeypatch: pytest.MonkeyPatch, *, reached: bool
) -> None:
    commit, lost = dialect.commit, list[int]()

    def losing(driver: Any, *, announce: bool) -> None:
        if lost:
            commit(driver, announce=announce)
            return
        lost.append(1)
        if reached:
            commit(driver, announce=announce)
        else:
            driver.commits += 1
        cut(url)
        driver.execute("SELECT 1")

    monkeypatch.setattr(dialect, "commit", losing)
    assert world.task("once") == 1
    assert titles(world) == ["once"]
    assert [event["seq"] for event in world.events()] == [1]
    assert world.task("twice") == 2


def test_where_the_outcome_cannot_be_found_out_it_says_so(
    world: World, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(driver: Any, **_given: Any) -> None:
        cut(url)
        driver.execute("SELECT 1")

    def away(*_given: Any) -> bool:
        raise StorageUnreachable("away")

    monkeypatch.setattr(outage, "WAIT_SECONDS", 0.1)
    monkeypatch.setattr(dialect, "commit", lost)
    monkeypatch.setattr(dialect, "is_committed", away)
    with pytest.raises(OutcomeUnknown, match="may be written or not"):
        world.task()
    monkeypatch.undo()
    assert world.task() == 1


async def test_calls_wait_for_a_server_that_restarts(
    world: World, postgres_server: postgres.Server
) -> None:
    database = world.database
    database.start(lambda _rows: None)
    await database.write(creating(world, "before"))
    await asyncio.to_thread(postgres_server.stop)
    writing = [asyncio.create_task(database.write(creating(world, f"{n}"))) for n in range(20)]
    reading = [asyncio.create_task(database.read(count_tasks)) for _ in range(20)]
    await asyncio.to_thread(postgres_server.start)
    numbers = sorted(made.id for made in await asyncio.gather(*writing))
    assert numbers == list(range(2, 22))
    assert all(number in range(1, 22) for number in await asyncio.gather(*reading))
    assert await database.read(count_tasks) == 21


def count_tasks(connection: Any) -> int:
    return int(connection.execute(text("SELECT count(*) FROM tasks")).scalar())


async def test_calls_fail_clearly_when_the_server_stays_away(
    world: World, postgres_server: postgres.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outage, "WAIT_SECONDS", 0.3)
    database = world.database
    database.start(lambda _rows: None)
    await asyncio.to_thread(postgres_server.stop)
    try:
        calls = (database.write(creating(world)), database.read(count_tasks))
        found = await asyncio.gather(*calls, return_exceptions=True)
    finally:
        await asyncio.to_thread(postgres_server.start)
    assert [type(error) for error in found] == [StorageUnreachable] * 2
    assert all("Nothing was written; is its server running?" in str(error) for error in found)
    assert (await database.write(creating(world))).id == 1


# Hearing of others


class Heard:
    """How often a follower has said that there may be something."""

    def __init__(self, database: Database[LogRow]) -> None:
        self._times = 0
        self._changed = threading.Condition()
        self.follower: Any = database.engine.follow(self._hear)

    def _hear(self) -> None:
        with self._changed:
            self._times += 1
            self._changed.notify_all()

    def times(self, number: int) -> None:
        """Returns once it was so often, and begins to count anew."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._times >= number, LIMIT_SECONDS)
            self._times = 0

    def nothing(self) -> bool:
        with self._changed:
            return self._times == 0


def test_a_commit_of_another_process_is_heard_of_and_ones_own_is_not(
    world: World, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("task_copilot.database.postgres_follower.LOOK_SECONDS", LIMIT_SECONDS)
    other = World(database_at(url))
    heard = Heard(world.database)
    heard.times(1)  # it listens
    world.task()
    world.do(lambda _tx, _scope: None)
    assert heard.nothing()
    other.task()
    heard.times(1)
    heard.follower.close()
    close(other.database)


def test_who_listens_looks_by_itself_and_again_after_its_connection_was_cut(
    world: World, url: str
) -> None:
    heard = Heard(world.database)
    heard.times(2)
    cut(url)
    heard.times(2)
    heard.follower.close()


# Reading


def test_who_stops_early_has_not_read_it_all(world: World) -> None:
    rows = Prepared(select(literal_column("n").label("n")).select_from(text("slowly")))

    def first(tx: Transaction, _scope: Any) -> Any:
        tx.connection.execute(
            text(
                "CREATE FUNCTION pg_temp.noted(n int) RETURNS int LANGUAGE plpgsql AS "
                "'BEGIN IF n > 600 THEN RAISE EXCEPTION ''read on''; END IF; RETURN n; END'"
            )
        )
        tx.connection.execute(
            text(
                "CREATE TEMP VIEW slowly AS SELECT pg_temp.noted(n) AS n "
                "FROM generate_series(1, 1000000) AS n"
            )
        )
        with contextlib.closing(rows.iterate(tx.connection, {})) as found:
            return next(found).n

    assert world.do(first) == 1


def test_who_reads_row_by_row_and_is_cut_off_leaves_nothing_open(world: World, url: str) -> None:
    world.task()
    query = Prepared(select(events.c.seq))
    cuts = ["before", "between"]

    def rows(connection: Any) -> int:
        place = cuts.pop() if cuts else None
        if place == "before":
            cut(url)
        with contextlib.closing(query.iterate(connection, {})) as found:
            seq: int = next(found).seq
            if place == "between":
                cut(url)
        return seq

    assert world.database.read_now(rows) == 1
    assert cuts == []
    gc.collect()  # a cursor that was left open would warn


# Texts


def test_texts_are_compared_by_their_bytes(world: World) -> None:
    names = ["b", "A", "a", "B", "É", "é", "Z", "ä"]
    for name in names:
        place = Location(name, None)
        world.do(lambda tx, _scope, place=place: workspaces.ensure(tx, place))  # type: ignore[misc]
    found = [each.name for each in world.database.read_now(workspaces.every)]
    assert found == sorted([*names, "shop"], key=str.encode)


def test_a_text_that_cannot_be_stored_is_refused_as_input(world: World) -> None:
    with pytest.raises(InvalidInput, match="NUL"):
        world.task("a\0b")
    assert world.task() == 1


def test_the_password_is_shown_nowhere() -> None:
    shown = urls.shown(
        make_url("postgresql+psycopg://me:pw@h/db?sslpassword=pw&password=pw&sslmode=require")
    )
    assert shown == "postgresql+psycopg://me@h/db?sslmode=require"
