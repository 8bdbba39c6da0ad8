"""uvicorn's protocols with what a server of many patient listeners needs beside them."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol
from websockets.frames import Frame
from websockets.http11 import Request

from task_copilot.buckets import Bucket
from task_copilot.entrance import REQUEST_SECONDS, Crowd
from task_copilot.events.connection import CLOSE_NOT_ALLOWED, CLOSE_SECONDS, too_many
from task_copilot.events.frames import framed
from task_copilot.events.live import WRITE_BYTES
from task_copilot.events.websocket import EXTENSION
from task_copilot.strict_websocket import StrictWebSocket

PARSED_BYTES = 1024
"""So much of what has come is parsed before a look at whether it is too many frames."""

FRAMES_PER_MESSAGE = 4
"""A client may send so many frames for each message that it may send: its messages may come in
fragments, and it pings and answers pings."""

BURST_SECONDS = 5
"""So many seconds' frames may come at once."""

LINGER_SECONDS = 2.0
LINGER_BYTES = 16 * 1024 * 1024
"""After an answer to a request that was not read to its end, so long and so much more is taken
and thrown away: closed at once, the connection would be reset, and the answer lost with it."""

SMALL_BYTES = 64 * 1024
"""A body that is declared to be no larger is waited for after such an answer, so that the
connection serves further requests: it is probably on its way already."""

END_SECONDS = 5.0
"""How long a client may take to read the rest of what it was sent."""

_quiet = logging.getLogger("uvicorn.error.requests")
_quiet.setLevel(logging.ERROR)  # one line for each bad request would be a flood of its own


def _is_news(record: logging.LogRecord) -> bool:
    """Not that a request was ended because the process ends, which uvicorn takes for a defect."""
    return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))


_quiet.addFilter(_is_news)


class PatientWebSocket(StrictWebSocket):
    """Lets the application send the protocol's own pings and see their answers, and closes a
    connection that sends too many frames."""

    max_message_rate = 20
    """Messages that a client may send a second, for long."""

    last_pong = 0.0
    begun: float | None = None
    """When the message that comes in fragments began; None between messages."""

    _full = False
    """Whether the client has to read before more is written. `writable` says the same to those who
    wait, but a look at it is a call, which would be made for each delivery."""

    _written = 0
    _frames: Bucket | None = None
    _flooded = False

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        extensions: Any = self.scope["extensions"] if hasattr(self, "scope") else {}
        extensions[EXTENSION] = self

    async def send(self, message: Any) -> None:
        """ASGI's send. uvicorn takes a handshake that is refused with an answer, and one whose
        client has gone, for a handshake that the application forgot; each would be an error in
        the log."""
        await super().send(message)
        self.handshake_complete = True

    def pause_writing(self) -> None:
        super().pause_writing()
        self._full = True

    def resume_writing(self) -> None:
        super().resume_writing()
        self._full = False

    def data_received(self, data: bytes) -> None:
        for start in range(0, len(data), PARSED_BYTES):
            if self._flooded:
                return
            super().data_received(data[start : start + PARSED_BYTES])

    def handle_events(self) -> None:
        count = len(self.conn.events)
        super().handle_events()
        now = self.loop.time()
        if self._frames is None:
            rate = FRAMES_PER_MESSAGE * self.max_message_rate
            self._frames = Bucket(rate, BURST_SECONDS * rate, now)
        elif count and not self._frames.take(now, count):
            self._refuse_more()

    def _refuse_more(self) -> None:
        """Closes, and takes nothing more; what the close frame crosses is not read."""
        self._flooded = True
        self.transport.pause_reading()
        self.read_paused = False
        self.loop.call_later(CLOSE_SECONDS, self.transport.abort)
        if self.close_sent or not self.handshake_complete or self.transport.is_closing():
            return
        reason = too_many(self.max_message_rate)
        self.queue.put_nowait(
            {"type": "websocket.disconnect", "code": CLOSE_NOT_ALLOWED, "reason": reason}
        )
        self.conn.send_close(CLOSE_NOT_ALLOWED, reason)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True

    def on_task_complete(self, task: asyncio.Task[None]) -> None:
        # It is closed now; who does not read the rest does not keep it for ever.
        self.loop.call_later(END_SECONDS, self.transport.abort)
        super().on_task_complete(task)

    def handle_text(self, event: Frame) -> None:
        self._note_begin(event)
        super().handle_text(event)

    def handle_bytes(self, event: Frame) -> None:
        self._note_begin(event)
        super().handle_bytes(event)

    def handle_cont(self, event: Frame) -> None:
        if event.fin:
            self.begun = None
        super().handle_cont(event)

    def _note_begin(self, event: Frame) -> None:
        self.begun = None if event.fin else self.loop.time()

    def handle_ping(self) -> None:
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()  # the answers would wait with what it does not read

    def handle_pong(self, event: Frame) -> None:
        self.last_pong = self.loop.time()
        super().handle_pong(event)

    def ping(self) -> None:
        """Sends a ping of the WebSocket protocol."""
        if not self.close_sent and not self.transport.is_closing():
            self.conn.send_ping(b"")
            self.transport.write(b"".join(self.conn.data_to_send()))

    def abort(self) -> None:
        """Ends the connection at once, without waiting for unread output."""
        self.transport.abort()

    def sent(self) -> int:
        """Bytes of messages that have left this process: it grows while the client reads."""
        return self._written - self.transport.get_write_buffer_size()

    async def send_texts(self, texts: Sequence[str]) -> None:
        """Sends text messages with few writes, each once the client has read most of what
        waits. Raises ConnectionError once the connection has ended.

        The same as ASGI's send, which takes a frame at a time.
        """
        waiting: list[bytes] = []
        size = 0
        for text in texts:
            waiting.append(framed(text))
            size += len(waiting[-1])
            if size >= WRITE_BYTES:
                await self._write(waiting)
                waiting, size = [], 0
        if waiting:
            await self._write(waiting)

    async def _write(self, parts: Sequence[bytes]) -> None:
        data = b"".join(parts)
        await self.writable.wait()
        while not self.put(data):
            if self.writable.is_set():
                raise ConnectionResetError("the listener has gone")
            await self.writable.wait()  # answers to its pings have filled the room meanwhile

    def put(self, data: bytes) -> bool:
        """Writes whole frames in this turn, if the client is there and has read most of what
        waits; says whether it did."""
        transport = self.transport
        if self._full or self.disconnected or self.close_sent or transport.is_closing():
            return False
        self._written += len(data)
        transport.write(data)
        return True


