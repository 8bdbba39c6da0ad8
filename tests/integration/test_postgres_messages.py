"""How many messages a change takes on PostgreSQL while it keeps all other writers waiting, and
what becomes of statements that are sent together."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import bindparam, insert, text, update

import postgres
from postgres import connected
from support import World, close, database_at, events_of, table, ticking
from task_copilot import requests, task_updates, tasks
from task_copilot.database import postgres as dialect
from task_copilot.database.postgres_connection import WritingConnection
from task_copilot.database.prepared import Prepared
from task_copilot.database.tables import SCHEMA_VERSION, streams
from task_copilot.database.tables import requests as requests_table
from task_copilot.database.transaction import Transaction
from task_copilot.errors import InvalidInput, SchemaMismatch, StorageBusy
from task_copilot.requests import Request
from task_copilot.streams import StreamChange
from task_copilot.task_updates import TaskChange

LIMIT_SECONDS = 20.0

NEGATIVE = Prepared(
    update(streams)
    .where(streams.c.stream_id == bindparam("stream"))
    .values(pending=bindparam("new_pending"))
)
"""With a number below zero it is refused, by the server, when it is carried out."""


@pytest.fixture
def url(postgres_server: postgres.Server) -> Iterator[str]:
    with postgres_server.database() as found:
        yield found


@pytest.fixture
def world(url: str) -> Iterator[World]:
    database = database_at(url, clock=ticking())
    yield World(database)
    close(database)


def messages(world: World, monkeypatch: pytest.MonkeyPatch, work: Callable[[], Any]) -> int:
    """How often the writing connection waits for an answer of the server, once all is known."""
    for _ in range(2):
        work()
    waits: list[int] = []
    wait = WritingConnection.wait

    def counting(connection: Any, *arguments: Any, **options: Any) -> Any:
        waits.append(1)
        return wait(connection, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(WritingConnection, "wait", counting)
        work()
    return len(waits)


def update_of(world: World, number: int, **change: Any) -> Callable[[], Any]:
    said = TaskChange(**change)
    return lambda: world.do(lambda tx, scope: task_updates.update_task(tx, scope, number, said))


def creating(world: World, title: str) -> Callable[[Transaction], Any]:
    new = tasks.NewTask(title=title, stream=StreamChange(stream_id="Stream-A"))
    return lambda tx: tasks.create(tx, world.scope, new)


def titles(world: World) -> list[str]:
    return [row["title"] for row in table(world.database, "tasks")]


# Messages


def test_a_status_update_takes_two_messages(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    number = world.task(stream="Stream-A")
    statuses = iter(["in_progress", "pending", "in_progress"])

    def work() -> None:
        update_of(world, number, status=next(statuses))()

    # the lock with the task and its stream; both written, the events, their numbers, the commit
    assert messages(world, monkeypatch, work) == 2
    assert len(events_of(world.database)) == 2 + 4 + 3 + 3


def test_a_new_title_takes_two_messages(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    number = world.task()
    assert messages(world, monkeypatch, update_of(world, number, title="new")) == 2


def test_a_task_in_a_known_stream_takes_three_messages(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the lock with the stream; the task, whose number its events tell; the events and the commit
    work = lambda: world.database.write_now(creating(world, "t"))  # noqa: E731
    assert messages(world, monkeypatch, work) == 3


def test_a_call_with_an_id_takes_one_more_message(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = world.task(stream="Stream-A")
    ids = iter("abc")

    def change(tx: Transaction, scope: Any) -> None:
        request = Request(next(ids), "task_update", "digest")
        assert requests.answered(tx, scope, request) is None
        task_updates.update_task(tx, scope, number, TaskChange(title="new"))
        requests.keep(tx, scope, request, number, "answer")

    assert messages(world, monkeypatch, lambda: world.do(change)) == 3


def test_operations_that_wait_together_share_the_first_message_and_the_last(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = [world.task(stream="Stream-A") for _ in range(5)]

    def work() -> None:
        said = TaskChange(title="new")
        waiting: deque[Any] = deque(
            [
                lambda tx, n=number: task_updates.update_task(tx, world.scope, n, said)
                for number in numbers
            ]
        )
        world.database.committer.commit(waiting)
        assert not waiting

    monkeypatch.setattr("task_copilot.database.committer.MAX_SECONDS", 60.0)
    assert messages(world, monkeypatch, work) == 1 + len(numbers)


@pytest.mark.usefixtures("unhurried")
async def test_what_comes_while_the_lock_is_waited_for_goes_with_the_first(
    world: World, url: str
) -> None:
    database = world.database
    database.start(lambda _rows: None)
    with connected(url) as other:
        other.execute(f"SELECT pg_advisory_lock({dialect.LOCK_KEY})")
        calls = [asyncio.create_task(database.write(creating(world, "first")))]
        await asyncio.to_thread(wait_for_the_lock, other)
        calls += [asyncio.create_task(database.write(creating(world, f"{n}"))) for n in range(9)]
        calls.append(asyncio.create_task(database.write(refused_at_once)))
        await asyncio.sleep(0)  # all have begun to wait
        other.execute(f"SELECT pg_advisory_unlock({dialect.LOCK_KEY})")
        made = await asyncio.gather(*calls, return_exceptions=True)
    assert [str(one) for one in made if isinstance(one, Exception)] == ["bad"]
    assert [one.id for one in made if not isinstance(one, BaseException)] == list(range(1, 11))
    with connected(url) as other:
        found = other.execute("SELECT count(DISTINCT xmin::text) FROM tasks").fetchone()
    assert found == (1,)


def refused_at_once(_tx: Transaction) -> None:
    raise InvalidInput("bad")


def wait_for_the_lock(other: Any) -> None:
    """Returns once somebody waits for it."""
    deadline = time.monotonic() + LIMIT_SECONDS
    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    while other.execute(waiting).fetchone() == (0,):
        assert time.monotonic() < deadline


def test_an_operation_that_reads_only_takes_two_messages(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.task()
    work = lambda: world.do(lambda tx, scope: tasks.find(tx.connection, scope.workspace, 1))  # noqa: E731
    assert messages(world, monkeypatch, work) == 2


# What is sent together


def refused(tx: Transaction) -> None:
    NEGATIVE.run(tx.connection, {"stream": "Stream-A", "new_pending": -1})


@pytest.mark.usefixtures("unhurried")
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_write_that_the_server_refuses_undoes_its_operation_and_leaves_the_others(
    world: World, place: int
) -> None:
    world.task(stream="Stream-A")
    operations: list[Any] = [creating(world, "a"), creating(world, "b")]
    operations.insert(place, refused)
    outcomes, rows = world.database.committer.commit(deque(operations))
    assert [outcome.error is not None for outcome in outcomes] == [n == place for n in range(3)]
    assert "stream_counts_are_not_negative" in str(outcomes[place].error)
    assert [row.seq for row in rows] == [3, 4, 5, 6]
    assert titles(world) == ["A task", "a", "b"]
    assert [event["seq"] for event in events_of(world.database)] == list(range(1, 7))
    assert world.task() == 4  # no number is lost


def test_nothing_is_committed_behind_a_write_that_was_refused(world: World) -> None:
    world.task(stream="Stream-A")

    def goes_on(tx: Transaction) -> None:
        refused(tx)
        with pytest.raises(Exception, match="stream_counts_are_not_negative"):
            tasks.find(tx.connection, world.scope.workspace, 1)

    with pytest.raises(RuntimeError, match="has failed was to be committed"):
        world.database.write_now(goes_on)
    assert world.task() == 2


@pytest.mark.usefixtures("unhurried")
def test_an_operation_that_fails_before_it_reads_leaves_the_others(world: World) -> None:
    def bad(_tx: Transaction) -> None:
        raise InvalidInput("bad")

    waiting: deque[Any] = deque([bad, creating(world, "a"), bad, creating(world, "b")])
    outcomes, _rows = world.database.committer.commit(waiting)
    assert [outcome.error is None for outcome in outcomes] == [False, True, False, True]
    assert titles(world) == ["a", "b"]


@pytest.mark.usefixtures("unhurried")
def test_all_that_wait_together_fail_at_once_where_the_lock_is_kept(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialect, "LOCK_WAIT_SECONDS", 0.05)
    world = World(database_at(url))
    begun: list[str] = []

    def reads(tx: Transaction) -> None:
        begun.append("x")
        tasks.find(tx.connection, world.scope.workspace, 1)

    with connected(url) as other:
        other.execute(f"SELECT pg_advisory_lock({dialect.LOCK_KEY})")
        outcomes, _rows = world.database.committer.commit(deque([reads] * 3))
    assert [type(outcome.error) for outcome in outcomes] == [StorageBusy] * 3
    assert len(begun) == 1
    close(world.database)


def test_an_operation_that_only_writes_sees_that_the_tables_were_upgraded(world: World) -> None:
    world.task(stream="Stream-A")

    def upgraded(tx: Transaction, _scope: Any) -> None:
        tx.connection.execute(
            text("UPDATE task_copilot_version SET version_num = :number"),
            {"number": f"{SCHEMA_VERSION + 1:04d}"},
        )

    world.do(upgraded)
    with pytest.raises(SchemaMismatch, match="Restart this server"):
        world.do(lambda tx, _scope: NEGATIVE.run(tx.connection, {"stream": "x", "new_pending": 9}))
    with pytest.raises(SchemaMismatch, match="Restart this server"):
        world.do(lambda tx, _scope: tx.connection.execute(text("SELECT gone FROM nowhere")))


def test_an_operation_that_only_writes_is_carried_out_although_its_wait_for_the_lock_is_cut(
    world: World, url: str
) -> None:
    world.task(stream="Stream-A")
    with connected(url) as other, ThreadPoolExecutor(1) as pool:
        other.execute(f"SELECT pg_advisory_lock({dialect.LOCK_KEY})")
        values = {"stream": "Stream-A", "new_pending": 9}
        writing = pool.submit(world.do, lambda tx, _scope: NEGATIVE.run(tx.connection, values))
        wait_for_the_lock(other)
        other.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_locks "
            "WHERE locktype = 'advisory' AND NOT granted"
        )
        other.execute(f"SELECT pg_advisory_unlock({dialect.LOCK_KEY})")
        writing.result(LIMIT_SECONDS)
    assert [row["pending"] for row in table(world.database, "streams")] == [9]


def test_times_have_the_order_of_the_commits(url: str) -> None:
    """Who waits for the lock takes its time only when it has it."""
    now = iter(f"2026-01-08T12:00:0{second}.000Z" for second in range(10))
    world = World(database_at(url, clock=lambda: next(now)))
    with connected(url) as other:
        other.execute(f"SELECT pg_advisory_lock({dialect.LOCK_KEY})")
        before = next(now)
        operation = creating(world, "late")

        def free(tx: Transaction) -> Any:
            other.execute(f"SELECT pg_advisory_unlock({dialect.LOCK_KEY})")
            return operation(tx)

        made = world.database.write_now(free)
    assert made.at > before
    close(world.database)


def test_texts_come_back_as_they_were_written(world: World) -> None:
    """Also those that the server's own notations of values give a meaning to."""
    texts = ["{}", '{"a"}', "\\x41", "\\N", "NULL", "", "'", "$1", "%(a)s %s %%", "🧭", "\r\n\t"]
    written = Prepared(insert(requests_table))
    world.task()
    for place, each in enumerate(texts):
        row = {
            "workspace_id": 1,
            "request_id": str(place),
            "tool": each,
            "task_id": 1,
            "digest": None,
            "answer": each,
            "created_at": "2026",
        }
        world.do(lambda tx, _scope, row=row: written.run(tx.connection, row))  # type: ignore[misc]
    found = {row["request_id"]: row for row in table(world.database, "requests")}
    assert [found[str(place)]["answer"] for place in range(len(texts))] == texts
    assert {row["digest"] for row in found.values()} == {None}


def test_what_is_undone_or_dropped_leaves_the_prepared_statements_of_changes(world: World) -> None:
    change = update_of(world, world.task("One", "Stream-A"), title="Uno")
    change()
    with world.database.write_engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        dialect.begin(driver)
        for _ in range(10):  # more often than a driver waits to prepare a statement of its own
            driver.execute("SELECT count(*) FROM tasks WHERE title = %s", ("Uno",))
        driver.execute("CREATE TEMPORARY TABLE gone (number integer)")
        driver.execute("DROP TABLE gone")
        dialect.rollback(driver)
        dialect.begin(driver)
        dialect.hold(driver)
        dialect.rollback(driver)
    change()
