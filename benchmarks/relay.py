"""A relay in front of a hub that counts what passes through it: bytes, and HTTP requests."""

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

CHUNK_BYTES = 1 << 16
METHODS = (b"GET ", b"POST ", b"PATCH ")


class Relay:
    """Serves on `listening` what is at the address `to`."""

    def __init__(self, listening: socket.socket, to: tuple[str, int]) -> None:
        self._listening = listening
        self._to = to
        self._lock = threading.Lock()
        self._count = 0
        self._requests = 0

    @property
    def requests(self) -> int:
        """The HTTP requests so far, with those that became WebSockets."""
        with self._lock:
            return self._requests

    @property
    def count(self) -> int:
        """The bytes in both directions so far."""
        with self._lock:
            return self._count

    def accept(self) -> None:
        """Relays each connection until there are no more."""
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                self._connect(client)

    def _connect(self, client: socket.socket) -> None:
        try:
            hub = socket.create_connection(self._to)
        except OSError:  # it has not begun yet
            client.close()
            return
        for ends in ((client, hub), (hub, client)):
            threading.Thread(
                target=self._pump, args=ends, kwargs={"asks": ends[0] is client}, daemon=True
            ).start()

    def _pump(self, source: socket.socket, target: socket.socket, *, asks: bool) -> None:
        """One direction of one connection; counted before it is passed on, so that whoever has
        got it finds it counted."""
        with suppress(OSError):
            while chunk := source.recv(CHUNK_BYTES):
                with self._lock:
                    self._count += len(chunk)
                    # A client sends the head of a request at once, and frames begin otherwise.
                    self._requests += asks and chunk.startswith(METHODS)
                target.sendall(chunk)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)


@contextmanager
def relay(port: int, hub: str) -> Iterator[Relay]:
    """A relay at 127.0.0.1, until the context is left. The hub listens at another address and the
    same port: it refuses requests that were sent to another port."""
    with closing(socket.create_server(("127.0.0.1", port))) as listening:
        found = Relay(listening, (hub, port))
        threading.Thread(target=found.accept, daemon=True).start()
        yield found
        with suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)
