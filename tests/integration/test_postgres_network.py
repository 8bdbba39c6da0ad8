"""PostgreSQL behind a network that delays, stands still and breaks, and among foreign sessions."""

import asyncio
import os
import random
import resource
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest
from sqlalchemy import make_url, text

import postgres
import postgres_relay
from postgres import connected
from postgres_relay import (
    Line,
    Relay,
    answer_lost,
    cut_before,
    cut_behind,
    ended_behind,
    relaying,
)
from support import World, close, database_at, events_of, table
from task_copilot import move, tasks
from task_copilot.database import outage, postgres_answers, postgres_follower
from task_copilot.database import postgres as dialect
from task_copilot.database.postgres_engine import PostgresEngine
from task_copilot.database.store import Database
from task_copilot.database.transaction import Transaction
from task_copilot.errors import OutcomeUnknown, StorageBusy, StorageUnreachable
from task_copilot.events.log import LogRow

LIMIT_SECONDS = 20.0
LISTEN = b"LISTEN"


@pytest.fixture
def name(postgres_server: postgres.Server) -> Iterator[str]:
    found = postgres_server.new()
    yield found
    postgres_server.drop(found)


@pytest.fixture
def url(postgres_server: postgres.Server, name: str) -> str:
    """The direct way."""
    return postgres_server.url(name)


@pytest.fixture
def relay(postgres_server: postgres.Server) -> Iterator[Relay]:
    with relaying(postgres_server) as found:
        yield found


