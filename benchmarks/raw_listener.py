"""A listener that costs next to nothing, so that many of them measure the hub and not themselves.

It speaks just enough of the WebSocket protocol to be served, and then looks for the numbers of
events in the bytes that come.
"""

import json
import re
import socket
import time
from array import array
from collections.abc import Mapping
from typing import Any

HANDSHAKE = (
    "GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
SWITCHING = b"HTTP/1.1 101 "
END_OF_HEADERS = b"\r\n\r\n"
NO_MASK = bytes(4)
SMALL, LARGE = 126, 1 << 16
CHUNK_BYTES = 1 << 18

EVENT = re.compile(rb'\{"seq":(\d+),"topic":')
LONGEST = 64
"""More bytes than `EVENT` can match: so much of a chunk may belong to a match with the next."""

PING = b'{"type":"ping",'


class RawListener:
    """One connection, subscribed. `position` is the newest event that has come, and `moments`
    are the nanoseconds of the monotonic clock at which each after `begin` came."""

    def __init__(self, port: int, subscribe: Mapping[str, Any]) -> None:
        self._socket = open_socket(port, 30.0)
        self._rest = _after_handshake(self._socket)
        self._send({"type": "subscribe", "payload": dict(subscribe)})
        answer = self._frame()
        if answer["type"] != "subscribed":
            raise RuntimeError(str(answer))
        self.begin: int = subscribe.get("since", answer["payload"]["seq"])
        self.position = self.begin
        self.moments = array("q")

    def fileno(self) -> int:
        """For a selector."""
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def receive(self) -> None:
        """Takes what has come, and waits where nothing has; raises RuntimeError where an event
        is missing or comes twice."""
        chunk = self._socket.recv(CHUNK_BYTES)
        moment = time.monotonic_ns()
        if not chunk:
            raise RuntimeError("the server has closed a listener")
        data, end = self._rest + chunk, 0
        for found in EVENT.finditer(data):
            seq = int(found[1])
            if seq != self.position + 1:
                raise RuntimeError(f"event {seq} came after {self.position}")
            self.position = seq
            self.moments.append(moment)
            end = found.end()
        self._rest = data[max(end, len(data) - LONGEST) :]
        if PING in chunk:
            self._send({"type": "pong"})

    def _send(self, message: Mapping[str, Any]) -> None:
        text = json.dumps(message).encode()
        size = len(text)
        assert size < LARGE
        head = bytes([0x80 | size]) if size < SMALL else b"\xfe" + size.to_bytes(2, "big")
        self._socket.sendall(b"\x81" + head + NO_MASK + text)

    def _frame(self) -> Any:
        """The message that comes first; what comes behind it is kept."""
        while True:
            size, start = self._rest[1] if len(self._rest) > 1 else 0, 2
            if size == SMALL:
                size, start = int.from_bytes(self._rest[2:4], "big"), 4
            if len(self._rest) >= start + max(size, 1):
                break
            self._rest += _some(self._socket)
        text, self._rest = self._rest[start : start + size], self._rest[start + size :]
        return json.loads(text)


def open_socket(port: int, timeout: float) -> socket.socket:
    """A connection that has asked for the upgrade to a WebSocket."""
    connection = socket.create_connection(("127.0.0.1", port), timeout)
    connection.sendall(HANDSHAKE.format(port=port).encode())
    return connection


def _after_handshake(connection: socket.socket) -> bytes:
    answer = b""
    while END_OF_HEADERS not in answer:
        answer += _some(connection)
    if not answer.startswith(SWITCHING):
        raise RuntimeError(f"the handshake was refused: {answer[:200]!r}")
    return answer.partition(END_OF_HEADERS)[2]


def _some(connection: socket.socket) -> bytes:
    chunk = connection.recv(CHUNK_BYTES)
    if not chunk:
        raise RuntimeError("the server has closed a listener")
    return chunk
