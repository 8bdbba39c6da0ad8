"""The WebSocket side of a listener: its socket in, its socket out, and whether it lives."""

import asyncio
import contextlib
import logging
from collections import deque
from dataclasses import dataclass
from typing import Any, Protocol

from starlette.types import Message, Receive, Scope, Send

from task_copilot.clock import Clock
from task_copilot.events.bus import Bus
from task_copilot.events.listener import Listener, LogHead

logger = logging.getLogger(__name__)

EXTENSION = "task_copilot.connection"
"""Where the server's own connection stands in the ASGI scope, if it offers one."""

ROWS_AT_ONCE = 64
"""Events between two looks at the replies that wait."""

MAX_WAITING_REPLIES = 100
UNREAD_SECONDS = 5.0
"""A client that leaves so many answers unread for so long is told to come back later; until
then no more is read from it."""

CLOSE_SECONDS = 1.0
"""How long a client may take to answer a close."""

CLOSE_TRY_LATER = 1013


class Connection(Protocol):
    """What a WebSocket server can do beyond ASGI."""

    last_pong: float

    def ping(self) -> None:
        """Sends the WebSocket protocol's own ping."""

    def abort(self) -> None:
        """Ends the connection at once, without waiting for unread output."""


@dataclass(frozen=True, slots=True)
class WebSocketLimits:
    """How many, how much and how long; times are in seconds."""

    max_listeners: int
    max_patterns: int
    ping_interval: float
    listener_timeout: float


class WebSocketEndpoint:
    """The ASGI application of ``/ws``."""

    def __init__(self, bus: Bus, limits: WebSocketLimits, clock: Clock) -> None:
        self._bus = bus
        self._limits = limits
        self._clock = clock
        self.listeners = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        if self.listeners >= self._limits.max_listeners:
            await _refuse(send, self._limits.max_listeners)
            return
        self.listeners += 1
        try:
            await send({"type": "websocket.accept"})
            connection = scope.get("extensions", {}).get(EXTENSION)
            session = _Session(self._bus, self._limits, self._clock, connection, send)
            await session.run(receive)
        finally:
            self.listeners -= 1


async def _refuse(send: Send, limit: int) -> None:
    body = (
        f'{{"error":"This hub serves at most {limit} listeners; '
        f'TASK_COPILOT_MAX_LISTENERS sets it."}}'
    ).encode()
    headers = [(b"content-type", b"application/json"), (b"retry-after", b"5")]
    await send({"type": "websocket.http.response.start", "status": 503, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body})


class _Session:
    """One connection: a loop that only receives, one that only sends, one that watches."""

    def __init__(
        self,
        bus: Bus,
        limits: WebSocketLimits,
        clock: Clock,
        connection: Connection | None,
        send: Send,
    ) -> None:
        self._bus = bus
        self._limits = limits
        self._clock = clock
        self._connection = connection
        self._send = send
        self._listener = Listener(head=bus.head, max_patterns=limits.max_patterns)
        self._replies: deque[str] = deque()
        self._wake = asyncio.Event()
        self._answered = asyncio.Event()
        self._close_reason: str | None = None
        self._heard = asyncio.get_running_loop().time()

    async def run(self, receive: Receive) -> None:
        """Serves the connection until either side ends it."""
        self._bus.add_waker(self._wake.set)
        tasks = [
            asyncio.create_task(work)
            for work in (self._receive(receive), self._deliver(), self._watch())
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._bus.remove_waker(self._wake.set)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            if (error := task.exception()) is not None and not _is_disconnect(error):
                logger.error("A listener's connection failed; it may come back.", exc_info=error)
                self._close_reason = "the server failed"
        if self._close_reason:
            await self._close(self._close_reason)

    async def _receive(self, receive: Receive) -> None:
        # Never awaits a send: the server stops reading until the next receive, and then
        # neither a pong nor the end of the connection would be seen.
        while (message := await receive())["type"] == "websocket.receive":
            self._heard = asyncio.get_running_loop().time()
            head = LogHead(self._bus.epoch, self._bus.head)
            self._replies += self._listener.receive(_content(message), head, self._clock())
            self._wake.set()
            if len(self._replies) > MAX_WAITING_REPLIES and not await self._replies_are_read():
                self._close_reason = "answers are left unread"
                return

    async def _replies_are_read(self) -> bool:
        self._answered.clear()
        try:
            await asyncio.wait_for(self._answered.wait(), UNREAD_SECONDS)
        except TimeoutError:
            return False
        return True

    async def _deliver(self) -> None:
        while True:
            await self._answer()
            if self._listener.listening and self._listener.position < self._bus.head:
                await self._deliver_some()
                continue
            self._wake.clear()
            if not self._replies:
                await self._wake.wait()

    async def _answer(self) -> None:
        while self._replies:
            await self._send_text(self._replies.popleft())
        self._answered.set()

    async def _deliver_some(self) -> None:
        rows = await self._bus.after(self._listener.position, ROWS_AT_ONCE)
        await self._answer()  # a pattern that came meanwhile is acknowledged before its events
        for text in self._listener.frames(rows):
            await self._send_text(text)
        # A socket that takes everything would otherwise keep the event loop to itself.
        await asyncio.sleep(0)

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._limits.ping_interval)
            pong = self._connection.last_pong if self._connection else 0.0
            if loop.time() - max(self._heard, pong) > self._limits.listener_timeout:
                self._close_reason = "no answer to pings"
                return
            head = LogHead(self._bus.epoch, self._bus.head)
            self._replies.append(self._listener.ping(head, self._clock()))
            self._wake.set()
            if self._connection is not None:
                self._connection.ping()

    async def _send_text(self, text: str) -> None:
        await self._send({"type": "websocket.send", "text": text})

    async def _close(self, reason: str) -> None:
        """Closes with a code that asks to come back later; cuts off who does not react."""
        if self._connection is not None:
            asyncio.get_running_loop().call_later(CLOSE_SECONDS, self._connection.abort)
        close = self._send({"type": "websocket.close", "code": CLOSE_TRY_LATER, "reason": reason})
        with contextlib.suppress(TimeoutError, OSError):
            await asyncio.wait_for(close, CLOSE_SECONDS)


def _content(message: Message) -> str | bytes:
    text: Any = message.get("text")
    return text if text is not None else message.get("bytes") or b""


def _is_disconnect(error: BaseException) -> bool:
    # ASGI servers raise an OSError where a send finds the client gone; uvicorn has its own.
    return isinstance(error, OSError) or type(error).__name__ == "ClientDisconnected"