@pytest.fixture
def world(relay: Relay, name: str) -> Iterator[World]:
    """Through the relay."""
    database = database_at(relay.url(name))
    yield World(database)
    close(database)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever waits, waits for a part of a second."""
    monkeypatch.setattr(postgres_answers, "ANSWER_SECONDS", 0.4)
    monkeypatch.setattr(outage, "WAIT_SECONDS", 0.3)
    monkeypatch.setattr(dialect, "LOCK_WAIT_SECONDS", 0.1)
    monkeypatch.setitem(dialect._CONNECTING, "connect_timeout", 2)


def creating(world: World, title: str) -> Callable[[Transaction], Any]:
    new = tasks.NewTask(title=title)
    return lambda tx: tasks.create(tx, world.scope, new)


def count_tasks(connection: Any) -> int:
    return int(connection.execute(text("SELECT count(*) FROM tasks")).scalar())


def titles(database: Database[LogRow]) -> list[str]:
    return [row["title"] for row in table(database, "tasks")]


# A network that stands still


@pytest.mark.usefixtures("impatient")
async def test_calls_end_in_time_where_nothing_is_answered_and_the_next_are_carried_out(
    world: World, relay: Relay
) -> None:
    database = world.database
    database.start(lambda _rows: None)
    await database.write(creating(world, "before"))
    assert await database.read(count_tasks) == 1
    relay.stall()
    calls = [database.write(creating(world, "lost")), database.read(count_tasks)]
    async with asyncio.timeout(LIMIT_SECONDS):
        found = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(error) for error in found] == [StorageUnreachable] * 2
    assert all("does not answer" in str(error) for error in found)
    relay.go_on()
    await database.write(creating(world, "after"))
    assert await database.read(count_tasks) == 2
    assert [event["seq"] for event in await asyncio.to_thread(world.events)] == [1, 2]


class Stuck:
    """Who listens for commits, where the network stands still: it ends when it is let go."""

    def __init__(self) -> None:
        self.may_end = threading.Event()
        self.ended_in_time = False

    def close(self) -> None:
        self.ended_in_time = self.may_end.wait(LIMIT_SECONDS)


async def test_the_event_loop_does_not_wait_until_who_listens_for_commits_has_ended(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, stuck = world.database, Stuck()
    monkeypatch.setattr(database.engine, "follow", lambda _wake: stuck)
    database.start(lambda _rows: None)
    database.watch(lambda: None)
    closing = asyncio.create_task(database.close())
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_soon(stuck.may_end.set)
    async with asyncio.timeout(LIMIT_SECONDS):
        await closing
    assert stuck.ended_in_time


@pytest.mark.usefixtures("impatient")
def test_a_commit_that_stands_still_is_told_of_as_unknown_and_is_there_once_or_not(
    world: World, relay: Relay
) -> None:
    def stop(_line: Line, _chunk: bytes) -> bool:
        relay.stall()
        _line.flows.wait()
        return False

    relay.meddle_commits = stop
    with pytest.raises(OutcomeUnknown, match="may be written or not"):
        world.task("once")
    relay.meddle_commits = None
    relay.go_on()
    world.task("next")
    assert titles(world.database) in (["once", "next"], ["next"])
    assert len(world.events()) == len(titles(world.database))


@pytest.mark.usefixtures("impatient")
def test_what_is_done_alone_may_take_long(world: World) -> None:
    database = world.database
    assert database.alone(lambda c: c.execute(text("SELECT 1 FROM pg_sleep(1)")).scalar()) == 1


@pytest.mark.usefixtures("impatient")
def test_what_is_done_with_a_table_that_is_moved_may_take_long(url: str) -> None:
    engine = PostgresEngine(make_url(url), durability="full")
    with move.target_of(engine) as (_connection, driver):
        assert driver.execute("SELECT 1 FROM pg_sleep(1)").fetchone() == (1,)
    engine.close()


def test_who_holds_the_lock_and_is_cut_off_gives_it_up_before_others_fail(
    world: World, relay: Relay, name: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert dialect.IDLE_SECONDS * 2 <= dialect.LOCK_WAIT_SECONDS
    monkeypatch.setattr(dialect, "IDLE_SECONDS", 1)
    monkeypatch.setattr(postgres_answers, "ANSWER_SECONDS", 3.0)
    holding = World(database_at(relay.url(name)), "b")
    other = World(database_at(url), "c")
    begun = threading.Event()

    def stands_still(_line: Line, chunk: bytes) -> bool:
        if b"nowhere" in chunk:
            relay.stall()
            begun.set()
            return True
        return False

    relay.meddle = stands_still
    thread = threading.Thread(target=lambda: holding.task("nowhere"))
    thread.start()
    assert begun.wait(LIMIT_SECONDS)
    other.task("in time")
    relay.meddle = None
    relay.go_on()
    thread.join(LIMIT_SECONDS)
    assert titles(other.database) == ["in time", "nowhere"]
    close(holding.database)
    close(other.database)


def test_the_server_too_gives_up_connections_that_are_cut_off(world: World) -> None:
    query = text(
        "SELECT name FROM pg_settings WHERE source = 'session' "
        "AND name IN ('tcp_user_timeout', 'tcp_keepalives_idle', 'lock_timeout') ORDER BY 1"
    )
    wanted = ["lock_timeout", "tcp_keepalives_idle", "tcp_user_timeout"]
    assert world.database.read_now(lambda c: c.execute(query).scalars().all()) == wanted
    found = world.database.in_transaction(lambda c: c.execute(query).scalars().all())
    assert found == wanted


# Commits whose outcome is not told


@pytest.mark.parametrize("fate", [cut_before, cut_behind, answer_lost, ended_behind])
def test_a_change_is_there_once_wherever_in_its_commit_the_connection_breaks(
    world: World, relay: Relay, fate: postgres_relay.Meddle
) -> None:
    left = [fate, fate]
    relay.meddle_commits = lambda line, chunk: bool(left) and left.pop()(line, chunk)
    assert world.task("once") == 1
    assert world.task("twice") == 2
    assert left == []
    assert titles(world.database) == ["once", "twice"]
    assert [event["seq"] for event in world.events()] == [1, 2]


class Unlucky:
    """Breaks some of the commits that come through a relay, and once the server."""

    def __init__(self, server: postgres.Server, seed: int, crash_at: int) -> None:
        self._server = server
        self._chance = random.Random(seed)
        self._crash_at = crash_at
        self._lock = threading.Lock()
        self.commits = self.broken = 0

    def __call__(self, line: Line, chunk: bytes) -> bool:
        with self._lock:
            self.commits += 1
            crashes = self.commits == self._crash_at
            breaks = self._chance.random() < 0.3
            fate = self._chance.choice([cut_before, cut_behind, answer_lost, ended_behind])
            self.broken += breaks or crashes
        if crashes:
            line.server.sendall(chunk)
            self._server.restart("immediate")
            return True
        return breaks and fate(line, chunk)


def test_changes_of_many_are_there_once_while_commits_break_and_the_server_crashes(
    postgres_server: postgres.Server,
    relay: Relay,
    name: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    writers, each = 4, 15
    seed = random.SystemRandom().randrange(2**32)
    unlucky = Unlucky(postgres_server, seed, crash_at=writers * each // 2)

    def write(number: int) -> list[int]:
        # What is answered is on disk: the server crashes.
        world = World(database_at(relay.url(name), durability="full"), f"w{number}")
        made = [world.task(f"{number}-{count}") for count in range(each)]
        close(world.database)
        return made

    relay.meddle_commits = unlucky
    with ThreadPoolExecutor(writers) as pool:
        made = [task for found in pool.map(write, range(writers)) for task in found]
    relay.meddle_commits = None
    database = database_at(postgres_server.url(name))
    wanted = {f"{number}-{count}" for number in range(writers) for count in range(each)}
    stored = titles(database)
    assert set(stored) == wanted, seed
    assert len(stored) == len(wanted), seed
    assert sorted(made) == [row["id"] for row in table(database, "tasks")], seed
    assert [event["seq"] for event in events_of(database)] == [*range(1, len(wanted) + 1)], seed
    assert unlucky.broken > writers, seed
    assert [record for record in caplog.records if record.exc_info] == []
    close(database)


# Hearing of others


class Heard:
    """When a follower has said that there may be something."""

    def __init__(self, database: Database[LogRow]) -> None:
        self._times = 0
        self._changed = threading.Condition()
        self.follower: Any = database.engine.follow(self._hear)

    def _hear(self) -> None:
        with self._changed:
            self._times += 1
            self._changed.notify_all()

    def times(self, number: int, seconds: float = LIMIT_SECONDS) -> None:
        """Returns once it was so often, and begins to count anew."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._times >= number, seconds)
            self._times = 0


