"""The parts of a server in memory, in its event loop: tools, log, bus and application."""

import asyncio
from collections.abc import Awaitable
from typing import Any

import httpx2
import mcp_types as types
from starlette.types import ASGIApp
from websockets.frames import CloseCode

from task_copilot.access.configuration import Access
from task_copilot.clock import Clock
from task_copilot.database.portions import in_portions
from task_copilot.database.store import Database
from task_copilot.events import log, retention
from task_copilot.events.bus import Bus
from task_copilot.events.connection import CLOSE_COME_BACK
from task_copilot.events.listeners import Listeners
from task_copilot.events.log import LogRow
from task_copilot.events.pages import LogPages
from task_copilot.events.window import Window
from task_copilot.location import Location
from task_copilot.metrics import HubMetrics, exposition
from task_copilot.settings import Settings
from task_copilot.testing.connections import FAILED, ClientEnd, ServerEnd
from task_copilot.tools import adapter
from task_copilot.tools.registry import TOOLS_BY_NAME
from task_copilot.tools.session import ToolSession
from task_copilot.web import Served, served_app

PORT = 0
"""No server of a network can have it."""

PING_SECONDS = 0.5
"""Pings tell a listener how far the log has come; tests are in more of a hurry than people."""

LEAVE_SECONDS = 1.0
"""How long requests that are under way may take at the end."""


class ToolRefused(Exception):
    """A tool did not do what it was asked for; ``str()`` of it is the tool's own sentence."""


class Serving:
    """Made and used in the loop of the server."""

    def __init__(self, database: Database[LogRow], clock: Clock) -> None:
        self.websocket = True
        self._settings = Settings(database_url=str(database.url), ping_interval=PING_SECONDS)
        self._database = database
        self._clock = clock
        self._sessions: dict[str, ToolSession] = {}
        self._starts = 0
        self._bus: Bus | None = None
        self._apps: dict[bool, ASGIApp] = {}
        """With WebSockets and without."""
        self._connections: dict[ServerEnd, asyncio.Task[None]] = {}
        self._requests: set[asyncio.Task[httpx2.Response]] = set()
        database.start(self._publish)

    @property
    def bus(self) -> Bus:
        """The present one."""
        if self._bus is None:
            raise RuntimeError("begin comes first")
        return self._bus

    def _publish(self, rows: list[LogRow]) -> None:
        if self._bus is not None:
            self._bus.publish(rows)

    # --- its life ---

    async def begin(self) -> None:
        """Serves from now on; where it does already, it drops everyone and begins anew."""
        bus, former = Bus(await self._database.read(log.state), LogPages(self._database)), self._bus
        self._bus = bus
        self._starts += 1
        self._apps = self._applications(bus, Listeners(self._settings.max_listeners))
        bus.refresh()  # of what was written since the state was read
        if former is not None:
            await self._leave(former)

    def _applications(self, bus: Bus, listeners: Listeners) -> dict[bool, ASGIApp]:
        served = Served(bus, listeners, self._database, self._clock)
        refusing = Settings(database_url=self._settings.database_url, no_websocket=True)

        def measured() -> bytes:
            times = self._database.committer.times
            return exposition(HubMetrics(bus, listeners, times, self._starts))

        return {
            True: served_app(served, Access(self._settings), measured, port=PORT),
            False: served_app(served, Access(refusing), measured, port=PORT),
        }

    async def _leave(self, bus: Bus) -> None:
        bus.end()
        for end in self._connections:
            end.drop(CLOSE_COME_BACK)
        ending = [*self._connections.values(), *self._requests]
        if ending:
            await asyncio.wait(ending, timeout=LEAVE_SECONDS)
        await bus.close()

    async def end(self) -> None:
        """Drops everyone and lets go of the database."""
        if self._bus is not None:
            await self._leave(self._bus)
        await self._database.close(wait_for_readers=True)

    # --- for tests ---

    async def call(
        self, name: str, arguments: dict[str, Any], actor: str, workspace: str
    ) -> dict[str, Any]:
        """What a tool answers; raises ToolRefused."""
        tool = TOOLS_BY_NAME.get(name)
        if tool is None:
            raise ToolRefused(adapter.unknown(name))
        if "format" in tool.arguments.model_fields:
            arguments = {"format": "json", **arguments}
        session = self._session(workspace)

        async def present() -> ToolSession:
            return session

        result = await adapter.call(tool, arguments, present, actor)
        text = "".join(part.text for part in result.content if isinstance(part, types.TextContent))
        if result.is_error:
            raise ToolRefused(text)
        return result.structured_content or {"text": text}

    def _session(self, workspace: str) -> ToolSession:
        async def opened() -> Database[LogRow]:
            return self._database

        if workspace not in self._sessions:
            self._sessions[workspace] = ToolSession(
                opened, Location(workspace, None), self._settings.checkpoints_kept, self._clock
            )
        return self._sessions[workspace]

    async def prune(self, keep: int) -> None:
        """Removes all events but the newest `keep`, also those in memory."""
        head = (await self._database.read(log.state)).head
        kept = retention.kept(head, self._clock(), days=0, count=keep)
        await in_portions(
            self._database,
            lambda connection: retention.any_removable(connection, kept),
            lambda transaction: retention.prune(transaction, kept),
        )
        await self.bus.synchronise()
        self.bus.window = Window(self.bus.head)

    # --- for clients ---

    async def respond(self, request: httpx2.Request) -> httpx2.Response:
        """The answer to a request over HTTP."""
        transport = httpx2.ASGITransport(
            self._apps[True],
            raise_app_exceptions=False,
            client=("127.0.0.1", 0),  # of no connection whose requests are counted
        )
        task = asyncio.ensure_future(transport.handle_async_request(request))
        self._requests.add(task)
        task.add_done_callback(self._requests.discard)
        return await task

    async def open_websocket(self, client: ClientEnd, url: str, headers: dict[str, str]) -> int:
        """Connects `client`; returns the status of the handshake."""
        end = ServerEnd(client)
        run = self._apps[self.websocket](end.scope(url, headers), end.receive, end.send)
        task = self._connections[end] = asyncio.ensure_future(_finished(run, end))
        task.add_done_callback(lambda _: self._connections.pop(end, None))
        try:
            return await end.answer
        except asyncio.CancelledError:  # the client gave up, maybe before it knew of its peer
            end.lose(CloseCode.ABNORMAL_CLOSURE)
            raise


async def _finished(run: Awaitable[None], end: ServerEnd) -> None:
    try:
        await run
    finally:
        end.answered(FAILED)
        end.abort()
