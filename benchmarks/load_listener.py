"""One listener of the load: checks that it gets what it should, and notes how long that took.

It costs next to nothing, so that many of them measure the server and not themselves.
"""

import re
import socket
import time
from array import array

from benchmarks.dialects import Dialect, Step
from benchmarks.framing import Broken, text_frame

REQUEST = "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{more}\r\n"
UPGRADE = (
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
END_OF_HEADERS = b"\r\n\r\n"
CHUNK_BYTES = 1 << 18
CONNECT_SECONDS = 30.0

EVENT = re.compile(rb'\{"seq":(\d+),"at":(\d+),')


class LoadListener:
    """Connected and subscribed. `next` is the event that comes next; each is `step` behind the
    one before. The microseconds from publishing to arrival go into `latencies`."""

    def __init__(
        self,
        port: int,
        dialect: Dialect,
        topic: str,
        next_: int,
        step: int,
        latencies: "array[int]",
    ) -> None:
        self.next = next_
        self._step = step
        self._latencies = latencies
        self._dialect = dialect
        self._framing = dialect.framing()
        self._socket = socket.create_connection(("127.0.0.1", port), CONNECT_SECONDS)
        try:
            self._connect(port, topic)
        except BaseException:
            self.close()
            raise

    def fileno(self) -> int:
        """For a selector."""
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def _connect(self, port: int, topic: str) -> None:
        path = self._dialect.path.format(topic=topic)
        more = UPGRADE if self._dialect.is_websocket else ""
        self._socket.sendall(REQUEST.format(path=path, port=port, more=more).encode())
        waiting = self._framing.take(self._behind_headers())
        for step in self._dialect.opening(topic):
            waiting = self._take_step(step, waiting)
        # Events may have come with the last answer.
        self._take(waiting, time.monotonic_ns() // 1000)

    def _behind_headers(self) -> bytes:
        status = b"HTTP/1.1 101 " if self._dialect.is_websocket else b"HTTP/1.1 200 "
        answer = b""
        while END_OF_HEADERS not in answer:
            answer += self._some()
        if not answer.startswith(status):
            raise Broken(f"the connection was refused: {answer[:200]!r}")
        return answer.partition(END_OF_HEADERS)[2]

    def _take_step(self, step: Step, waiting: bytes) -> bytes:
        if step.say:
            self._socket.sendall(text_frame(step.say))
        while step.answer not in waiting:
            waiting += self._framing.take(self._some())
        return waiting.partition(step.answer)[2]

    def _some(self) -> bytes:
        chunk = self._socket.recv(CHUNK_BYTES)
        if not chunk:
            raise Broken("the server has closed a listener")
        return chunk

    def receive(self) -> None:
        """Takes what has come, and waits where nothing has; raises Broken where an event is
        missing, comes twice or comes too early."""
        chunk = self._some()
        moment = time.monotonic_ns() // 1000
        self._take(self._framing.take(chunk), moment)

    def _take(self, messages: bytes, moment: int) -> None:
        found = EVENT.findall(messages)
        numbers = [int(seq) for seq, _ in found]
        expected = range(self.next, self.next + len(found) * self._step, self._step)
        if numbers != list(expected):
            raise Broken(f"events {numbers[:5]} … came where {self.next} was next")
        self.next = expected.stop if found else self.next
        self._latencies.extend([moment - int(at) for _, at in found])
        if self._dialect.ping and self._dialect.ping in messages:
            self._socket.sendall(text_frame(self._dialect.pong))