def swallow(_line: Line, _chunk: bytes) -> bool:
    return True


@pytest.mark.parametrize("fate", [cut_before, swallow])
def test_who_cannot_listen_looks_each_second_and_hears_again_as_soon_as_it_can(
    world: World,
    relay: Relay,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    fate: postgres_relay.Meddle,
) -> None:
    monkeypatch.setattr(postgres_follower, "CHECK_SECONDS", 1.0)
    monkeypatch.setattr(postgres_follower, "LOOK_SECONDS", 0.2)
    tried, listens = threading.Event(), threading.Event()
    meddling = True

    def meddle(line: Line, chunk: bytes) -> bool:
        if LISTEN not in chunk:
            return False
        (tried if meddling else listens).set()
        return meddling and fate(line, chunk)

    relay.meddle = meddle
    heard = Heard(world.database)
    assert tried.wait(LIMIT_SECONDS)
    for _ in range(2):
        heard.times(1, 3.0)
    meddling = False
    assert listens.wait(LIMIT_SECONDS)
    monkeypatch.setattr(postgres_follower, "LOOK_SECONDS", LIMIT_SECONDS)
    other = World(database_at(relay.url(name)), "b")
    heard.times(1, 5.0)
    other.task()
    heard.times(1, 5.0)
    heard.follower.close()
    close(other.database)


