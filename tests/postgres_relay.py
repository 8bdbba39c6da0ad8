"""What can happen to the network between the program and the database's server."""

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress

import postgres

CHUNK_BYTES = 1 << 16
PREPARED = re.compile(rb"(tc[0-9]+)\0COMMIT\0")
"""How a message names the statement that commits, on its connection from then on."""

READY = b"Z\0\0\0\5I"
_FIELDS = b"SFATAL\0VFATAL\0C57P01\0Mterminating connection due to administrator command\0\0"
ENDED = b"E" + (len(_FIELDS) + 4).to_bytes(4) + _FIELDS
"""What a server says in the place of `READY` where it was told meanwhile to end."""


class Line:
    """One connection; while `flows` is not set, nothing passes."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client, self.server = client, server
        self.flows = threading.Event()
        self.flows.set()
        self.muted = False
        """It ends with the next thing that the server says, of which the client hears nothing."""
        self.ends_when_ready = False
        """It ends with what the server says to that, and the client hears why."""
        self._commit: bytes | None = None

    def commits(self, chunk: bytes) -> bool:
        """Whether what the client sends commits; to be asked of all that it sends."""
        if found := PREPARED.search(chunk):
            self._commit = b"\0" + found[1] + b"\0"
        return self._commit is not None and self._commit in chunk

    def cut(self) -> None:
        """Ends it at both ends."""
        self.flows.set()
        for end in (self.client, self.server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


Meddle = Callable[[Line, bytes], bool]
"""Sees what a client sends; True where that shall not be passed on."""


class Relay:
    """Made with `relaying`. `delay` is in seconds and each way."""

    def __init__(self, listening: socket.socket, to: str) -> None:
        self.port: int = listening.getsockname()[1]
        self.delay = 0.0
        self.meddle: Meddle | None = None
        self.meddle_commits: Meddle | None = None
        """The same, for messages that commit and no others."""

        self._listening, self._to = listening, to
        self._lines: list[Line] = []
        self._stalled = False
        self._lock = threading.Lock()

    def url(self, name: str) -> str:
        """The program's URL of a database behind it."""
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/{name}"

    def accept(self) -> None:
        """Relays each connection until there are no more."""
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                self._connect(client)

    def _connect(self, client: socket.socket) -> None:
        server = socket.socket(socket.AF_UNIX)
        try:
            server.connect(self._to)
        except OSError:  # it is away
            client.close()
            server.close()
            return
        line = Line(client, server)
        with self._lock:
            self._lines.append(line)
            if self._stalled:
                line.flows.clear()
        for pump in (self._upwards, self._downwards):
            threading.Thread(target=pump, args=(line,), daemon=True).start()

    def _upwards(self, line: Line) -> None:
        with suppress(OSError):
            while chunk := line.client.recv(CHUNK_BYTES):
                time.sleep(self.delay)
                line.flows.wait()
                commits = line.commits(chunk)
                meddle = self.meddle_commits if commits and self.meddle is None else self.meddle
                if meddle is None or not meddle(line, chunk):
                    line.server.sendall(chunk)
        line.cut()

    def _downwards(self, line: Line) -> None:
        with suppress(OSError):
            while (chunk := line.server.recv(CHUNK_BYTES)) and not line.muted:
                time.sleep(self.delay)
                line.flows.wait()
                if line.ends_when_ready and chunk.endswith(READY):
                    line.client.sendall(chunk.removesuffix(READY) + ENDED)
                    break
                line.client.sendall(chunk)
        line.cut()

    def stall(self) -> None:
        """Takes what is sent and passes nothing on, until `go_on`."""
        with self._lock:
            self._stalled = True
            for line in self._lines:
                line.flows.clear()

    def go_on(self) -> None:
        """Passes on what was sent meanwhile."""
        with self._lock:
            self._stalled = False
            for line in self._lines:
                line.flows.set()

    def cut(self) -> None:
        """Ends all connections."""
        with self._lock:
            lines, self._lines = self._lines, []
        for line in lines:
            line.cut()


def cut_before(line: Line, _chunk: bytes) -> bool:
    """What the client sent never arrives."""
    line.cut()
    return True


def cut_behind(line: Line, chunk: bytes) -> bool:
    """It arrives, and at the same time the connection ends."""
    line.server.sendall(chunk)
    line.cut()
    return True


def answer_lost(line: Line, _chunk: bytes) -> bool:
    """It arrives, and the server answers; but the client does not hear of that."""
    line.muted = True
    return False


def ended_behind(line: Line, _chunk: bytes) -> bool:
    """It arrives and is carried out, and then the server ends the connection."""
    line.ends_when_ready = True
    return False


@contextmanager
def relaying(server: postgres.Server) -> Iterator[Relay]:
    """A relay before the server, until the context is left."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        found = Relay(listening, server.socket)
        thread = threading.Thread(target=found.accept, daemon=True)
        thread.start()
        try:
            yield found
        finally:
            with suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)
            thread.join()
            found.cut()
