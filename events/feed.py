"""What listeners over HTTP share: they say what they want once, at the beginning."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

from starlette.types import Receive

from task_copilot.clock import system_clock
from task_copilot.errors import StorageError
from task_copilot.events.bus import Bus
from task_copilot.events.filters import Subscriptions
from task_copilot.events.listeners import Listeners
from task_copilot.events.live import LiveSet, Wish
from task_copilot.events.reader import Gap, Reader
from task_copilot.events.requests import Refused, Wanted

T = TypeVar("T")

LOG_SECONDS = 10.0
"""How long a request that need not wait waits for a log that cannot be read."""


@dataclass(frozen=True, slots=True)
class Feed:
    """The events of a hub, as the HTTP transports serve them."""

    bus: Bus
    listeners: Listeners
    max_patterns: int
    ping_interval: float
    live: LiveSet = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "live", LiveSet(self.bus, self.listeners, system_clock))

    async def reader(self, wanted: Wanted, workspace: str | None) -> Reader:
        """A reader at the place where `wanted` begins.

        Raises Refused, NewEpoch, and StorageError where the log cannot be read.
        """
        if len(wanted.topics) > self.max_patterns:
            raise Refused(
                "WS_SUBSCRIPTION_LIMIT",
                f"A request takes at most {self.max_patterns} patterns; "
                f"this one has {len(wanted.topics)}.",
                limit=self.max_patterns,
            )
        async with readable():
            # Whoever was just told that something is written finds it.
            await self.bus.synchronise()
            return await self._placed(wanted, workspace)

    async def _placed(self, wanted: Wanted, workspace: str | None) -> Reader:
        wanted.cursor.check(self.bus.state)
        subscriptions = Subscriptions(workspace)
        for selection in wanted.selections:
            subscriptions.add(selection.patterns, selection.filter)
        position = self.bus.head
        if wanted.cursor.since is not None:
            position = wanted.cursor.since
        elif wanted.cursor.replay:
            position = await self.bus.before_the_newest(wanted.cursor.replay, subscriptions.match)
        return Reader(position, subscriptions)


class Waiting:
    """A reader that waits for an event that it wants. One that it does not want costs nothing:
    it lets the live set keep its position meanwhile."""

    put = None

    def __init__(self, feed: Feed, reader: Reader) -> None:
        self.reader = reader
        self.wish = Wish(reader.subscriptions.selection, None)
        self._feed = feed
        self._wake = asyncio.Event()

    async def more(self) -> None:
        """Returns when there may be more for it, and when the bus has ended or begun anew; for
        a reader that has what there is."""
        bus, live = self._feed.bus, self._feed.live
        self._wake.clear()
        if not live.attach(self):  # it has read more of the log than the bus has heard of
            bus.add_waker(self._wake.set)
        try:
            await self._wake.wait()
        finally:
            live.release(self)
            bus.remove_waker(self._wake.set)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._feed.live.forget(self)

    def released(self) -> None:
        """Its reader has its own position again."""
        self._wake.set()

    def failed(self, error: Exception) -> None:
        """Nothing is written to it that could fail."""


@contextlib.asynccontextmanager
async def readable() -> AsyncIterator[None]:
    """Raises StorageError where what is done meanwhile waits for the log for too long."""
    try:
        async with asyncio.timeout(LOG_SECONDS):
            yield
    except TimeoutError:
        raise StorageError("The event log cannot be read now; ask again later.") from None


async def unless_gone(receive: Receive, work: Coroutine[Any, Any, T]) -> T | None:
    """The result of `work`; None where the client goes away before, and then it is ended."""
    working, watching = asyncio.create_task(work), asyncio.create_task(_gone(receive))
    try:
        await asyncio.wait((working, watching), return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        for task in (working, watching):
            task.cancel()
        await asyncio.gather(working, watching, return_exceptions=True)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def gap_text(gap: Gap) -> str:
    """A gap as JSON."""
    return f'{{"from":{gap.first},"to":{gap.last},"reason":"{gap.reason}"}}'
