"""uvicorn's protocols with what a server of many patient listeners needs beside them."""

import asyncio
import struct
from collections.abc import Sequence
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame
from websockets.http11 import Request

from task_copilot.events.websocket import EXTENSION

WRITE_BYTES = 64 * 1024
"""A write ends with the frame that reaches it. As much may wait in the transport already, so
that a listener that does not read costs twice that and no more."""

FINAL_TEXT = 0x81
SIZE_IN_16_BITS = 126
SIZE_IN_64_BITS = 127
"""The first byte of a whole text message, and what stands for a longer size in the second."""

REQUEST_SECONDS = 10.0
"""How long a connection may take to send its request; uvicorn itself waits for ever."""


class PatientWebSocket(WebSocketsSansIOProtocol):
    """Lets the application send the protocol's own pings and see their answers."""

    last_pong = 0.0
    _written = 0

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
        await self.writable.wait()
        if self.disconnected or self.close_sent or self.transport.is_closing():
            raise ConnectionResetError("the listener has gone")
        self._put(b"".join(parts))

    def _put(self, data: bytes) -> None:
        self._written += len(data)
        self.transport.write(data)

    def takes_more(self) -> bool:
        """Whether the client has read most of what waits, and is there."""
        ended = self.disconnected or self.close_sent or self.transport.is_closing()
        return self.writable.is_set() and not ended

    def write_texts(self, texts: Sequence[str]) -> None:
        """Sends text messages at once; only while `takes_more`."""
        self._put(b"".join(map(framed, texts)))


def framed(text: str) -> bytes:
    """A text message as a server sends it: unmasked, in one frame (RFC 6455, section 5.2)."""
    data = text.encode()
    size = len(data)
    if size < SIZE_IN_16_BITS:
        return struct.pack("!BB", FINAL_TEXT, size) + data
    if size < 1 << 16:
        return struct.pack("!BBH", FINAL_TEXT, SIZE_IN_16_BITS, size) + data
    return struct.pack("!BBQ", FINAL_TEXT, SIZE_IN_64_BITS, size) + data


class ImpatientHttp(H11Protocol):
    """Closes connections that do not send a whole request in time, or do not read the answer."""

    unread_seconds = 60.0
    """How long a client may leave an answer unread before it is cut off."""

    max_connections = 1_000
    """On one server; the next is cut off at once, so that no file is kept for it."""

    cycle: Any
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
        if len(self.connections) > self.max_connections:
            self.transport.abort()
        else:
            self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._stop_watching_reading()
        super().connection_lost(exc)

    def _watch(self) -> None:
        self._deadline = self.loop.call_later(REQUEST_SECONDS, self._close_if_unfinished)

    def _close_if_unfinished(self) -> None:
        if self.transport.get_protocol() is not self:
            return  # upgraded: the transport belongs to the WebSocket
        begun, _closed = self.conn.trailing_data
        answering = self.cycle is not None and not self.cycle.response_complete
        if not answering and (self.cycle is None or begun):
            self.transport.close()
        else:
            self._watch()


def impatient_http(*, unread_seconds: float, max_connections: int) -> type[ImpatientHttp]:
    """The class for a server with these limits."""
    limits = {"unread_seconds": unread_seconds, "max_connections": max_connections}
    return type("ImpatientHttp", (ImpatientHttp,), limits)
