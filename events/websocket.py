"""The WebSocket side of a listener: its socket in, its socket out, and whether it lives."""

import asyncio
import contextlib
import logging
import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import parse_qsl

from starlette.types import Message as AsgiMessage
from starlette.types import Receive, Scope, Send

from task_copilot import jsontext
from task_copilot.buckets import Bucket
from task_copilot.clock import Clock
from task_copilot.events.bus import Bus, NewEpoch, Stretch
from task_copilot.events.listener import Listener
from task_copilot.events.listeners import Listeners, TooMany
from task_copilot.events.requests import Message, Unreadable, Wanted, read
from task_copilot.identity import ANYBODY, Identity, identity_of

logger = logging.getLogger(__name__)

EXTENSION = "task_copilot.connection"
"""Where the server's own connection stands in the ASGI scope, if it offers one."""

ROWS_AT_ONCE = 64
"""Events between two looks at the replies that wait."""

AT_ONCE_BYTES = 64 * 1024
"""More than that is sent bit by bit, as the client reads it."""

MAX_WAITING_REPLIES = 100
UNREAD_SECONDS = 5.0
"""A client that leaves so many answers unread for so long is told to come back later; until
then no more is read from it."""

CLOSE_SECONDS = 1.0
"""How long a client may take to answer a close."""

RIGHT_SECONDS = 1.0
"""Between two looks at whether a listener's token still holds."""

LOOKS_PER_TIMEOUT = 4
"""Looks at whether a client reads, in the time after which one that does not is closed."""

BURST_SECONDS = 5
"""So many seconds' messages of a client may come at once."""

HTTP_BUSY = 503
CLOSE_NOT_ALLOWED = 1008
CLOSE_COME_BACK = 1012
CLOSE_TRY_LATER = 1013

NO_WEBSOCKET = (
    "WebSockets are turned off on this hub (--no-websocket, TASK_COPILOT_NO_WEBSOCKET). "
    "/api/events and /api/events/stream serve the same events."
)


class Connection(Protocol):
    """What a WebSocket server can do beyond ASGI."""

    last_pong: float
    begun: float | None
    """When the message that comes in fragments began; None between messages."""

    def ping(self) -> None:
        """Sends the WebSocket protocol's own ping."""

    def abort(self) -> None:
        """Ends the connection at once, without waiting for unread output."""

    def sent(self) -> int:
        """Bytes that have left this process: it grows while the client reads."""

    async def send_texts(self, texts: Sequence[str]) -> None:
        """Sends text messages, each once the client has read most of what waits."""

    def takes_more(self) -> bool:
        """Whether the client has read most of what waits."""

    def write_texts(self, texts: Sequence[str]) -> None:
        """The same as `send_texts` while `takes_more`, at once."""


@dataclass(frozen=True, slots=True)
class WebSocketLimits:
    """How many, how much and how long; times are in seconds."""

    max_patterns: int
    ping_interval: float
    listener_timeout: float
    max_message_rate: int


@dataclass(frozen=True, slots=True)
class _Closing:
    code: int
    reason: str


def too_many(rate: int) -> str:
    """Why a client that sends too many messages is closed; at most 123 bytes, as RFC 6455 has
    it."""
    return f"more than {rate} messages a second; TASK_COPILOT_MAX_MESSAGE_RATE sets how many"


