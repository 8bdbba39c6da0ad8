"""Log, window, bus and readers together, in a random order of all that can happen to them.

Whatever happens, each reader gets every event that it wants once and in order, or is told of a
gap, and a gap is exactly what was pruned before the reader came there.
"""

import asyncio
import random
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memory import MemoryPages, event_row
from task_copilot.events import bus as bus_module
from task_copilot.events.bus import Bus, NewEpoch
from task_copilot.events.feed import Feed
from task_copilot.events.filters import EVERYTHING, EventFilter
from task_copilot.events.http import read_page
from task_copilot.events.listeners import Listeners
from task_copilot.events.log import LogPage, LogRow
from task_copilot.events.reader import Gap, Reader
from task_copilot.events.requests import Cursor, Refused, Topics, Wanted
from task_copilot.events.window import Window

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=500)
LIMIT_SECONDS = 10.0
STREAMS = EventFilter(event_types=frozenset({"stream.*"}))


class Log(MemoryPages):
    """A log that others write to, prune and replace while it is being read."""

    def __init__(self, chance: random.Random, page: int) -> None:
        super().__init__(page=page, row=self.event)
        self.chance = chance
        self.history: dict[str, list[LogRow]] = {self.epoch: []}
        self.pruned_to: dict[str, set[int]] = {self.epoch: set()}
        self.failures = 0

    def event(self, seq: int) -> LogRow:
        kind = "stream.progress" if seq % 3 == 0 else "task.created"
        return event_row(seq, f"{kind[:4]}:x", kind, actor=self.epoch)

    def commit(self, count: int = 1) -> list[LogRow]:
        new = super().commit(count)
        self.history[self.epoch] += new
        return new

    def prune(self, upto: int) -> None:
        super().prune(upto)
        self.pruned_to[self.epoch].add(upto)

    def replace(self) -> None:
        """Another log, which may have fewer events or more."""
        self.epoch = f"epoch-{len(self.history) + 1}"
        self.rows, self.head = [], 0
        self.history[self.epoch], self.pruned_to[self.epoch] = [], set()
        self.commit(self.chance.randrange(12))

    async def turns(self) -> None:
        for _ in range(self.chance.randrange(4)):
            await asyncio.sleep(0)

    async def after(self, position: int) -> LogPage:
        await self.turns()
        if self.failures:
            self.failures -= 1
            raise OSError("the disk is away")
        found = await super().after(position)
        await self.turns()
        return found

    async def up_to(self, position: int) -> LogPage:
        await self.turns()
        found = await super().up_to(position)
        await self.turns()
        return found


@dataclass
class Listening:
    """One reader, what it wants and what it was given."""

    wanted: EventFilter
    epoch: str
    reader: Reader
    start: int
    got: list[LogRow | Gap] = field(default_factory=list)
    paged: bool = False


