"""Reads of the log for listeners take turns, so that the tools of the process are not held up."""

import asyncio
from collections.abc import Callable

import pytest

from memory import MemoryPages
from task_copilot.events.bus import CATCH_UPS_AT_ONCE, LOOKS_AT_ONCE, Bus
from task_copilot.events.log import LogPage

LIMIT_SECONDS = 10.0
MANY = 50


class CountedPages(MemoryPages):
    """Pages whose reads take some turns of the loop, and are counted meanwhile."""

    def __init__(self) -> None:
        super().__init__(page=10)
        self.now = {"after": 0, "up_to": 0}
        self.most = {"after": 0, "up_to": 0}
        self.order: list[int] = []

    async def _count(self, kind: str) -> None:
        self.now[kind] += 1
        self.most[kind] = max(self.most[kind], self.now[kind])
        for _ in range(3):
            await asyncio.sleep(0)
        self.now[kind] -= 1

    async def after(self, position: int) -> LogPage:
        self.order.append(position)
        await self._count("after")
        return await super().after(position)

    async def up_to(self, position: int) -> LogPage:
        await self._count("up_to")
        return await super().up_to(position)


@pytest.fixture
def pages() -> CountedPages:
    return CountedPages()


@pytest.fixture
def bus(pages: CountedPages) -> Bus:
    """A bus that has nothing of the log in memory."""
    pages.commit(MANY * 2)
    return Bus(pages.state, pages)


async def all_at_once(work: Callable[[int], asyncio.Future[object]]) -> None:
    async with asyncio.timeout(LIMIT_SECONDS):
        await asyncio.gather(*(work(number) for number in range(MANY)))


async def test_listeners_that_are_behind_read_in_turns_first_come_first_served(
    bus: Bus, pages: CountedPages
) -> None:
    await all_at_once(lambda number: asyncio.ensure_future(bus.after(number, 10)))
    assert pages.most["after"] == CATCH_UPS_AT_ONCE
    assert pages.order == list(range(MANY))


async def test_replays_look_for_their_place_in_turns(bus: Bus, pages: CountedPages) -> None:
    await all_at_once(
        lambda number: asyncio.ensure_future(bus.before_the_newest(number + 1, lambda _row: True))
    )
    assert pages.most["up_to"] == CATCH_UPS_AT_ONCE


async def test_those_who_ask_where_the_log_stands_take_turns(bus: Bus, pages: CountedPages) -> None:
    await all_at_once(lambda _number: asyncio.ensure_future(bus.synchronise()))
    assert pages.most["up_to"] == LOOKS_AT_ONCE


async def test_live_events_wait_for_no_turn(bus: Bus, pages: CountedPages) -> None:
    behind = [asyncio.create_task(bus.after(number, 10)) for number in range(MANY)]
    await asyncio.sleep(0)
    [new] = pages.commit(1)
    bus.publish([new])
    assert bus.at_hand(new.seq - 1, 10) is not None
    assert sum(task.done() for task in behind) == 0
    await asyncio.gather(*behind)
