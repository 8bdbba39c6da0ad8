"""The bus where the log is not as simple: with holes, pruned, replaced, or written all the time."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from memory import MemoryPages, event_row
from task_copilot.events import bus as bus_module
from task_copilot.events.bus import Bus, NewEpoch, Stretch
from task_copilot.events.log import LogPage, LogRow, LogState
from task_copilot.events.window import Window

LIMIT_SECONDS = 5.0


class Log(MemoryPages):
    """A log whose reads call `before` first, and wait while `may_read` is not set."""

    def __init__(self, *, page: int = 500, head: int = 0) -> None:
        super().__init__(page=page)
        self.reads = 0
        self.before: Callable[[], object] = lambda: None
        self.may_read = asyncio.Event()
        self.may_read.set()
        self.failing = False
        self.commit(head)

    async def _read(self, read: Callable[[int], Awaitable[LogPage]], position: int) -> LogPage:
        self.reads += 1
        self.before()
        await asyncio.sleep(0)  # as a read in another thread lets the others go on
        await self.may_read.wait()
        if self.failing:
            raise OSError("the disk is away")
        return await read(position)

    async def after(self, position: int) -> LogPage:
        return await self._read(super().after, position)

    async def up_to(self, position: int) -> LogPage:
        return await self._read(super().up_to, position)

    def replace(self, epoch: str, head: int) -> None:
        """Puts another log in the place of this one."""
        self.epoch, self.head = epoch, head
        self.rows = [event_row(seq, actor=epoch) for seq in range(1, head + 1)]


def limited(work: Awaitable[object]) -> Awaitable[object]:
    return asyncio.wait_for(work, LIMIT_SECONDS)


def seqs(found: Stretch | Sequence[LogRow]) -> list[int]:
    return [item.seq for item in (found.rows if isinstance(found, Stretch) else found)]


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


# --- synchronise ---


async def test_after_synchronising_all_that_was_committed_before_can_be_had() -> None:
    log = Log(page=3)
    bus = Bus(log.state, log)
    log.commit(10)
    await limited(bus.synchronise())
    assert bus.head == 10
    await limited(bus.synchronise())
    assert bus.head == 10


async def test_synchronising_ends_also_while_others_write_all_the_time() -> None:
    log = Log(page=3)
    bus = Bus(log.state, log)
    log.commit(4)
    log.before = log.commit
    await limited(bus.synchronise())
    assert bus.head >= 4
    log.before = lambda: None
    await limited(bus.close())


async def test_synchronising_ends_where_all_that_is_new_is_pruned_already() -> None:
    log = Log(head=3)
    bus = Bus(log.state, log)
    log.commit(4)
    log.prune(7)
    await limited(bus.synchronise())
    assert bus.state == LogState("epoch-1", 7)
    assert await bus.after(3, 10) == Stretch([], 7)
    bus.publish(log.commit())
    assert seqs(await bus.after(7, 10)) == [8]


async def test_who_synchronises_while_the_bus_is_closed_is_not_cancelled() -> None:
    log = Log()
    bus = Bus(log.state, log)
    log.commit(2)
    log.may_read.clear()
    waiting = asyncio.create_task(bus.synchronise())
    await turns()
    await limited(bus.close())
    log.may_read.set()
    await limited(waiting)
    await limited(bus.synchronise())


async def test_synchronising_ends_where_the_log_is_another_one_now() -> None:
    log = Log(head=3)
    bus = Bus(log.state, log)
    log.replace("epoch-2", 1)
    await limited(bus.synchronise())
    assert bus.state == LogState("epoch-2", 1)


async def test_who_gives_up_synchronising_disturbs_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bus_module, "READ_AGAIN_SECONDS", 0.001)
    log = Log()
    bus = Bus(log.state, log)
    log.commit(2)
    log.may_read.clear()
    waiting = [asyncio.create_task(bus.synchronise()) for _ in range(3)]
    await turns()
    waiting[0].cancel()
    await turns()
    log.may_read.set()
    await limited(asyncio.gather(*waiting[1:]))
    assert bus.head == 2
    assert waiting[0].cancelled()
    assert bus._wakers == set()


# --- holes and pruning ---


@pytest.mark.parametrize("page", [2, 3, 500])
@pytest.mark.parametrize("gone", [{5}, {5, 6, 7}, {4}, {4, 6, 8}, {9}, {4, 5, 6, 7, 8}])
async def test_a_hole_in_what_others_wrote_does_not_keep_the_bus_from_going_on(
    gone: set[int], page: int
) -> None:
    log = Log(page=page, head=3)
    bus = Bus(log.state, log)
    log.commit(6)
    log.rows = [row for row in log.rows if row.seq not in gone]
    await limited(bus.synchronise())
    assert bus.head == 9
    position, got = 3, []
    while position < 9:
        stretch = await bus.after(position, 10)
        got += seqs(stretch)
        position = stretch.upto
    assert got == [seq for seq in range(4, 10) if seq not in gone]
    bus.publish(log.commit())
    assert seqs(await bus.after(9, 10)) == [10]
    assert bus._catching_up is None, "it still looks for what is gone"


async def test_a_reader_before_the_oldest_kept_is_told_by_the_place_of_the_first_row() -> None:
    log = Log(head=9)
    bus = Bus(log.state, log)
    log.prune(6)
    assert seqs(await bus.after(2, 1)) == [7, 8, 9]
    log.prune(9)
    assert await bus.after(2, 1) == Stretch([], 9)


async def test_what_is_in_memory_is_served_also_when_the_log_has_it_no_more() -> None:
    log = Log(head=2)
    bus = Bus(log.state, log)
    bus.publish(log.commit(5))
    log.prune(7)
    assert seqs(await bus.after(2, 10)) == [3, 4, 5, 6, 7]
    assert log.reads == 0


# --- replay ---


@pytest.mark.parametrize("page", [1, 3, 500])
@pytest.mark.parametrize("window", [0, 4, 20])
@pytest.mark.parametrize("pruned", [0, 7, 12, 20])
async def test_a_replay_begins_before_the_newest_so_many_that_match(
    page: int, window: int, pruned: int
) -> None:
    log = Log(page=page)
    bus = Bus(log.state, log)
    bus.window = Window(0, rows=max(window, 1))
    bus.publish(log.commit(20))
    if not window:
        bus.window = Window(20)
    log.prune(pruned)
    held = {row.seq for row in log.rows} | {row.seq for row in bus.window.newest_first()}
    for step in (1, 2, 7, 50):
        matching = sorted(seq for seq in held if seq % step == 0)
        for count in (1, 2, 3, 10, 1_000):
            position = await bus.before_the_newest(count, lambda row, n=step: row.seq % n == 0)  # type: ignore[misc]
            wanted = matching[-count:]
            assert [seq for seq in matching if seq > position] == wanted, (step, count)
            assert position >= min(held, default=21) - 1, "it does not begin with a gap"
        assert await bus.before_the_newest(0, lambda _row: True) == 20


async def test_a_replay_of_an_empty_log_begins_at_its_head() -> None:
    log = Log()
    assert await Bus(log.state, log).before_the_newest(5, lambda _row: True) == 0
    log = Log(head=8)
    log.prune(8)
    assert await Bus(log.state, log).before_the_newest(5, lambda _row: True) == 8


# --- another log ---


async def test_another_log_wakes_everyone_and_begins_at_its_own_head() -> None:
    log = Log(head=9)
    bus = Bus(log.state, log)
    bus.publish(log.commit(2))
    assert bus.appended == 2
    woken: list[str] = []
    bus.add_waker(lambda: woken.append(bus.epoch))
    bus.restart(LogState("epoch-2", 4))
    assert woken == ["epoch-2"]
    assert (bus.state, bus.appended) == (LogState("epoch-2", 4), 0)
    assert (bus.window.start, bus.window.head) == (4, 4)


async def test_a_restart_with_the_same_log_changes_nothing_but_reads_what_is_new() -> None:
    log = Log(head=3)
    bus = Bus(log.state, log)
    log.commit(2)
    bus.restart(log.state)
    await limited(bus.synchronise())
    assert (bus.state, bus.window.start) == (LogState("epoch-1", 5), 3)


async def test_a_read_that_finds_another_log_moves_the_bus_there_and_says_so() -> None:
    log = Log(head=9)
    bus = Bus(log.state, log)
    log.replace("epoch-2", 4)
    with pytest.raises(NewEpoch):
        await bus.after(0, 10)
    assert bus.state == LogState("epoch-2", 4)
    bus.restart(LogState("epoch-3", 9))
    log.replace("epoch-4", 2)
    with pytest.raises(NewEpoch):
        await bus.before_the_newest(3, lambda _row: True)
    assert bus.state == LogState("epoch-4", 2)


async def test_a_catch_up_that_finds_another_log_goes_on_with_that_one() -> None:
    log = Log(head=9)
    bus = Bus(log.state, log)
    log.replace("epoch-2", 4)
    woken = asyncio.Event()
    bus.add_waker(woken.set)
    bus.refresh()
    await limited(woken.wait())
    assert bus.state == LogState("epoch-2", 4)
    await limited(bus.synchronise())
    await turns()
    bus.publish(log.commit())
    assert seqs(await bus.after(4, 10)) == [5]


async def test_who_waits_for_a_turn_while_the_log_is_replaced_gets_nothing_of_the_new_one() -> None:
    log = Log(head=9)
    bus = Bus(log.state, log)
    log.may_read.clear()
    reading = [asyncio.create_task(bus.after(0, 10)) for _ in range(12)]
    placing = [asyncio.create_task(bus.before_the_newest(3, lambda _row: True)) for _ in range(12)]
    await turns()
    log.replace("epoch-2", 9)
    bus.restart(log.state)
    log.may_read.set()
    found = await asyncio.wait_for(
        asyncio.gather(*reading, *placing, return_exceptions=True), LIMIT_SECONDS
    )
    assert {type(item) for item in found} == {NewEpoch}


async def test_who_read_another_log_before_gets_nothing_of_this_one() -> None:
    log = Log(head=9)
    bus = Bus(log.state, log)
    bus.restart(LogState("epoch-2", 0))
    bus.publish([event_row(1)])
    assert seqs(await bus.after(0, 10, epoch="epoch-2")) == [1]
    for position in (0, 5, 9):
        with pytest.raises(NewEpoch):
            await bus.after(position, 10, epoch="epoch-1")
