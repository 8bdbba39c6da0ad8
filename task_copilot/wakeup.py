"""Datagrams that tell the hub at once that another process has committed.

They carry nothing, so a forged one costs one look at the log. One that is lost costs the time
until the hub looks by itself, a twentieth of a second.
"""

import contextlib
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

from task_copilot import runtime

LOOPBACK = "127.0.0.1"
"""Where they are received: the system brings nothing of another machine to this address."""

PAUSE_SECONDS = 0.001
"""Between two wake-ups, however many datagrams come: a flood of them costs the hub as many looks
at the log as a busy database would, and no more."""

TAKEN_AT_ONCE = 1_000
"""Datagrams that one wake-up stands for; so many wait in the system's buffer at most, unless more
come while they are taken."""


class WakeUpReceiver:
    """The hub's end. `port` is where it listens. It calls `on_wake`, which must not fail, in a
    thread of its own after each datagram, once for all that come within `PAUSE_SECONDS`, and
    `on_end` in the same thread after the last.

    A thread, so that whoever is woken can read the log at once: a turn of the event loop that
    only asked another thread to do so would cost as much as the reading. Raises OSError.
    """

    def __init__(
        self, on_wake: Callable[[], None], on_end: Callable[[], None] = lambda: None
    ) -> None:
        self._on_wake = on_wake
        self._on_end = on_end
        self._closed = False
        self._socket = _datagram_socket()
        try:
            self._socket.bind((LOOPBACK, 0))
        except OSError:
            self._socket.close()
            raise
        self.port: int = self._socket.getsockname()[1]
        threading.Thread(target=self._run, name="wake-ups", daemon=True).start()

    def _run(self) -> None:
        earliest = 0.0
        with self._socket, selectors.DefaultSelector() as selector:
            selector.register(self._socket, selectors.EVENT_READ)
            while True:
                selector.select()
                early = earliest - time.monotonic()
                if early > 0:
                    time.sleep(early)
                if self._closed:
                    break
                self._take(TAKEN_AT_ONCE if early > 0 else 1)
                self._on_wake()
                earliest = time.monotonic() + PAUSE_SECONDS
        self._on_end()

    def _take(self, most: int) -> None:
        with contextlib.suppress(OSError):  # none is left
            for _ in range(most):
                self._socket.recv(1)

    def close(self) -> None:
        """Stops listening; a wake-up under way is not waited for."""
        self._closed = True
        with contextlib.suppress(OSError), _datagram_socket() as own:
            own.sendto(b"", (LOOPBACK, self.port))  # else a full buffer wakes it as well


def _datagram_socket() -> socket.socket:
    found = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    found.setblocking(False)
    return found


class WakeUpSender:
    """The other processes' end, for one thread. The runtime file says where the hub listens."""

    def __init__(self, runtime_file: Path) -> None:
        self._runtime_file = runtime_file
        self._seen: tuple[int, int] | None = None
        self._port: int | None = None
        self._socket: socket.socket | None = None

    def send(self) -> None:
        """Wakes the hub, if there is one in another process. Never waits, never fails."""
        port = self._hub_port()
        if port is None:
            return
        # No socket, no hub, a full buffer: the hub finds the commit when it looks by itself.
        with contextlib.suppress(OSError):
            if self._socket is None:
                self._socket = _datagram_socket()
            self._socket.sendto(b"", (LOOPBACK, port))

    def _hub_port(self) -> int | None:
        try:
            found = os.stat(self._runtime_file)  # noqa: PTH116 - a third faster, at each commit
        except OSError:
            return None
        seen = (found.st_ino, found.st_mtime_ns)
        if seen != self._seen:
            self._seen = seen
            record = runtime.read(self._runtime_file)
            ours = record is None or record.pid == os.getpid()
            self._port = None if ours or record is None else record.wakeup_port
        return self._port

    def close(self) -> None:
        """Lets go of the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
