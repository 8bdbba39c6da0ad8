"""Brings a listener its items, whatever happens to hubs and networks.

find a hub ──▶ WebSocket ──ends──▶ pause ──▶ find a hub
                  │ three failures in a row
                  ▼
                HTTP pages, and now and then a look at whether WebSockets work again
"""

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from task_copilot.bearer import UNAUTHORIZED
from task_copilot.client import finding, over_http
from task_copilot.client.core import Core
from task_copilot.client.door import Door
from task_copilot.client.errors import HubUnavailable, NoWebSocket
from task_copilot.client.finding import Hub
from task_copilot.client.model import Item, Mode
from task_copilot.client.options import Connection, Options
from task_copilot.client.over_http import Pages
from task_copilot.client.over_websocket import Session, Sink, opened

logger = logging.getLogger("task_copilot_client")

MAX_FAILURES = 3
"""So often in a row a WebSocket may fail before events come over HTTP."""

FIRST_PAUSE_SECONDS = 0.25
MAX_PAUSE_SECONDS = 30.0
MAX_DOUBLINGS = 7
"""A pause is a random part of at most the first, doubled with each failure in a row; so clients
that lost their hub together do not come back together."""

COME_BACK_SECONDS = 0.005
"""Most of the pause after a hub said that another takes its place."""

T = TypeVar("T")
Report = Callable[[Mode, str], None]


def longest_pause(failures: int) -> float:
    """The most that a pause may take after so many failures in a row, in seconds."""
    doublings = min(max(failures - 1, 0), MAX_DOUBLINGS)
    return min(MAX_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0**doublings)


class Engine:
    """One listener at work. `sink` gets its items in order and may take its time; `report` gets
    each new mode, with the reason where it is ``disconnected``."""

    def __init__(self, core: Core, options: Options, sink: Sink, report: Report) -> None:
        self.core = core
        self._options = options
        self._sink = sink
        self._report = report
        self._changed = asyncio.Event()
        self._session: Session | None = None
        self._over_pages = False
        self._placed = asyncio.Event()
        """Set when it is known where new topics begin over HTTP."""
        self._door = Door(options)
        self._pages = Pages(self._door, core, options)
        self._hub: Hub | None = None
        self._failures = 0
        """In a row, of whatever kind."""
        self._websocket_failures = 0
        self._next_probe = 0.0

    async def wanted(self) -> None:
        """Carries out that something else is wanted; returns when the hub knows."""
        self._changed.set()
        known = self._session.answered if self._session else self._placed
        known.clear()
        begins_anew = self.core.wants_something and self.core.needs_head
        if self._session or (self._over_pages and begins_anew):
            await known.wait()

    async def run(self) -> None:
        """Works until it is cancelled; raises RequestRefused."""
        async with self._door:
            while True:
                try:
                    hub = await self._reach()
                    again_at_once = await self._serve(hub)
                except HubUnavailable as error:
                    self._failures += 1
                    again_at_once = False
                    logger.info("%s", error)
                    self._report("disconnected", str(error))
                await self._pause(at_once=again_at_once)

    async def _pause(self, *, at_once: bool) -> None:
        longest = COME_BACK_SECONDS if at_once else longest_pause(self._failures)
        await asyncio.sleep(random.uniform(0, longest))  # noqa: S311 - no secret

    async def _reach(self) -> Hub:
        try:
            hub = await finding.find(self._door, self._options.api_base)
            await self._place(hub)
        except HubUnavailable:
            self._hub = None
            raise
        if hub != self._hub:  # another one, to which a WebSocket may lead
            self._websocket_failures = min(self._websocket_failures, MAX_FAILURES - 1)
            self._pages.forget()
            self._hub = hub
        return hub

    async def _place(self, hub: Hub) -> None:
        if self.core.needs_head:
            epoch, position = await over_http.head(self._door, hub)
            await self._put(self.core.begin(epoch, position))
        self._placed.set()

    async def _put(self, items: list[Item]) -> None:
        for item in items:
            await self._sink(item)

    async def _serve(self, hub: Hub) -> bool:
        """Brings events until something fails; whether to come back at once."""
        if not self._options.use_websocket or self._websocket_failures >= MAX_FAILURES:
            connection = await self._over_http(hub)
            return await self._over_websocket(connection)
        try:
            connection = await opened(self._door, hub, self._options)
        except NoWebSocket as error:
            self._failures += 1
            if error.status == UNAUTHORIZED:
                await over_http.head(self._door, hub)  # whether that holds for HTTP too
            self._websocket_failures += MAX_FAILURES if error.silent else 1
            logger.info("No WebSocket at %s: %s", hub.address, error)
            return self._websocket_failures >= MAX_FAILURES
        return await self._over_websocket(connection)

    async def _over_websocket(self, connection: Connection) -> bool:
        session = self._session = Session(connection, self.core, self._options, self._sink)
        self._report("websocket", "")
        try:
            at_once = await session.run(self._changed)
        finally:
            self._session = None
        self._report("disconnected", "the WebSocket ended")
        if session.good:
            self._failures = self._websocket_failures = 0
        if not at_once:
            self._failures += 1
            self._websocket_failures += 1
        return at_once

    # --- HTTP, until a WebSocket works again ---

    async def _over_http(self, hub: Hub) -> Connection:
        """Brings pages until there is a WebSocket; raises HubUnavailable."""
        self._report("http", "")
        self._over_pages = True
        probe = asyncio.create_task(self._probe(hub))
        try:
            while not probe.done():
                await self._bring_page(hub, probe)
        except BaseException:
            await self._drop(probe)
            if not probe.cancelled():
                await probe.result().close()
            raise
        finally:
            self._over_pages = False
            self._placed.set()
        return await probe

    async def _bring_page(self, hub: Hub, probe: asyncio.Task[Connection]) -> None:
        if not self.core.wants_something:
            await self._unless_changed(asyncio.sleep(self._options.poll_interval), probe)
            await finding.find(self._door, self._options.api_base)
            return
        await self._place(hub)
        items = await self._unless_changed(self._pages.next(hub), probe)
        if items is None:
            return
        # What was taken has moved the cursor: nothing but the end stops it from here on.
        await self._put(items)
        self._failures = 0
        if not self._pages.waiting and not self.core.behind:
            await self._unless_changed(asyncio.sleep(self._options.poll_interval), probe)

    async def _unless_changed(
        self, work: Coroutine[Any, Any, T], probe: asyncio.Task[Connection]
    ) -> T | None:
        """What `work` gives; None where it was left, because something else is wanted or a
        WebSocket works."""
        self._changed.clear()
        task = asyncio.create_task(work)
        changed = asyncio.create_task(self._changed.wait())
        try:
            await asyncio.wait({task, changed, probe}, return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            await self._drop(task, changed)

    @staticmethod
    async def _drop(*tasks: asyncio.Task[Any]) -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _probe(self, hub: Hub) -> Connection:
        """A WebSocket, as soon as one can be had."""
        while True:
            await self._until_next_probe()
            try:
                return await opened(self._door, hub, self._options)
            except NoWebSocket as error:
                logger.debug("Still no WebSocket at %s: %s", hub.address, error)

    async def _until_next_probe(self) -> None:
        now = asyncio.get_running_loop().time()
        if not self._options.use_websocket:
            await asyncio.get_running_loop().create_future()
        if self._next_probe <= now:
            self._next_probe = now + self._options.websocket_retry * random.uniform(0.5, 1.5)  # noqa: S311
        await asyncio.sleep(self._next_probe - now)
