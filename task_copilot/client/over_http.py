"""Events over HTTP: page after page, each as soon as there is one where waiting works."""

import asyncio
import logging

import httpx2

from task_copilot.buckets import Bucket
from task_copilot.client.core import Core
from task_copilot.client.door import Door
from task_copilot.client.errors import HubUnavailable, Unusable
from task_copilot.client.finding import Hub, json_of, reason_of, refusal
from task_copilot.client.model import Item
from task_copilot.client.options import Options

logger = logging.getLogger("task_copilot_client")

PAGE_EVENTS = 500
MARGIN_SECONDS = 10.0
"""How much later than promised an answer may come."""

CUTS_ACCEPTED = 2
"""So often in a row waiting may fail before it counts as not working."""

WAITING_AGAIN_SECONDS = 600.0
"""Until waiting is tried again where it did not work."""

EARLY = 0.9
"""An empty answer after less than this share of the waiting time was cut off."""

PASSING = {
    httpx2.codes.NOT_FOUND,  # of a proxy between two hubs
    httpx2.codes.REQUEST_TIMEOUT,
    httpx2.codes.TOO_EARLY,
    httpx2.codes.TOO_MANY_REQUESTS,
}
SERVER_ERRORS = 500


REQUESTS_A_SECOND = 50
REQUESTS_AT_ONCE = 100
"""A hub refuses who sends more than 100 a second for long, or 200 at once; where much happens, a
page brings more events instead."""


def passes(status: int) -> bool:
    """Whether the same request may be answered later."""
    return status >= SERVER_ERRORS or status in PASSING


class Pages:
    """Asks a hub for pages and knows whether waiting works."""

    def __init__(self, door: Door, core: Core, options: Options) -> None:
        self._door = door
        self._core = core
        self._options = options
        self._cuts = 0
        self._no_waiting_until = 0.0
        self._pace = Bucket(REQUESTS_A_SECOND, REQUESTS_AT_ONCE, self._now())

    def forget(self) -> None:
        """There is another hub: what was learned of waiting is of the old one."""
        self._cuts, self._no_waiting_until = 0, 0.0

    @property
    def waiting(self) -> bool:
        """Whether the next request waits at the hub for an event."""
        return self._options.wait > 0 and self._now() >= self._no_waiting_until

    async def next(self, hub: Hub) -> list[Item]:
        """The next items. Raises HubUnavailable where to try again, and RequestRefused."""
        if self._core.needs_head:  # since a moment ago
            self._core.behind = True
            return []
        await asyncio.sleep(self._pace.wait(self._now()))
        self._pace.take(self._now())
        waited = self._options.wait if self.waiting else 0.0
        started = self._now()
        try:
            found = await self._ask(hub, waited)
        except HubUnavailable:
            if waited:
                self._cut()
            raise
        if not waited:
            return found
        if found or self._core.behind or self._now() - started >= waited * EARLY:
            self._cuts = 0
            return found
        self._cut()
        raise HubUnavailable("a waiting request was answered too early")

    async def _ask(self, hub: Hub, waited: float) -> list[Item]:
        query = self._core.query() | {"limit": str(PAGE_EVENTS)}
        if waited:
            query["wait"] = f"{waited:g}"
        if self._options.workspace:
            query["workspace"] = self._options.workspace
        limit = waited + MARGIN_SECONDS if waited else self._options.answer_timeout
        answer = await self._door.get(
            hub,
            "/api/events",
            params=query,
            timeout=httpx2.Timeout(self._options.answer_timeout, read=limit),
        )
        if answer.status_code != httpx2.codes.OK:
            return self._refused(hub, answer)
        try:
            return self._core.page(answer.content)
        except Unusable as error:
            raise HubUnavailable(str(error)) from None

    def _refused(self, hub: Hub, answer: httpx2.Response) -> list[Item]:
        if passes(answer.status_code):
            raise HubUnavailable(f"{answer.status_code}: {reason_of(answer)}")
        error = refusal(self._door, hub, answer)
        if not self._core.refused(error.code):
            raise error
        self._core.behind = True  # and at once again, in other words
        return []

    def _cut(self) -> None:
        self._cuts += 1
        if self._cuts >= CUTS_ACCEPTED:
            logger.info("Waiting for events over HTTP does not work; asking now and then.")
            self._cuts, self._no_waiting_until = 0, self._now() + WAITING_AGAIN_SECONDS

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


async def head(door: Door, hub: Hub) -> tuple[str, int]:
    """Epoch and head of the log at this moment; raises HubUnavailable and RequestRefused."""
    answer = await door.get(hub, "/api/events", params={"limit": "1"})
    page = json_of(answer)
    epoch, position = page.get("epoch"), page.get("next")
    if answer.status_code == httpx2.codes.OK and isinstance(epoch, str) and type(position) is int:
        return epoch, position
    if answer.status_code == httpx2.codes.OK or passes(answer.status_code):
        raise HubUnavailable(f"{answer.status_code}: {reason_of(answer)}")
    raise refusal(door, hub, answer)
