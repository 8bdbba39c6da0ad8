"""One listener's connection while it is open: what it says, and what it gets."""

import asyncio
import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.types import Message as AsgiMessage
from starlette.types import Receive, Send

from task_copilot.buckets import Bucket
from task_copilot.clock import Clock
from task_copilot.events.bus import Bus, NewEpoch, Stretch
from task_copilot.events.connection import (
    CLOSE_COME_BACK,
    CLOSE_NOT_ALLOWED,
    CLOSE_SECONDS,
    CLOSE_TRY_LATER,
    Closing,
    Connection,
    WebSocketLimits,
    too_many,
)
from task_copilot.events.frames import framed
from task_copilot.events.listener import Listener
from task_copilot.events.live import LiveSet, Put, Wish
from task_copilot.events.pulse import Pulse
from task_copilot.events.requests import Message, Unreadable, Wanted, read
from task_copilot.identity import Identity

logger = logging.getLogger(__name__)

ROWS_AT_ONCE = 64
"""Events between two looks at the replies that wait."""

MAX_WAITING_REPLIES = 100
UNREAD_SECONDS = 5.0
"""A client that leaves so many answers unread for so long is told to come back later; until
then no more is read from it."""

BURST_SECONDS = 5
"""So many seconds' messages of a client may come at once."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all connections of a hub share."""

    bus: Bus
    live: LiveSet
    limits: WebSocketLimits
    clock: Clock


