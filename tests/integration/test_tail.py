"""What other processes commit is read in a thread that their datagrams wake, and reaches the bus
in order, whatever else happens meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support import World, close, database_at, url_of
from task_copilot.clock import system_clock
from task_copilot.database.store import Database
from task_copilot.database.transaction import OutboxEntry, Transaction
from task_copilot.events import log
from task_copilot.events.bus import Bus
from task_copilot.events.log import TAIL_ROWS, LogPage, LogRow, LogState
from task_copilot.events.window import WINDOW_ROWS
from task_copilot.places import Places
from task_copilot.settings import Settings
from task_copilot.succession import Succession
from task_copilot.tail import Standing, Tail

LIMIT_SECONDS = 10.0
OWN, OTHER, BURST, LOOK, REFRESH, TURN = "own", "other", "burst", "look", "refresh", "turn"
STEPS = st.lists(st.sampled_from([OWN, OTHER, BURST, LOOK, LOOK, REFRESH, TURN]), max_size=40)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database[LogRow]]:
    found = database_at(tmp_path)
    World(found)
    yield found
    close(found)


class Taken:
    """What a tail hands over, in the event loop that it was made in."""

    def __init__(self, database: Database[LogRow], told: LogState) -> None:
        self.pages: asyncio.Queue[LogPage | None] = asyncio.Queue()
        self.reader = database.kept_reader()
        self.before = Standing(told, database.generation)
        self.tail = Tail(self.reader, lambda: self.before, self._take)

    def _take(self, before: Standing, page: LogPage | None) -> None:
        assert before is self.before
        self.pages.put_nowait(page)

    async def look(self) -> LogPage | None:
        await asyncio.to_thread(self.tail.look)
        async with asyncio.timeout(LIMIT_SECONDS):
            return await self.pages.get()


async def test_a_look_brings_what_another_process_has_committed(
    database: Database[LogRow], tmp_path: Path
) -> None:
    told = database.read_now(log.state)
    taken = Taken(database, told)
    other = World(database_at(tmp_path))
    other.task("from elsewhere", "Stream-A")
    page = await taken.look()
    assert page is not None
    assert page.state == database.read_now(log.state)
    assert [row.payload for row in page.rows] == [
        row.payload for row in database.read_now(lambda c: log.rows_after(c, told.head))
    ]
    taken.tail.close()
    close(other.database)


async def test_a_look_that_finds_nothing_new_disturbs_nobody(database: Database[LogRow]) -> None:
    taken = Taken(database, database.read_now(log.state))
    for _ in range(3):
        await asyncio.to_thread(taken.tail.look)
    await asyncio.sleep(0)
    assert taken.pages.empty()
    taken.tail.close()


async def test_a_look_takes_some_events_and_says_that_there_are_more(
    database: Database[LogRow],
) -> None:
    told = database.read_now(log.state)
    taken = Taken(database, told)
    world = World(database)
    for number in range(TAIL_ROWS + 3):
        world.task(f"Task {number}")
    page = await taken.look()
    assert page is not None
    assert [row.seq for row in page.rows] == [told.head + 1 + n for n in range(TAIL_ROWS)]
    assert page.state.head > page.rows[-1].seq
    taken.tail.close()


async def test_a_log_that_cannot_be_read_is_left_to_who_looks_next(
    database: Database[LogRow], tmp_path: Path
) -> None:
    taken = Taken(database, database.read_now(log.state))
    _rename(database, "log", "log_elsewhere")
    assert await taken.look() is None
    _rename(database, "log_elsewhere", "log")
    World(database).task("readable again")
    assert await taken.look() is not None
    taken.tail.close()


def _rename(database: Database[LogRow], before: str, after: str) -> None:
    database.in_transaction(lambda c: c.exec_driver_sql(f"ALTER TABLE {before} RENAME TO {after}"))


async def test_a_look_finds_the_database_that_was_put_in_place_of_the_one_it_knew(
    database: Database[LogRow], tmp_path: Path
) -> None:
    told = database.read_now(log.state)
    taken = Taken(database, told)
    World(database).task("of the old one")
    assert await taken.look() is not None
    (tmp_path / "elsewhere").mkdir()
    new = database_at(tmp_path / "elsewhere")
    close(new)
    (tmp_path / "elsewhere" / "tasks.db").replace(tmp_path / "tasks.db")
    page = await taken.look()
    assert page is not None
    assert page.state.epoch not in {"", told.epoch}
    assert not taken.before.agrees_with(page.state)
    taken.tail.close()


class Followed:
    """A hub's bus that follows a log which this process and another one write to, and a listener
    that takes what there is whenever it is woken."""

    def __init__(self, succession: Succession, bus: Bus, other: Database[LogRow]) -> None:
        self._own, self._other, self.bus = succession.database, other, bus
        self.succession = succession
        self._moved = asyncio.Event()
        self.tail = Tail(self._own.kept_reader(), succession._standing, succession._take)
        self._writing: list[asyncio.Task[None]] = []
        self.position = bus.head
        self.got: list[int] = []
        bus.add_waker(self._woken)

    def _woken(self) -> None:
        stretch = self.bus.at_hand(self.position, WINDOW_ROWS)
        assert stretch is not None, "an event was passed over"
        self.got += [row.seq for row in stretch.rows]
        self.position = stretch.upto
        self._moved.set()

    async def do(self, step: str) -> None:
        if step == OWN:
            self._writing.append(asyncio.create_task(self._own.write(one)))
        elif step in {OTHER, BURST}:
            self._other.write_now(one if step == OTHER else many)
        elif step == LOOK:
            await asyncio.to_thread(self.tail.look)
        elif step == REFRESH:
            self.bus.refresh()
        else:
            await asyncio.sleep(0)

    async def end(self) -> int:
        """Returns the head when the bus has all that was written, which a refresh may find."""
        await asyncio.gather(*self._writing)
        await self.bus.synchronise()
        if self.bus._catching_up is not None:  # else the next rows would wait for its end
            await self.bus._catching_up
        return self._own.read_now(log.state).head

    async def reaches(self, head: int) -> None:
        """Returns when the listener has all up to `head`, with what was done so far."""
        async with asyncio.timeout(LIMIT_SECONDS):
            while self.position < head:
                self._moved.clear()
                await self._moved.wait()


ENTRY = OutboxEntry("task:TASK-1", "task.updated", "2026-01-08T12:00:30.125Z", '{"data":{}}')


def one(transaction: Transaction) -> None:
    transaction.outbox.append(ENTRY)


def many(transaction: Transaction) -> None:
    transaction.outbox.extend([ENTRY] * (TAIL_ROWS + 1))


@asynccontextmanager
async def following(folder: Path) -> AsyncIterator[Followed]:
    own, other = database_at(folder), database_at(folder)
    places = Places.of(folder / "tasks.db")
    succession = Succession(own, Settings(database_url=url_of(own)), system_clock, places)
    bus = succession._bus = await succession._make_bus()
    own.start(succession.publish)
    followed = Followed(succession, bus, other)
    yield followed
    followed.tail.close()
    await bus.close()
    await own.close(wait_for_readers=True)
    close(other)


async def follow(folder: Path, steps: list[str]) -> None:
    """Every event reaches the listener once and in order."""
    async with following(folder) as followed:
        first = followed.position + 1
        for step in steps:
            await followed.do(step)
        last = await followed.end()
        assert followed.got == list(range(first, last + 1))


@given(STEPS)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_looks_refreshes_and_own_commits_in_any_order_pass_nothing_over(
    tmp_path: Path, steps: list[str]
) -> None:
    asyncio.run(follow(tmp_path, steps))


@pytest.mark.parametrize("step", [OTHER, BURST])
async def test_one_look_is_enough_for_all_that_was_written_before(
    tmp_path: Path, step: str
) -> None:
    async with following(tmp_path) as followed:
        first = followed.position + 1
        await followed.do(step)
        await followed.do(LOOK)
        head = followed.succession.database.read_now(log.state).head
        await followed.reaches(head)
        assert followed.got == list(range(first, head + 1))


async def test_a_page_of_another_log_is_delivered_to_nobody(tmp_path: Path) -> None:
    async with following(tmp_path) as followed:
        await followed.do(OTHER)
        await followed.end()
        before = followed.succession._standing()
        row = LogRow(before.told.head + 1, "task:TASK-1", "task.updated", "", "{}")
        told = before.told._replace(head=row.seq)
        for standing, state in (
            (before, told._replace(epoch="another")),
            (before, before.told._replace(head=before.told.head - 1)),
            (before._replace(generation=before.generation - 1), told),
        ):
            followed.succession._take(standing, LogPage(state, [row]))
            await followed.end()
        assert followed.position == before.told.head
