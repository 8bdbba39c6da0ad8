"""uvicorn's WebSocket, where it takes what a client sends for an error of its own."""

from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode
from websockets.protocol import State

UNREADABLE = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: 41\r\n"
    b'Connection: close\r\n\r\n{"error":"The handshake cannot be read."}'
)


class StrictWebSocket(WebSocketsSansIOProtocol):
    """Answers handshakes that cannot be read, and closes with 1007 for text that is not UTF-8."""

    frames: list[Any]

    def data_received(self, data: bytes) -> None:
        """What came. After a handshake with too many or too long headers uvicorn would say
        nothing and wait for ever."""
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.handshake_initiated:
            self.handshake_initiated = self.close_sent = True
            self.transport.write(b"".join(self.conn.data_to_send()) or UNREADABLE)
            self.transport.close()

    def send_receive_event_to_app(self) -> None:
        """A whole message. uvicorn logs a text that is not UTF-8 as an error with a traceback,
        and fails where the client's close came in the same segment."""
        if self.curr_msg_data_type == "text" and not self.close_sent:
            self.frames = [b"".join(self.frames)]
            try:
                self.frames[0].decode()
            except UnicodeDecodeError:
                self._refuse_text()
                return
        super().send_receive_event_to_app()

    def _refuse_text(self) -> None:
        self.frames = []
        code, reason = CloseCode.INVALID_DATA, "a text message is not UTF-8"
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        if self.conn.state is State.OPEN:
            self.conn.send_close(code, reason)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.transport.close()
