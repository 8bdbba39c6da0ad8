"""The newest events in memory, and how they come to those who wait for them."""

import asyncio
import logging
import random
from collections.abc import Callable, Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memory import MemoryPages, event_row
from task_copilot.events import bus as bus_module
from task_copilot.events.bus import Bus, Stretch
from task_copilot.events.log import LogPage, LogRow
from task_copilot.events.window import Window

# How long an example takes says how busy the machine is, and nothing about the program.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
LIMIT_SECONDS = 5.0
"""How long anything here may take before a test gives up."""


def row(seq: int) -> LogRow:
    return event_row(seq)


def rows(first: int, last: int) -> list[LogRow]:
    return [row(seq) for seq in range(first, last + 1)]


def seqs(found: Stretch | Sequence[LogRow] | None) -> list[int] | None:
    if found is None:
        return None
    return [item.seq for item in (found.rows if isinstance(found, Stretch) else found)]


# --- the window ---


def test_a_new_window_is_empty_and_begins_at_the_head() -> None:
    window = Window(7)
    assert (window.start, window.head) == (7, 7)
    assert window.after(7, 10) == []
    assert window.after(6, 10) is None


def test_the_next_rows_move_the_head_and_leave_the_start() -> None:
    window = Window(7)
    assert window.extend(rows(8, 10))
    assert (window.start, window.head) == (7, 10)
    assert seqs(window.after(7, 10)) == [8, 9, 10]
    assert seqs(window.after(9, 10)) == [10]
    assert window.after(10, 10) == []


def test_after_a_hole_nothing_is_added() -> None:
    window = Window(7)
    assert not window.extend(rows(9, 10))
    assert (window.start, window.head) == (7, 7)
    assert window.after(7, 10) == []


def test_rows_with_a_hole_among_them_do_not_make_a_window_with_a_hole() -> None:
    window = Window(0)
    assert not window.extend([row(1), row(2), row(4)])
    assert window.head in {0, 2}
    assert seqs(window.after(0, 10)) == list(range(1, window.head + 1))


def test_rows_that_are_held_already_are_passed_over() -> None:
    window = Window(0)
    window.extend(rows(1, 5))
    assert window.extend(rows(2, 5))
    assert window.extend(rows(4, 7))
    assert window.extend([])
    assert seqs(window.after(0, 10)) == [1, 2, 3, 4, 5, 6, 7]


def test_a_full_window_lets_go_of_the_oldest() -> None:
    window = Window(0, rows=3)
    window.extend(rows(1, 5))
    assert (window.start, window.head) == (2, 5)
    assert seqs(window.after(2, 10)) == [3, 4, 5]
    assert window.after(1, 10) is None


def test_more_rows_at_once_than_the_window_holds_leave_the_newest() -> None:
    window = Window(0, rows=3)
    assert window.extend(rows(1, 100))
    assert (window.start, window.head) == (97, 100)
    assert seqs(window.after(97, 10)) == [98, 99, 100]


def test_not_more_rows_are_given_than_were_asked_for() -> None:
    window = Window(0)
    window.extend(rows(1, 9))
    assert seqs(window.after(2, 3)) == [3, 4, 5]
    assert seqs(window.after(8, 3)) == [9]


def test_a_position_beyond_the_head_gets_nothing() -> None:
    window = Window(5)
    window.extend(rows(6, 7))
    assert window.after(8, 10) == []
    assert window.after(5_000, 10) == []


@unhurried
@given(
    head=st.integers(0, 5),
    size=st.integers(1, 6),
    parts=st.lists(st.tuples(st.integers(0, 15), st.integers(0, 8)), max_size=10),
)
def test_a_window_is_always_one_stretch_of_the_newest_rows(
    head: int, size: int, parts: list[tuple[int, int]]
) -> None:
    window, expected = Window(head, rows=size), head
    for first, count in parts:
        offered = rows(first, first + count - 1)
        follows = not offered or offered[-1].seq <= expected or offered[0].seq <= expected + 1
        assert window.extend(offered) is follows
        if follows and offered:
            expected = max(expected, offered[-1].seq)
        assert window.head == expected
        assert window.start == max(head, expected - size)
        for position in range(expected + 3):
            found = window.after(position, 3)
            if position < window.start:
                assert found is None
            else:
                assert seqs(found) == [*range(position + 1, expected + 1)][:3]


