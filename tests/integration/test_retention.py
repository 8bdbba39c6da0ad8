"""The log keeps its newest stretch, and goes on from its head; nobody waits for the rest to go."""

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert, update

from support import World, database_at, ticking
from task_copilot.application import Application
from task_copilot.clock import minutes_after
from task_copilot.database import sqlite
from task_copilot.database.portions import PAUSE_SECONDS, in_portions
from task_copilot.database.tables import events
from task_copilot.database.tables import log as log_table
from task_copilot.events import log, retention
from task_copilot.events.retention import Kept
from task_copilot.settings import Settings

NOW = "2026-03-01T12:00:00.000Z"
DAY = retention.MINUTES_OF_A_DAY


def fill(world: World, minutes_ago: list[int], payload: str = "{}") -> None:
    """Makes a log of one event for each of `minutes_ago`, and of nothing else."""
    rows = [
        {
            "seq": seq,
            "topic": "task:TASK-1",
            "event_type": "task.updated",
            "timestamp": minutes_after(NOW, -minutes),
            "payload": payload,
        }
        for seq, minutes in enumerate(minutes_ago, 1)
    ]

    def replace(tx: Any, _scope: Any) -> None:
        tx.connection.execute(delete(events))
        if rows:
            tx.connection.execute(insert(events), rows)
        tx.connection.execute(update(log_table).values(head=len(rows)))

    world.do(replace)


def left(world: World) -> list[int]:
    rows = world.database.read_now(lambda c: log.rows_after(c, 0, 1_000_000, 10**9))
    return [row.seq for row in rows]


def portions(world: World, keeping: Kept) -> list[int]:
    """Prunes until nothing is left to do; how many events each transaction removed."""
    done = []
    while world.database.read_now(lambda c: retention.any_removable(c, keeping)):
        done.append(world.do(lambda tx, _scope: retention.prune(tx, keeping)))
    return done


def head(world: World) -> int:
    return world.database.read_now(log.state).head


def rule(world: World, *, days: float, count: int) -> Kept:
    return retention.kept(head(world), NOW, days=days, count=count)


# Which events go


def test_an_event_goes_when_it_is_old_and_not_among_the_newest(world: World) -> None:
    fill(world, [9 * DAY, 8 * DAY, 7 * DAY + 1, 7 * DAY, 1])
    assert portions(world, rule(world, days=7, count=1)) == [3]
    assert left(world) == [4, 5]


def test_the_newest_stay_however_old_they_are(world: World) -> None:
    fill(world, [90 * DAY] * 10)
    portions(world, rule(world, days=7, count=4))
    assert left(world) == [7, 8, 9, 10]


def test_young_events_stay_however_many_they_are(world: World) -> None:
    fill(world, [8 * DAY, *[6 * DAY] * 10])
    portions(world, rule(world, days=7, count=4))
    assert left(world) == list(range(2, 12))


def test_days_may_be_fractions(world: World) -> None:
    fill(world, [13 * 60, 11 * 60, 0])
    portions(world, rule(world, days=0.5, count=1))
    assert left(world) == [2, 3]


def test_with_no_days_age_keeps_nothing_even_of_a_clock_that_ran_ahead(world: World) -> None:
    fill(world, [60, 0, -60, -120])
    portions(world, rule(world, days=0, count=2))
    assert left(world) == [3, 4]


def test_old_events_behind_a_young_one_stay_as_long_as_it_does(world: World) -> None:
    # The clock was a month ahead for a while, and was then set back.
    fill(world, [9 * DAY, -30 * DAY, 9 * DAY, 8 * DAY, 0])
    portions(world, rule(world, days=7, count=1))
    assert left(world) == [2, 3, 4, 5]


@pytest.mark.parametrize("size", [0, 1, 3])
def test_a_log_that_is_not_longer_than_the_limit_is_left_alone(world: World, size: int) -> None:
    fill(world, [90 * DAY] * size)
    keeping = rule(world, days=7, count=3)
    assert portions(world, keeping) == []
    assert world.do(lambda tx, _scope: retention.prune(tx, keeping)) == 0
    assert left(world) == list(range(1, size + 1))


@pytest.fixture(scope="module")
def shared() -> Iterator[World]:
    """A world for many examples."""
    with TemporaryDirectory() as folder:
        world = World(database_at(Path(folder), clock=ticking()))
        yield world
        world.database.committer.close()
        world.database.read_engine.dispose()