def test_a_connection_that_is_silent_because_it_is_dead_is_made_again(
    world: World, relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_follower, "LOOK_SECONDS", LIMIT_SECONDS)
    monkeypatch.setattr(postgres_follower, "SILENCE_SECONDS", 0.2)
    monkeypatch.setattr(postgres_follower, "CHECK_SECONDS", 0.5)
    made: list[Line] = []
    both = threading.Semaphore(0)

    def meddle(line: Line, chunk: bytes) -> bool:
        if LISTEN in chunk:
            made.append(line)
            both.release()
        return False

    relay.meddle = meddle
    heard = Heard(world.database)
    assert both.acquire(timeout=LIMIT_SECONDS)
    heard.times(1)
    made[0].flows.clear()
    assert both.acquire(timeout=LIMIT_SECONDS)
    heard.follower.close()


def test_it_listens_also_in_a_process_with_many_connections(
    world: World, relay: Relay, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_follower, "LOOK_SECONDS", LIMIT_SECONDS)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    with ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        while (opened := os.dup(0)) <= 1024:
            stack.callback(os.close, opened)
        stack.callback(os.close, opened)
        other = World(database_at(relay.url(name)), "b")
        heard = Heard(world.database)
        heard.times(1)
        other.task()
        heard.times(1)
        heard.follower.close()
        close(other.database)


# Foreign sessions


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("locked", ["tasks", "log", "task_copilot_version"])
def test_a_table_that_others_keep_locked_fails_calls_in_time(
    world: World, url: str, locked: str
) -> None:
    with connected(url) as other:
        other.execute(f"BEGIN; LOCK TABLE {locked}")
        with pytest.raises(StorageBusy, match="kept it locked"):
            world.task()
        if locked == "tasks":
            with pytest.raises(StorageBusy, match="kept it locked"):
                world.database.read_now(count_tasks)
    assert world.task() == 1


@pytest.mark.usefixtures("impatient", "unhurried")
def test_many_that_wait_for_a_locked_table_do_not_wait_one_after_the_other(
    world: World, url: str
) -> None:
    waiting: deque[Any] = deque(creating(world, f"{number}") for number in range(60))
    with connected(url) as other:
        other.execute("BEGIN; LOCK TABLE tasks")
        began = time.monotonic()
        outcomes, _rows = world.database.committer.commit(waiting)
        assert time.monotonic() - began < 30 * dialect.LOCK_WAIT_SECONDS
    assert [type(outcome.error) for outcome in outcomes] == [StorageBusy] * 60
    assert world.task() == 1


@pytest.mark.parametrize("limit", ["statement_timeout", "transaction_timeout"])
def test_limits_of_an_administrator_fail_calls_clearly_and_later_ones_go_on(
    postgres_server: postgres.Server, name: str, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(outage, "WAIT_SECONDS", 0.3)
    postgres_server.admin.execute(f"ALTER DATABASE {name} SET {limit} = '200ms'")
    url = postgres_server.url(name)
    world = World(database_at(url))
    with connected(url) as other:
        other.execute(f"SET {limit} = 0; SELECT pg_advisory_lock({dialect.LOCK_KEY})")
        with pytest.raises((StorageBusy, StorageUnreachable)) as found:
            world.task()
        assert "Nothing was written" in str(found.value)
    assert world.task() == 1
    close(world.database)


# Several servers


def test_of_several_servers_it_takes_the_one_that_can_be_written() -> None:
    several = make_url("postgresql+psycopg://me@/db?host=a:5432&host=b:5432")
    assert dialect.connecting(several)["target_session_attrs"] == "read-write"
    given = several.update_query_dict({"target_session_attrs": "any"})
    assert dialect.connecting(given)["target_session_attrs"] == "any"
    one = make_url("postgresql+psycopg://me@a/db")
    assert "target_session_attrs" not in dialect.connecting(one)
