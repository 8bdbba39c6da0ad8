"""What listeners over HTTP share: they say what they want once, at the beginning."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from starlette.types import Receive

from task_copilot.errors import StorageError
from task_copilot.events.bus import Bus
from task_copilot.events.filters import Subscriptions
from task_copilot.events.listeners import Listeners
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