@settings(max_examples=150, deadline=None)
@given(
    ages=st.lists(st.integers(-5, 20), max_size=30),
    days=st.integers(0, 15),
    count=st.integers(1, 35),
    at_once=st.integers(1, 7),
)
def test_what_is_left_is_the_newest_stretch_by_the_rule(
    shared: World, ages: list[int], days: int, count: int, at_once: int
) -> None:
    fill(shared, [age * DAY for age in ages])
    keeping = rule(shared, days=days, count=count)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retention, "EVENTS_AT_ONCE", at_once)
        done = portions(shared, keeping)
    gone = 0
    while gone < len(ages) - count and (days == 0 or ages[gone] > days):
        gone += 1
    assert left(shared) == list(range(gone + 1, len(ages) + 1))
    assert sum(done) == gone
    assert all(number == at_once for number in done[:-1])
    assert head(shared) == len(ages)


# The log afterwards


def test_numbers_go_on_when_all_but_the_newest_are_gone(world: World) -> None:
    for _ in range(5):
        world.task()
    portions(world, rule(world, days=0, count=1))
    assert left(world) == [5]
    world.task()
    assert (left(world), head(world)) == ([5, 6], 6)


def test_the_oldest_event_that_is_kept_is_known(world: World) -> None:
    def oldest() -> int:
        return world.database.read_now(retention.oldest)

    assert oldest() == 1
    fill(world, [9 * DAY] * 5)
    assert oldest() == 1
    portions(world, rule(world, days=0, count=2))
    assert oldest() == 4
    world.do(lambda tx, _scope: tx.connection.execute(delete(events)))
    assert oldest() == 6


# Small transactions


def test_a_transaction_removes_at_most_500_events(world: World) -> None:
    fill(world, [0] * 1201)
    assert portions(world, rule(world, days=0, count=1)) == [500, 500, 200]


def test_a_transaction_removes_at_most_a_mebibyte_of_long_events(world: World) -> None:
    fill(world, [0] * 101, payload="é" * (15 * 1024))
    assert portions(world, rule(world, days=0, count=1)) == [34, 34, 32]


def test_an_event_of_any_size_can_go(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BYTES_AT_ONCE", 1)
    fill(world, [0] * 4)
    assert portions(world, rule(world, days=0, count=1)) == [1, 1, 1]


@pytest.mark.sqlite_only
async def test_other_processes_get_the_lock_at_once_after_every_portion(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(world, [0] * 2400)
    database = world.database
    database.start(lambda _rows: None)
    other = World(database_at(tmp_path, clock=ticking()), "blog")
    monkeypatch.setattr(sqlite, "LOCK_WAIT_SECONDS", 0.0)  # a lock that is held is an error
    pauses = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        other.task("Between two portions")

    keeping = rule(world, days=0, count=400)
    removed = await in_portions(
        database,
        lambda connection: retention.any_removable(connection, keeping),
        lambda tx: retention.prune(tx, keeping),
        pause,
    )
    assert removed == 2000
    assert left(world) == list(range(2001, 2405))  # and what came meanwhile
    assert len(pauses) == 4
    assert all(seconds >= PAUSE_SECONDS for seconds in pauses)
    await database.close()


async def test_the_pause_is_as_long_as_the_portion_took(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = world.database
    database.start(lambda _rows: None)
    left_to_do, pauses, times = [3], [], iter([0.0, 0.5, 1.0, 1.001, 2.0, 2.25])
    loop: Any = type("Loop", (), {"time": lambda _self: next(times)})()
    monkeypatch.setattr("task_copilot.database.portions.asyncio.get_running_loop", lambda: loop)
    monkeypatch.setattr(database, "read", answering(lambda: left_to_do[0] > 0))

    async def write(_portion: Any) -> int:
        left_to_do[0] -= 1
        return 7

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(database, "write", write)
    assert await in_portions(database, bool, lambda _tx: 7, pause) == 21
    assert pauses == [0.5, PAUSE_SECONDS, 0.25]
    monkeypatch.undo()
    await database.close()


def answering(value: Callable[[], bool]) -> Callable[..., Any]:
    async def read(_query: Any) -> bool:
        return value()

    return read


# The sweep


@pytest.mark.parametrize(
    ("given_settings", "stay"),
    [
        ({}, 9),
        ({"retention_events": 4}, 6),
        ({"retention_events": 4, "retention_days": 30}, 9),
        ({"retention_events": 4, "retention_days": 0}, 4),
        ({"retention_days": 0}, 9),
    ],
)
async def test_the_sweep_prunes_by_the_settings(
    database_url: str, given_settings: dict[str, Any], stay: int
) -> None:
    world = World(database_at(database_url, clock=ticking()))
    fill(world, [9 * DAY] * 3 + [DAY] * 6)
    application = Application(world.database, Settings(**given_settings), lambda: NOW)
    await application._prune()
    assert left(world) == list(range(10 - stay, 10))
    await application.close()