class Session:
    """A loop that receives. What the client gets, the live set writes; a task sends whatever
    that cannot, and lasts until everything is sent."""

    def __init__(
        self,
        around: Surroundings,
        listener: Listener,
        connection: Connection | None,
        send: Send,
        identity: Identity,
    ) -> None:
        self.reader = listener.reader
        self._bus, self._live, self._clock = around.bus, around.live, around.clock
        self._listener = listener
        self._connection = connection
        self._send = send
        self._epoch = self._bus.epoch
        self._loop = asyncio.get_running_loop()
        self._pulse = Pulse(around.limits, connection, identity)
        self._rate = around.limits.max_message_rate
        self._messages = Bucket(self._rate, BURST_SECONDS * self._rate, self._loop.time())
        self._replies: list[str] = []
        self._wake: asyncio.Event | None = None
        self._answered: asyncio.Event | None = None
        self._sending: asyncio.Task[None] | None = None
        # Without a limit: it is how others end what waits for the client.
        self._life = asyncio.timeout(None)
        self._closing: Closing | None = None
        self._taking = False

    async def run(self, receive: Receive) -> None:
        """Serves the connection until either side ends it."""
        self._pulse.start(self)
        try:
            async with self._life:
                self._go_on()
                await self._receive(receive)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this connection's end
            if not self._life.expired():
                self.fail(error)
        finally:
            self._pulse.stop()
            self._live.forget(self)
            await self._stop_sending()
        if self._closing:
            await self._close(self._closing)

    # --- how it ends ---

    def end(self, closing: Closing) -> None:
        """Closes the connection."""
        self._closing = self._closing or closing
        self._stop()

    def fail(self, error: Exception) -> None:
        """Ends the connection because of `error`."""
        if _is_disconnect(error):
            self._stop()
        elif isinstance(error, NewEpoch):
            self.end(Closing(CLOSE_COME_BACK, "the database was replaced"))
        else:
            logger.error("A listener's connection failed; it may come back.", exc_info=error)
            self.end(Closing(CLOSE_TRY_LATER, "the server failed"))

    def _stop(self) -> None:
        with contextlib.suppress(RuntimeError):  # it ends already
            self._life.reschedule(self._loop.time())

    async def _stop_sending(self) -> None:
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.gather(self._sending, return_exceptions=True)

    async def _close(self, closing: Closing) -> None:
        """Closes with a code that says when to come back; cuts off who does not react."""
        if self._connection is not None:
            self._loop.call_later(CLOSE_SECONDS, self._connection.abort)
        close = self._send(
            {"type": "websocket.close", "code": closing.code, "reason": closing.reason}
        )
        with contextlib.suppress(TimeoutError, OSError):
            await asyncio.wait_for(close, CLOSE_SECONDS)

    # --- what the client says ---

    async def _receive(self, receive: Receive) -> None:
        # Never awaits a send: the server stops reading until the next receive, and then
        # neither a pong nor the end of the connection would be seen.
        while (message := await receive())["type"] == "websocket.receive":
            self._pulse.heard = self._loop.time()
            if not self._messages.take(self._pulse.heard):
                self._closing = Closing(CLOSE_NOT_ALLOWED, too_many(self._rate))
                return
            self._taking = True
            await self._take(_content(message))
            self._taking = False
            if len(self._replies) > MAX_WAITING_REPLIES and not await self._replies_are_read():
                self._closing = Closing(CLOSE_TRY_LATER, "answers are left unread")
                return
            await asyncio.sleep(0)  # many may have come at once

    async def _take(self, text: str | bytes) -> None:
        try:
            message = read(text)
        except Unreadable as error:
            self._reply(self._listener.refuse(error, self._clock()))
            return
        if _is_ahead_of(message, self._bus.head):
            # A client that has just read the state may know of a commit before this does.
            await self._bus.synchronise()
        self._live.release(self)  # what it asks for now begins where it is
        self._reply(self._listener.handle(message, self._bus.state, self._clock()))
        if self._listener.replay is not None:
            # The answer does not wait for what may take long.
            match = self._listener.subscriptions.match
            self._listener.place(await self._bus.before_the_newest(self._listener.replay, match))
            self._go_on()

    def _reply(self, texts: Sequence[str]) -> None:
        """Sends `texts` before any event that comes from now on."""
        self._live.release(self)
        if not self._written(texts):
            self._replies += texts
        self._go_on()

    def _written(self, texts: Sequence[str]) -> bool:
        """Whether `texts` went out in this turn, since nothing was to be sent before them."""
        put = None if self._connection is None else self._connection.put
        idle = self._sending is None
        return put is not None and idle and put(b"".join([framed(text) for text in texts]))

    async def _replies_are_read(self) -> bool:
        self._answered = asyncio.Event()
        try:
            await asyncio.wait_for(self._answered.wait(), UNREAD_SECONDS)
        except TimeoutError:
            return False
        finally:
            self._answered = None
        return True

    def ping(self) -> None:
        """Asks the client whether it lives, in the ways that there are."""
        # While a request waits for the log, nobody knows from where on the client wants it: one
        # that took the head for what it has would lose all that is between.
        if len(self._replies) <= MAX_WAITING_REPLIES and not self._taking:
            self._reply([self._listener.ping(self._bus.state, self._clock())])
        if self._connection is not None:
            self._connection.ping()

    # --- what the live set brings ---

    @property
    def put(self) -> Put | None:
        """Writes in this turn, where the connection can and nothing is to be waited for."""
        batch, connection = self._listener.batch, self._connection
        return None if connection is None or (batch and batch.max_delay_ms) else connection.put

    @property
    def wish(self) -> Wish:
        """What the client asked for, as far as others may have asked for the same."""
        batch = self._listener.batch
        most = None if batch is None else batch.max_events
        return Wish(self._listener.subscriptions.selection, most)

    def released(self) -> None:
        """Goes on alone."""
        self._go_on()

    failed = fail

    def _go_on(self) -> None:
        """Sees to it that everything is sent that there is."""
        if self._wake is not None:
            self._wake.set()
        elif not self._rests():
            self._wake = asyncio.Event()
            self._sending = asyncio.create_task(self._send_all(self._wake))

    def _rests(self) -> bool:
        """Whether nothing is left to do, and the live set brings what comes."""
        return (
            not self._replies
            and self._listener.replay is None
            and self._bus.epoch == self._epoch
            and self._live.attach(self)
        )

    # --- what it sends alone ---

    async def _send_all(self, wake: asyncio.Event) -> None:
        self._bus.add_waker(wake.set)
        try:
            await self._send_until_it_rests(wake)
        except Exception as error:  # noqa: BLE001 - it ends this connection
            self.fail(error)
        finally:
            self._bus.remove_waker(wake.set)
            self._wake = self._sending = None

    async def _send_until_it_rests(self, wake: asyncio.Event) -> None:
        while True:
            await self._answer()
            if self._bus.epoch != self._epoch:
                raise NewEpoch
            if self._listener.listening and self._listener.position < self._bus.head:
                await self._linger(wake)
                await self._deliver_some()
                continue
            # No await from here on to the end or to the wait: nothing comes unnoticed.
            if self._rests():
                return
            wake.clear()
            if not self._replies:
                await wake.wait()

    async def _answer(self) -> None:
        while self._replies:
            await self._send_texts([self._replies.pop(0)])
        if self._answered is not None:
            self._answered.set()

    async def _linger(self, wake: asyncio.Event) -> None:
        """Waits for more events as long as a batch may wait, if this is one."""
        batch = self._listener.batch
        if batch is None or not batch.max_delay_ms:
            return
        deadline = self._loop.time() + batch.max_delay_ms / 1000
        while self._bus.head - self._listener.position < batch.max_events:
            wake.clear()
            try:
                async with asyncio.timeout_at(deadline):
                    await wake.wait()
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
            if self._listener.position < part.upto:
                return  # batches have ended before the part: what is left of it comes next

    async def _send_texts(self, texts: Sequence[str]) -> None:
        pulse = self._pulse
        pulse.sending = True
        pulse.progress = self._loop.time()
        if self._connection is not None:
            await self._connection.send_texts(texts)
        else:
            for text in texts:
                await self._send({"type": "websocket.send", "text": text})
                pulse.progress = self._loop.time()
        pulse.sending = False


def _parts(stretch: Stretch, limit: int) -> Iterator[Stretch]:
    """The same in stretches of at most `limit` events."""
    rows = stretch.rows
    for start in range(0, max(1, len(rows)), limit):
        part = rows[start : start + limit]
        is_last = start + limit >= len(rows)
        yield Stretch(part, stretch.upto if is_last else part[-1].seq)


def _is_ahead_of(message: Message, head: int) -> bool:
    wanted = message.content
    return isinstance(wanted, Wanted) and (wanted.cursor.since or 0) > head


def _content(message: AsgiMessage) -> str | bytes:
    text: Any = message.get("text")
    return text if text is not None else message.get("bytes") or b""


def _is_disconnect(error: BaseException) -> bool:
    # ASGI servers raise an OSError where a send finds the client gone; uvicorn has its own.
    return isinstance(error, OSError) or type(error).__name__ == "ClientDisconnected"