class World:
    """What happens; each step is a method."""

    def __init__(self, seed: int, page: int, window: int) -> None:
        self.chance = random.Random(seed)
        self.log = Log(self.chance, page)
        self.log.commit(self.chance.randrange(10))
        self.bus = Bus(self.log.state, self.log)
        self.bus.window = Window(self.log.head, rows=window)
        self.feed = Feed(self.bus, Listeners(1_000), 50, 30.0)
        self.listening: list[Listening] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.told_later: list[list[LogRow]] = []

    def here(self) -> None:
        new = self.log.commit(self.chance.randrange(1, 5))
        if self.bus.epoch == self.log.epoch:
            self.bus.publish(new)

    def elsewhere(self) -> None:
        self.log.commit(self.chance.randrange(1, 5))

    def told(self) -> None:
        self.bus.refresh()

    def prune(self) -> None:
        upto = self.chance.choice([self.log.head, self.chance.randrange(self.log.head + 1)])
        self.log.prune(upto)

    def fail(self) -> None:
        self.log.failures += 1

    def replace(self) -> None:
        self.log.replace()
        if self.chance.random() < 0.5:
            self.bus.restart(self.log.state)

    def since(self) -> None:
        self._join(Cursor(since=self.chance.randrange(self.log.head + 1), epoch=self.log.epoch))

    def replay(self) -> None:
        self._join(Cursor(replay=self.chance.randrange(1, 12)))

    def at_the_head(self) -> None:
        self._join(Cursor())

    def _join(self, cursor: Cursor) -> None:
        wanted = self.chance.choice([EVERYTHING, STREAMS])
        self.tasks.append(asyncio.create_task(self._listen(cursor, wanted)))

    async def _listen(self, cursor: Cursor, wanted: EventFilter) -> None:
        asked = Wanted([Topics(["*"], wanted)], cursor, None)
        try:
            reader = await self.feed.reader(asked, None)
        except (NewEpoch, Refused):
            return
        epoch = self.bus.epoch
        paged = self.chance.random() < 0.5
        found = Listening(wanted, epoch, reader, reader.position, paged=paged)
        if cursor.since is not None:
            assert reader.position == cursor.since
        self.listening.append(found)
        try:
            await (self._follow_pages(found) if paged else self._follow(found))
        except NewEpoch:
            return
        except Refused:  # of one that asks again and again
            assert self.bus.epoch != epoch

    async def _follow(self, found: Listening) -> None:
        woken = asyncio.Event()
        self.bus.add_waker(woken.set)
        while True:
            woken.clear()
            while found.reader.position < self.bus.head or self.bus.epoch != found.epoch:
                limit = self.chance.randrange(1, 5)
                position = found.reader.position
                stretch = await self.bus.after(position, limit, epoch=found.epoch)
                for item in found.reader.items(stretch):
                    found.got.append(item)
                    if self.chance.random() < 0.1:
                        break  # as batches do
                await self.log.turns()  # some are slow
            await woken.wait()

    async def _follow_pages(self, found: Listening) -> None:
        """As one who polls: each page with a reader of its own, from `next` on."""
        while True:
            limit = self.chance.randrange(1, 5)
            cursor = Cursor(since=found.reader.position, epoch=found.epoch)
            asked = Wanted([Topics(["*"], found.wanted)], cursor, None)
            found.reader = await self.feed.reader(asked, None)
            page = await read_page(self.feed, found.reader, limit=limit, wait=LIMIT_SECONDS)
            assert page.state.epoch == found.epoch
            assert cursor.since is not None
            assert cursor.since <= page.next <= page.state.head
            assert len(page.events) <= limit
            by_text = {row.payload: row for row in self.log.history[found.epoch]}
            found.got += [page.gap] if page.gap else []
            found.got += [by_text[text] for text in page.events]

    async def run(self, steps: list[str]) -> None:
        for step in steps:
            if step == "turn":
                await asyncio.sleep(0)
            else:
                getattr(self, step)()
        self.log.failures = 0
        async with asyncio.timeout(LIMIT_SECONDS):
            await self.bus.synchronise()
            await self.bus.synchronise()  # where the first found another log
            assert self.bus.state == self.log.state
            while not all(map(self._is_done, self.listening)):
                await self.log.turns()
                for task in self.tasks:
                    if task.done():
                        task.result()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.bus.close()
        for found in self.listening:
            self.check(found)

    def _is_done(self, found: Listening) -> bool:
        return found.epoch != self.log.epoch or found.reader.position >= self.log.head

    def check(self, found: Listening) -> None:
        position, history = found.start, self.log.history[found.epoch]
        for item in found.got:
            first = item.first if isinstance(item, Gap) else item.seq
            between = history[position : first - 1]
            assert position < first
            assert not any(map(found.wanted.accepts, between)), "passed over in silence"
            if isinstance(item, Gap):
                assert first == position + 1 or found.wanted is not EVERYTHING
                assert item.last in self.log.pruned_to[found.epoch], "more or less than is gone"
                position = item.last
            else:
                assert item.about.actor == found.epoch, "an event of another log"
                assert found.wanted.accepts(item)
                position = item.seq
        if found.epoch == self.log.epoch:
            rest = history[position : found.reader.position]
            assert not any(map(found.wanted.accepts, rest)), "never delivered"
            assert found.reader.position >= self.log.head


STEPS = [
    *("here", "here", "here", "elsewhere", "elsewhere", "told", "prune", "fail"),
    *("since", "since", "replay", "at_the_head", "turn", "turn", "turn", "turn"),
]


def run(seed: int, page: int, window: int, steps: list[str]) -> None:
    async def all_of_it() -> None:
        await World(seed, page, window).run(steps)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bus_module, "READ_AGAIN_SECONDS", 0)
        asyncio.run(all_of_it())


@unhurried
@given(
    seed=st.integers(0, 2**32),
    page=st.integers(1, 5),
    window=st.integers(1, 6),
    steps=st.lists(st.sampled_from(STEPS), min_size=5, max_size=60),
)
def test_every_reader_gets_each_event_once_or_is_told_what_was_pruned(**given_: Any) -> None:
    run(**given_)


@unhurried
@given(
    seed=st.integers(0, 2**32),
    page=st.integers(1, 5),
    window=st.integers(1, 6),
    steps=st.lists(st.sampled_from([*STEPS, "replace"]), min_size=5, max_size=60),
)
def test_no_reader_gets_an_event_of_another_log(**given_: Any) -> None:
    run(**given_)