@unhurried
@given(st.lists(st.sets(st.integers(1, 12), max_size=6), max_size=6))
def test_a_window_has_no_hole_whatever_it_is_offered(parts: list[set[int]]) -> None:
    window = Window(0, rows=5)
    for part in parts:
        before = window.head
        window.extend([row(seq) for seq in sorted(part)])
        assert window.head >= before
        assert set(range(before + 1, window.head + 1)) <= part
        assert seqs(window.after(window.start, 99)) == [*range(window.start + 1, window.head + 1)]


# --- the bus ---


class Log(MemoryPages):
    """A log in memory that gives pages when and as the test wants."""

    def __init__(self, *, page: int = 500) -> None:
        super().__init__(page=page)
        self.reads: list[int] = []
        self.failures = 0
        self.may_read = asyncio.Event()
        self.may_read.set()
        self.reading = asyncio.Event()

    async def after(self, position: int) -> LogPage:
        self.reads.append(position)
        self.reading.set()
        await self.may_read.wait()
        if self.failures:
            self.failures -= 1
            raise OSError("the disk is away")
        return await super().after(position)


class Reader:
    """Reads all that the bus has each time it is woken, as a listener's connection does."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.position = bus.head
        self.got: list[int] = []
        self._woken = asyncio.Event()
        bus.add_waker(self._woken.set)

    async def read_to(self, head: int) -> None:
        async with asyncio.timeout(LIMIT_SECONDS):
            while self.position < head:
                self._woken.clear()
                while self.position < self.bus.head:
                    for item in (await self.bus.after(self.position, 3)).rows:
                        self.position = item.seq
                        self.got.append(item.seq)
                if self.position < head:
                    await self._woken.wait()


def new_bus(log: Log) -> Bus:
    return Bus(log.state, log)


async def wait_for(event: asyncio.Event) -> None:
    await asyncio.wait_for(event.wait(), LIMIT_SECONDS)


async def head_reaches(bus: Bus, head: int) -> None:
    """Waits until the bus has every event up to `head`."""
    reached = asyncio.Event()

    def look() -> None:
        if bus.head >= head:
            reached.set()

    bus.add_waker(look)
    look()
    await wait_for(reached)
    bus.remove_waker(look)


async def test_what_is_published_is_there_at_once_and_wakes() -> None:
    log = Log()
    bus = new_bus(log)
    woken: list[int] = []
    bus.add_waker(lambda: woken.append(bus.head))
    bus.publish(log.commit(2))
    bus.publish(log.commit())
    assert woken == [2, 3]
    assert bus.epoch == "epoch-1"
    assert seqs(await bus.after(0, 10)) == [1, 2, 3]
    assert log.reads == []


async def test_a_gap_in_what_is_published_is_filled_from_the_log_in_order() -> None:
    log = Log(page=2)
    bus = new_bus(log)
    reader = Reader(bus)
    bus.publish(log.commit())
    log.commit(5)  # by another process
    bus.publish(log.commit())
    await reader.read_to(7)
    assert reader.got == [1, 2, 3, 4, 5, 6, 7]


async def test_a_gap_within_what_is_published_is_filled_from_the_log_too() -> None:
    log = Log()
    bus = new_bus(log)
    reader = Reader(bus)
    bus.publish(log.commit(3))
    await reader.read_to(3)
    mine = log.commit(2)
    log.commit()  # by another process, between two commits of this one
    bus.publish([*mine, *log.commit()])
    await reader.read_to(7)
    assert reader.got == [1, 2, 3, 4, 5, 6, 7]


async def test_what_is_published_late_or_twice_comes_once() -> None:
    log = Log()
    bus = new_bus(log)
    reader = Reader(bus)
    first, second = log.commit(2), log.commit(2)
    bus.publish(second)  # the first are missing: both are read from the log
    bus.publish(first)
    await reader.read_to(4)
    bus.publish(second)
    bus.publish(first)
    bus.publish(log.commit())
    await reader.read_to(5)
    assert reader.got == [1, 2, 3, 4, 5]


async def test_a_refresh_brings_what_other_processes_have_committed() -> None:
    log = Log(page=3)
    bus = new_bus(log)
    log.commit(10)
    bus.refresh()
    await head_reaches(bus, 10)
    assert seqs(await bus.after(0, 100)) == list(range(1, 11))


async def test_refreshes_during_a_read_lead_to_one_more_read() -> None:
    log = Log()
    bus = new_bus(log)
    log.may_read.clear()
    bus.refresh()
    await wait_for(log.reading)
    for _ in range(50):
        bus.refresh()
    log.commit(3)
    log.may_read.set()
    await head_reaches(bus, 3)
    log.commit()
    bus.refresh()
    await head_reaches(bus, 4)
    assert len(log.reads) <= 6


async def test_what_is_published_during_a_read_is_not_passed_over() -> None:
    log = Log()
    bus = new_bus(log)
    reader = Reader(bus)
    log.may_read.clear()
    bus.refresh()
    await wait_for(log.reading)
    bus.publish(log.commit(2))
    bus.publish(log.commit())
    log.may_read.set()
    await reader.read_to(3)
    assert reader.got == [1, 2, 3]


async def test_a_read_that_fails_is_logged_and_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(bus_module, "READ_AGAIN_SECONDS", 0.001)
    log = Log()
    bus = new_bus(log)
    log.failures = 3
    log.commit(4)
    with caplog.at_level(logging.ERROR):
        bus.refresh()
        await head_reaches(bus, 4)
    assert len(caplog.records) == 3
    assert "cannot be read" in caplog.text
    assert "the disk is away" in caplog.text


async def test_after_a_failed_read_nothing_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(bus_module, "READ_AGAIN_SECONDS", 0.001)
    log = Log(page=2)
    bus = new_bus(log)
    reader = Reader(bus)
    log.failures = 2
    log.commit(3)
    bus.publish(log.commit())
    bus.publish(log.commit())
    await reader.read_to(5)
    bus.publish(log.commit())
    await reader.read_to(6)
    assert reader.got == [1, 2, 3, 4, 5, 6]


async def test_one_who_is_behind_the_window_reads_from_the_log() -> None:
    log = Log(page=4)
    bus = new_bus(log)
    bus.publish(log.commit(1_500))
    assert bus.window.start == 500
    assert seqs(await bus.after(0, 64)) == [1, 2, 3, 4]
    assert log.reads == [0]
    assert seqs(await bus.after(500, 2)) == [501, 502]
    assert log.reads == [0]


async def test_a_waker_that_was_removed_is_not_called_and_may_be_removed_again() -> None:
    log = Log()
    bus = new_bus(log)
    called: list[str] = []
    stays: Callable[[], None] = lambda: called.append("stays")  # noqa: E731
    goes: Callable[[], None] = lambda: called.append("goes")  # noqa: E731
    bus.add_waker(stays)
    bus.add_waker(goes)
    bus.add_waker(goes)
    bus.remove_waker(goes)
    bus.remove_waker(goes)
    bus.publish(log.commit())
    assert called == ["stays"]


async def test_wakers_may_be_removed_while_they_are_being_woken() -> None:
    log = Log()
    bus = new_bus(log)
    called: list[int] = []

    def waker(number: int) -> Callable[[], None]:
        def wake() -> None:
            called.append(number)
            bus.remove_waker(wake)

        return wake

    for number in range(5):
        bus.add_waker(waker(number))
    bus.publish(log.commit())
    assert sorted(called) == [0, 1, 2, 3, 4]
    bus.publish(log.commit())
    assert len(called) == 5


async def test_wakers_may_be_added_while_others_are_being_woken() -> None:
    log = Log()
    bus = new_bus(log)
    called: list[str] = []

    def new() -> None:
        called.append("new")

    def first() -> None:
        called.append("first")
        bus.add_waker(new)

    bus.add_waker(first)
    bus.publish(log.commit())
    assert "first" in called
    called.clear()
    bus.publish(log.commit())
    assert sorted(called) == ["first", "new"]


async def test_a_catch_up_wakes_those_who_came_and_went_meanwhile_rightly() -> None:
    log = Log(page=1)
    bus = new_bus(log)
    gone: list[int] = []
    log.may_read.clear()
    log.commit(3)
    bus.refresh()
    await wait_for(log.reading)

    def leaves() -> None:
        gone.append(bus.head)
        bus.remove_waker(leaves)

    bus.add_waker(leaves)
    reader = Reader(bus)
    log.may_read.set()
    await reader.read_to(3)
    assert gone == [1]
    assert reader.got == [1, 2, 3]


async def test_a_closed_bus_ends_the_read_under_way() -> None:
    log = Log()
    bus = new_bus(log)
    log.may_read.clear()
    bus.refresh()
    await wait_for(log.reading)
    await asyncio.wait_for(bus.close(), LIMIT_SECONDS)
    others = asyncio.all_tasks() - {asyncio.current_task()}
    assert others == set()
    await bus.close()


async def test_a_bus_that_is_closed_before_its_first_read_began_ends_too() -> None:
    log = Log()
    bus = new_bus(log)
    bus.refresh()
    await asyncio.wait_for(bus.close(), LIMIT_SECONDS)
    assert asyncio.all_tasks() - {asyncio.current_task()} == set()


class Interleaving:
    """Commits here and elsewhere, lost and late notices, slow reads, in a random order."""

    def __init__(self, seed: int, page: int) -> None:
        self.chance = random.Random(seed)
        self.log = Log(page=page)
        self.bus = Bus(self.log.state, self)
        self.bus.window = Window(0, rows=4)  # small, so that readers fall behind it
        self.readers: list[tuple[int, Reader]] = []
        self.reading: list[asyncio.Task[None]] = []
        self.kept_back: list[list[LogRow]] = []

    async def turns(self) -> None:
        for _ in range(self.chance.randrange(4)):
            await asyncio.sleep(0)

    async def after(self, position: int) -> LogPage:
        await self.turns()
        found = await self.log.after(position)
        await self.turns()
        return found

    async def up_to(self, position: int) -> LogPage:
        return await self.log.up_to(position)

    def here(self) -> None:
        self.bus.publish(self.log.commit(self.chance.randrange(1, 4)))

    def elsewhere(self) -> None:
        self.log.commit(self.chance.randrange(1, 4))

    def here_but_told_later(self) -> None:
        self.kept_back.append(self.log.commit())

    def told_now(self) -> None:
        self.chance.shuffle(self.kept_back)
        while self.kept_back:
            self.bus.publish(self.kept_back.pop())

    def refresh(self) -> None:
        self.bus.refresh()

    def join(self) -> None:
        reader = Reader(self.bus)
        self.readers.append((reader.position, reader))
        self.reading.append(asyncio.create_task(reader.read_to(2**62)))

    async def run(self, steps: list[str]) -> None:
        self.join()
        for step in steps:
            if step == "turn":
                await asyncio.sleep(0)
            else:
                getattr(self, step)()
        self.here()
        await head_reaches(self.bus, self.log.head)
        for task in self.reading:
            task.cancel()
        await asyncio.gather(*self.reading, return_exceptions=True)
        for start, reader in self.readers:
            await reader.read_to(self.log.head)
            assert reader.got == list(range(start + 1, self.log.head + 1))
        await self.bus.close()


STEPS = [
    *("here", "elsewhere", "here_but_told_later", "told_now", "refresh", "join"),
    *("turn", "turn", "turn"),
]


@unhurried
@given(
    seed=st.integers(0, 2**32),
    page=st.integers(1, 5),
    steps=st.lists(st.sampled_from(STEPS), max_size=40),
)
def test_no_event_is_passed_over_and_none_comes_twice_however_things_interleave(
    seed: int, page: int, steps: list[str]
) -> None:
    async def run() -> None:
        await Interleaving(seed, page).run(steps)

    asyncio.run(run())