class WebSocketEndpoint:
    """The ASGI application of ``/ws``. With `refuse` every upgrade gets 403."""

    def __init__(
        self,
        bus: Bus,
        listeners: Listeners,
        limits: WebSocketLimits,
        clock: Clock,
        *,
        refuse: bool = False,
    ) -> None:
        self._bus = bus
        self._listeners = listeners
        self._limits = limits
        self._clock = clock
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        if self._refuse:
            await _refuse(send, 403, NO_WEBSOCKET)
            return
        try:
            workspace = _workspace_of(scope)
            with self._listeners.place():
                await self._serve(scope, receive, send, workspace)
        except ValueError as error:
            await _refuse(send, 422, str(error))
        except TooMany as error:
            await _refuse(send, 503, str(error))

    async def _serve(
        self, scope: Scope, receive: Receive, send: Send, workspace: str | None
    ) -> None:
        await send({"type": "websocket.accept"})
        identity = identity_of(scope)
        listener = Listener(
            head=self._bus.head,
            max_patterns=self._limits.max_patterns,
            workspace=workspace,
            errors=self._listeners.errors,
        )
        connection = scope.get("extensions", {}).get(EXTENSION)
        session = _Session(
            *(self._bus, listener, self._limits, self._clock, connection, send, identity)
        )
        with self._listeners.following(listener.reader):
            await session.run(receive)


def _workspace_of(scope: Scope) -> str | None:
    """The one workspace that a connection wants to see, None for all; raises ValueError."""
    given = parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
    names = [value for name, value in given if name == "workspace"]
    if len(names) != len(given) or len(names) > 1 or "" in names:
        raise ValueError("/ws takes one parameter, workspace=NAME, or none.")
    return names[0] if names else None


async def _refuse(send: Send, status: int, message: str) -> None:
    headers = [(b"content-type", b"application/json")]
    if status == HTTP_BUSY:
        headers.append((b"retry-after", b"5"))
    await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
    body = jsontext.encode({"error": message}).encode()
    await send({"type": "websocket.http.response.body", "body": body})


