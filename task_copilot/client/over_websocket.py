"""Events over a WebSocket: one connection from its handshake to its end."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from urllib.parse import quote

from websockets.exceptions import ConnectionClosed, WebSocketException

from task_copilot.buckets import Bucket
from task_copilot.client.core import Core
from task_copilot.client.door import Door
from task_copilot.client.errors import Unusable
from task_copilot.client.finding import Hub
from task_copilot.client.model import Item
from task_copilot.client.options import Connection, Options

logger = logging.getLogger("task_copilot_client")

COME_BACK = 1012
"""The hub ends and another takes its place."""

SENT_AWAY = 1008
"""The hub does not want this client as it is: its token has expired, or it sends too much."""

STABLE_SECONDS = 5.0
"""A connection that ends sooner and brought nothing has failed."""

MESSAGES_A_SECOND = 15
MESSAGES_AT_ONCE = 60
"""A hub closes who sends more than 20 a second for long, or 100 at once."""

MESSAGES_A_CHANGE = 2

Sink = Callable[[Item], Awaitable[None]]


async def opened(door: Door, hub: Hub, options: Options) -> Connection:
    """A connection to the hub; raises NoWebSocket, and RequestRefused for a token that is none."""
    path = "/ws"
    if options.workspace:
        path += f"?workspace={quote(options.workspace, safe='')}"
    return await door.websocket(hub, path)


class Session:
    """Brings what one connection has until it ends; `good` says whether that was anything."""

    def __init__(self, connection: Connection, core: Core, options: Options, sink: Sink) -> None:
        self.good = False
        self.answered = asyncio.Event()
        """Set while the hub owes no answer."""
        self._connection = connection
        self._core = core
        self._options = options
        self._sink = sink
        self._loop = asyncio.get_running_loop()
        self._since = self._loop.time()
        self._pace = Bucket(MESSAGES_A_SECOND, MESSAGES_AT_ONCE, self._since)
        self._changed = asyncio.Event()
        core.connected()

    async def run(self, changed: asyncio.Event) -> bool:
        """Serves until the connection ends; whether to come back at once. `changed` is set
        where something else is wanted. Raises RequestRefused."""
        self._changed = changed
        sender = asyncio.create_task(self._send_changes())
        try:
            await self._send()
            while True:
                await self._take(await self._next())
        except ConnectionClosed as end:
            sent_away = end.rcvd is not None and end.rcvd.code == SENT_AWAY
            logger.log(
                logging.WARNING if sent_away else logging.INFO, "The WebSocket ended: %s", end
            )
            return end.rcvd is not None and end.rcvd.code == COME_BACK
        except (Unusable, TimeoutError) as error:
            logger.info("The WebSocket is of no use: %s", str(error) or "no answer")
            return False
        finally:
            sender.cancel()
            if self._loop.time() - self._since >= STABLE_SECONDS:
                self.good = True
            await self._close()

    async def _next(self) -> str | bytes:
        limit = self._options.answer_timeout if self._core.waits else None
        async with asyncio.timeout(limit):
            return await self._connection.recv()

    async def _take(self, frame: str | bytes) -> None:
        for item in self._core.receive(frame):
            self.good = True
            await self._sink(item)
        await self._send()

    async def _send(self) -> None:
        if self._pace.wait(self._loop.time(), MESSAGES_A_CHANGE):
            self._changed.set()  # what is wanted by then goes out in one
            return
        for message in self._core.outgoing():
            self._pace.take(self._loop.time())
            await self._connection.send(message)
        if self._core.waits:
            self.answered.clear()
        else:
            self.answered.set()

    async def _send_changes(self) -> None:
        with suppress(ConnectionClosed):  # the reader sees it too
            while True:
                await self._changed.wait()
                await asyncio.sleep(self._pace.wait(self._loop.time(), MESSAGES_A_CHANGE))
                self._changed.clear()
                await self._send()

    async def _close(self) -> None:
        try:
            with suppress(OSError, WebSocketException):
                await self._connection.close()
        finally:
            self.answered.set()
