"""uvicorn's protocols with what a server of many patient listeners needs beside them."""

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame
from websockets.http11 import Request

from task_copilot.events.websocket import EXTENSION

REQUEST_SECONDS = 10.0
"""How long a connection may take to send its request; uvicorn itself waits for ever."""


class PatientWebSocket(WebSocketsSansIOProtocol):
    """Lets the application send the protocol's own pings and see their answers."""

    last_pong = 0.0

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        extensions: Any = self.scope["extensions"] if hasattr(self, "scope") else {}
        extensions[EXTENSION] = self

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


class ImpatientHttp(H11Protocol):
    """Closes connections that do not send a whole request in time."""

    cycle: Any
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
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