class ImpatientHttp(H11Protocol):
    """Closes connections that do not send a whole request in time, or do not read the answer."""

    unread_seconds = 60.0
    """How long a client may leave an answer unread before it is cut off."""

    crowd = Crowd(1_000)
    """All connections of one server."""

    opened: float | None = None
    """When the connection was accepted, where that was before `connection_made`."""

    cycle: Any
    _lingering = False
    _left = LINGER_BYTES
    _deadline: asyncio.TimerHandle | None = None
    _reading: asyncio.TimerHandle | None = None
    _unread = 0

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_reading()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_watching_reading()

    def _watch_reading(self) -> None:
        self._unread = self.transport.get_write_buffer_size()
        self._reading = self.loop.call_later(self.unread_seconds, self._abort_if_unread)

    def _stop_watching_reading(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    def _abort_if_unread(self) -> None:
        if self.transport.get_write_buffer_size() < self._unread:
            self._watch_reading()
        else:
            self.transport.abort()

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.logger = _quiet
        self.crowd.enters(self, len(self.connections))
        if not self.transport.is_closing():
            opened = self.loop.time() if self.opened is None else self.opened
            self._watch(opened + REQUEST_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._stop_watching_reading()
        self.crowd.ends(self)
        super().connection_lost(exc)

    def _watch(self, until: float) -> None:
        self._deadline = self.loop.call_at(until, self._close_if_unfinished)

    def _close_if_unfinished(self) -> None:
        if self.transport.is_closing() or self._is_upgraded():
            return  # it is gone, or the WebSocket's
        answering = self.cycle is not None and not self.cycle.response_complete
        if not answering and (self.cycle is None or self._has_begun()):
            self.transport.close()
        else:
            self._watch(self.loop.time() + REQUEST_SECONDS)

    def _is_upgraded(self) -> bool:
        return self.transport.get_protocol() is not self

    def _has_begun(self) -> bool:
        return bool(self.conn.trailing_data[0])

    # --- what comes ---

    def data_received(self, data: bytes) -> None:
        if not self._lingering:
            super().data_received(data)
            return
        self._left -= len(data)
        if self._left < 0:
            self.transport.abort()

    def handle_events(self) -> None:
        before = self.cycle
        super().handle_events()
        if self.cycle is not before:
            self.cycle.transport = _Answers(self)
        self._take_place()

    def _take_place(self) -> None:
        """Tells the crowd what this connection does."""
        if self.transport.is_closing():
            return
        state = self.conn.their_state
        if self._is_upgraded() or state not in {h11.IDLE, h11.SEND_BODY}:
            self.crowd.is_served(self)
        elif state is h11.SEND_BODY or self.cycle is None or self._has_begun():
            self.crowd.asks(self)
        else:
            self.crowd.idles(self)

    # --- the ends of answers ---

    def on_response_complete(self) -> None:
        if self._lingering or self.transport.is_closing():
            return
        if self.conn.their_state is not h11.SEND_BODY:
            super().on_response_complete()
        elif self._body_is_small():
            super().on_response_complete()  # what is left of it is thrown away
            self.loop.call_later(LINGER_SECONDS, self._close_if_still_in, self.cycle)
        else:
            self.close_after_answer()

    def _body_is_small(self) -> bool:
        declared = dict(self.cycle.scope["headers"]).get(b"content-length", b"")
        return declared.isdigit() and int(declared) <= SMALL_BYTES

    def _close_if_still_in(self, cycle: object) -> None:
        if self.cycle is cycle and self.conn.their_state is h11.SEND_BODY:
            self.transport.close()

    def close_after_answer(self) -> None:
        """Closes so that the client gets the answer also where it is still sending."""
        if self._lingering or self.conn.their_state is not h11.SEND_BODY:
            self.transport.close()
            return
        self._lingering = True
        self.cycle.body = bytearray()
        self._unset_keepalive_if_required()
        self.crowd.asks(self)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.flow.resume_reading()
        self.loop.call_later(LINGER_SECONDS, self.transport.abort)


class _Answers:
    """The transport as an answer has it."""

    def __init__(self, connection: ImpatientHttp) -> None:
        self.write = connection.transport.write
        self.close = connection.close_after_answer


def impatient_http(*, unread_seconds: float, crowd: Crowd) -> type[ImpatientHttp]:
    """The class for a server with these limits."""
    limits = {"unread_seconds": unread_seconds, "crowd": crowd}
    return type("ImpatientHttp", (ImpatientHttp,), limits)


def patient_websocket(*, max_message_rate: int) -> type[PatientWebSocket]:
    """The class for a server with this limit."""
    return type("PatientWebSocket", (PatientWebSocket,), {"max_message_rate": max_message_rate})
