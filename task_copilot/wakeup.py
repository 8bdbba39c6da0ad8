"""Datagrams that tell the hub at once that another process has committed.

They carry nothing, so a forged one costs one look at the log. One that is lost costs the time
until the hub looks by itself, a twentieth of a second.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable
from pathlib import Path

from task_copilot import runtime

LOOPBACK = "127.0.0.1"
"""Where they are received: the system brings nothing of another machine to this address."""

PAUSE_SECONDS = 0.001
"""Between two wake-ups, however many datagrams come: a flood of them costs the hub as many looks
at the log as a busy database would, and no more."""


class WakeUpReceiver(asyncio.DatagramProtocol):
    """The hub's end. `port` is where it listens; opened with `open_receiver`."""

    def __init__(self, on_wake: Callable[[], None]) -> None:
        self._on_wake = on_wake
        self._loop = asyncio.get_running_loop()
        self._next = 0.0
        self._waiting: asyncio.TimerHandle | None = None
        self._transport: asyncio.BaseTransport | None = None
        self.port: int | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: object) -> None:  # noqa: ARG002 - says nothing
        if self._waiting is not None:
            return
        now = self._loop.time()
        if now >= self._next:
            self._wake()
        else:
            self._waiting = self._loop.call_later(self._next - now, self._wake)

    def _wake(self) -> None:
        self._waiting = None
        self._next = self._loop.time() + PAUSE_SECONDS
        self._on_wake()

    def close(self) -> None:
        """Stops listening."""
        if self._waiting is not None:
            self._waiting.cancel()
        if self._transport is not None:
            self._transport.close()


async def open_receiver(on_wake: Callable[[], None]) -> WakeUpReceiver:
    """Calls `on_wake` in the event loop after each datagram, once for all that come within
    `PAUSE_SECONDS`; raises OSError."""
    loop = asyncio.get_running_loop()
    _transport, receiver = await loop.create_datagram_endpoint(
        lambda: WakeUpReceiver(on_wake), local_addr=(LOOPBACK, 0)
    )
    return receiver


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
                self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                self._socket.setblocking(False)
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