class _Session:
    """One connection: a loop that only receives, one that only sends, one that watches."""

    def __init__(
        self,
        bus: Bus,
        listener: Listener,
        limits: WebSocketLimits,
        clock: Clock,
        connection: Connection | None,
        send: Send,
        identity: Identity,
    ) -> None:
        self._is_allowed = identity.valid
        self._right_seconds = math.inf if identity is ANYBODY else RIGHT_SECONDS
        self._bus = bus
        self._listener = listener
        self._limits = limits
        self._clock = clock
        self._connection = connection
        self._send = send
        self._epoch = bus.epoch
        self._replies: deque[str] = deque()
        self._wake = asyncio.Event()
        self._answered = asyncio.Event()
        self._closing: _Closing | None = None
        self._loop = asyncio.get_running_loop()
        self._heard = self._loop.time()
        rate = limits.max_message_rate
        self._messages = Bucket(rate, BURST_SECONDS * rate, self._heard)
        self._sending = False
        self._taking = False
        self._idle = False
        self._error: Exception | None = None
        self._progress = self._heard

    async def run(self, receive: Receive) -> None:
        """Serves the connection until either side ends it."""
        self._bus.add_waker(self._woken)
        tasks = [
            asyncio.create_task(work)
            for work in (self._receive(receive), self._deliver(), self._watch())
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._bus.remove_waker(self._woken)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            self._look_at(task.exception())
        if self._closing:
            await self._close(self._closing)

    def _look_at(self, error: BaseException | None) -> None:
        if error is None or _is_disconnect(error):
            return
        if isinstance(error, NewEpoch):
            self._closing = _Closing(CLOSE_COME_BACK, "the database was replaced")
            return
        logger.error("A listener's connection failed; it may come back.", exc_info=error)
        self._closing = _Closing(CLOSE_TRY_LATER, "the server failed")

    # --- what the client says ---

    async def _receive(self, receive: Receive) -> None:
        # Never awaits a send: the server stops reading until the next receive, and then
        # neither a pong nor the end of the connection would be seen.
        while (message := await receive())["type"] == "websocket.receive":
            self._heard = self._loop.time()
            if not self._messages.take(self._heard):
                self._closing = _Closing(CLOSE_NOT_ALLOWED, too_many(self._limits.max_message_rate))
                return
            self._taking = True
            await self._take(_content(message))
            self._taking = False
            self._wake.set()
            if len(self._replies) > MAX_WAITING_REPLIES and not await self._replies_are_read():
                self._closing = _Closing(CLOSE_TRY_LATER, "answers are left unread")
                return
            await asyncio.sleep(0)  # many may have come at once

    async def _take(self, text: str | bytes) -> None:
        try:
            message = read(text)
        except Unreadable as error:
            self._replies += self._listener.refuse(error, self._clock())
            return
        if _is_ahead_of(message, self._bus.head):
            # A client that has just read the state may know of a commit before this does.
            await self._bus.synchronise()
        self._replies += self._listener.handle(message, self._bus.state, self._clock())
        if self._listener.replay is not None:
            self._wake.set()  # the answer does not wait for what may take long
            match = self._listener.subscriptions.match
            self._listener.place(await self._bus.before_the_newest(self._listener.replay, match))

    async def _replies_are_read(self) -> bool:
        self._answered.clear()
        try:
            await asyncio.wait_for(self._answered.wait(), UNREAD_SECONDS)
        except TimeoutError:
            return False
        return True

    # --- what the client gets ---

    async def _deliver(self) -> None:
        while True:
            await self._answer()
            if self._error is not None:
                raise self._error
            if self._bus.epoch != self._epoch:
                raise NewEpoch
            if self._listener.listening and self._listener.position < self._bus.head:
                await self._linger()
                await self._deliver_some()
                continue
            self._wake.clear()
            if not self._replies:
                self._idle = True
                await self._wake.wait()
                self._idle = False

    def _woken(self) -> None:
        try:
            if self._deliver_at_once():
                return
        except Exception as error:  # noqa: BLE001 - it ends this listener, not the others' turn
            self._error = error
        self._wake.set()

    def _deliver_at_once(self) -> bool:
        """Sends what is new without a turn of the event loop, where nothing else is under way
        and the socket takes it: with a hundred listeners most of an event's time would go into
        waking their tasks. Whether there is nothing left to do."""
        listener, connection = self._listener, self._connection
        if not self._idle or self._wake.is_set() or connection is None or listener.batch:
            return False
        if not listener.listening or self._bus.epoch != self._epoch:
            return False
        stretch = self._bus.at_hand(listener.position, ROWS_AT_ONCE)
        if stretch is None or not connection.takes_more() or _is_large(stretch):
            return False
        if texts := listener.frames(stretch, self._clock):
            connection.write_texts(texts)
        return listener.position >= self._bus.head

    async def _answer(self) -> None:
        while self._replies:
            await self._send_texts([self._replies.popleft()])
        self._answered.set()

    async def _linger(self) -> None:
        """Waits for more events as long as a batch may wait, if this is one."""
        batch = self._listener.batch
        if batch is None or not batch.max_delay_ms:
            return
        deadline = self._loop.time() + batch.max_delay_ms / 1000
        while self._bus.head - self._listener.position < batch.max_events:
            self._wake.clear()
            try:
                async with asyncio.timeout_at(deadline):
                    await self._wake.wait()
            except TimeoutError:
                return
            await self._answer()

    async def _deliver_some(self) -> None:
        batch = self._listener.batch
        limit = ROWS_AT_ONCE if batch is None else max(ROWS_AT_ONCE, batch.max_events)
        stretch = await self._bus.after(self._listener.position, limit, epoch=self._epoch)
        for part in _parts(stretch, limit):
            await self._answer()  # a pattern that came meanwhile is acknowledged before its events
            if self._bus.epoch != self._epoch:
                raise NewEpoch
            if texts := self._listener.frames(part, self._clock):
                await self._send_texts(texts)
            # A socket that takes everything would otherwise keep the event loop to itself.
            await asyncio.sleep(0)

    async def _send_texts(self, texts: Sequence[str]) -> None:
        self._sending = True
        self._progress = self._loop.time()
        if self._connection is not None:
            await self._connection.send_texts(texts)
        else:
            for text in texts:
                await self._send({"type": "websocket.send", "text": text})
                self._progress = self._loop.time()
        self._sending = False

    # --- whether the client lives ---

    async def _watch(self) -> None:
        limits = self._limits
        pause = min(
            limits.ping_interval, limits.listener_timeout / LOOKS_PER_TIMEOUT, self._right_seconds
        )
        next_ping = self._loop.time() + limits.ping_interval
        sent = 0
        while self._closing is None:
            due = self._loop.time() + pause
            await asyncio.sleep(pause)
            self._excuse(self._loop.time() - due)
            sent = self._look_at_progress(sent)
            if not self._is_allowed():
                self._closing = _Closing(CLOSE_NOT_ALLOWED, "the token no longer holds")
            elif self._is_long_ago(self._last_heard):
                self._closing = _Closing(CLOSE_TRY_LATER, "no answer to pings")
            elif self._begun is not None and self._is_long_ago(self._begun):
                self._closing = _Closing(CLOSE_NOT_ALLOWED, "a message was not finished")
            elif self._sending and self._is_long_ago(self._progress):
                self._closing = _Closing(CLOSE_TRY_LATER, "nothing was read for too long")
            elif self._loop.time() >= next_ping:
                next_ping += limits.ping_interval
                self._ping()

    @property
    def _last_heard(self) -> float:
        return max(self._heard, self._connection.last_pong if self._connection else 0.0)

    @property
    def _begun(self) -> float | None:
        return self._connection.begun if self._connection else None

    def _excuse(self, late: float) -> None:
        """A process that was stopped has asked nobody anything and taken no answers: that time
        is not the client's."""
        now = self._loop.time()
        self._heard = min(now, self._last_heard + late)
        self._progress = min(now, self._progress + late)

    def _look_at_progress(self, before: int) -> int:
        sent = self._connection.sent() if self._connection else 0
        if sent > before:
            self._progress = self._loop.time()
        return sent

    def _is_long_ago(self, moment: float) -> bool:
        return self._loop.time() - moment > self._limits.listener_timeout

    def _ping(self) -> None:
        # While a request waits for the log, nobody knows from where on the client wants it: one
        # that took the head for what it has would lose all that is between.
        if len(self._replies) <= MAX_WAITING_REPLIES and not self._taking:
            self._replies.append(self._listener.ping(self._bus.state, self._clock()))
            self._wake.set()
        if self._connection is not None:
            self._connection.ping()

    async def _close(self, closing: _Closing) -> None:
        """Closes with a code that says when to come back; cuts off who does not react."""
        if self._connection is not None:
            self._loop.call_later(CLOSE_SECONDS, self._connection.abort)
        close = self._send(
            {"type": "websocket.close", "code": closing.code, "reason": closing.reason}
        )
        with contextlib.suppress(TimeoutError, OSError):
            await asyncio.wait_for(close, CLOSE_SECONDS)


def _parts(stretch: Stretch, limit: int) -> Iterator[Stretch]:
    """The same in stretches of at most `limit` events."""
    rows = stretch.rows
    for start in range(0, max(1, len(rows)), limit):
        part = rows[start : start + limit]
        is_last = start + limit >= len(rows)
        yield Stretch(part, stretch.upto if is_last else part[-1].seq)


def _is_large(stretch: Stretch) -> bool:
    return sum(len(row.payload) for row in stretch.rows) > AT_ONCE_BYTES


def _is_ahead_of(message: Message, head: int) -> bool:
    wanted = message.content
    return isinstance(wanted, Wanted) and (wanted.cursor.since or 0) > head


def _content(message: AsgiMessage) -> str | bytes:
    text: Any = message.get("text")
    return text if text is not None else message.get("bytes") or b""


def _is_disconnect(error: BaseException) -> bool:
    # ASGI servers raise an OSError where a send finds the client gone; uvicorn has its own.
    return isinstance(error, OSError) or type(error).__name__ == "ClientDisconnected"
