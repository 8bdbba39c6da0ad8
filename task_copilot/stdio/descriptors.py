"""The descriptors of stdin and stdout: taken over, read and written without blocking."""

import asyncio
import logging
import os
import stat
import sys
import threading
from collections.abc import Callable
from contextlib import suppress

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

log = logging.getLogger(__name__)

CHUNK_BYTES = 256 << 10
MAX_UNREAD_OUTPUT_BYTES = 64 << 10


class Input:
    """Passes on what is read from a descriptor while resumed; an empty chunk is the end."""

    def __init__(self, fd: int, on_chunk: Callable[[bytes], None]) -> None:
        self._fd, self._on_chunk, self._loop = fd, on_chunk, asyncio.get_running_loop()
        self._running = self._closed = False
        self._gate: threading.Event | None = None

    def resume(self) -> None:
        if self._running or self._closed:
            return
        self._running = True
        if self._gate is None and not self._watch():
            self._gate = threading.Event()
            threading.Thread(target=self._read_in_thread, args=(self._gate,), daemon=True).start()
        if self._gate:
            self._gate.set()

    def pause(self) -> None:
        if self._running and self._gate is None:
            self._loop.remove_reader(self._fd)
        self._running = False

    def close(self) -> None:
        if self._closed:
            return
        self.pause()
        self._closed = True
        # A thread may still be blocked on the descriptor: its number must not be used again.
        if self._gate is None:
            os.close(self._fd)

    def _watch(self) -> bool:
        if stat.S_ISREG(os.fstat(self._fd).st_mode):
            return False
        try:
            self._loop.add_reader(self._fd, self._on_readable)
        except (OSError, NotImplementedError):
            return False
        return True

    def _read(self) -> bytes:
        try:
            return os.read(self._fd, CHUNK_BYTES)
        except BlockingIOError:
            raise
        except OSError:
            return b""

    def _on_readable(self) -> None:
        with suppress(BlockingIOError):
            self._deliver(self._read())

    def _read_in_thread(self, gate: threading.Event) -> None:
        chunk = b"\n"
        while chunk:
            gate.wait()
            gate.clear()
            chunk = self._read()
            try:
                self._loop.call_soon_threadsafe(self._deliver, chunk)
            except RuntimeError:
                return  # the loop is closed

    def _deliver(self, chunk: bytes) -> None:
        if self._closed:
            return
        self._on_chunk(chunk)
        if self._running and self._gate:
            self._gate.set()


class Output:
    """Writes to a descriptor, at once if it takes the bytes, else when it has room.

    Not asyncio's pipe transport: on a half-closed socket, which some clients give their children
    as stdout (Bun did until 2026), that one believes the client has left.
    """

    def __init__(self, fd: int, on_change: Callable[[], None], on_lost: Callable[[], None]) -> None:
        self._fd, self._on_change, self._on_lost = fd, on_change, on_lost
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray()
        self.full = self.closed = False
        self.empty = asyncio.Event()
        self.empty.set()
        mode = os.fstat(fd).st_mode
        self._is_pipe = sys.platform != "win32" and stat.S_ISFIFO(mode)
        self._was_blocking = sys.platform != "win32" and os.get_blocking(fd)
        if self._is_pipe or stat.S_ISSOCK(mode):
            os.set_blocking(fd, False)
        if self._is_pipe:
            # The write end of a pipe is "readable" only once nobody has the other end open.
            self._loop.add_reader(fd, self._lose)

    def write(self, data: bytes) -> None:
        if self.closed:
            return
        if not self._buffer:
            data = data[self._write_now(data) :]
            if not data or self.closed:
                return
            self._loop.add_writer(self._fd, self._flush)
            self.empty.clear()
        self._buffer += data
        if not self.full and len(self._buffer) > MAX_UNREAD_OUTPUT_BYTES:
            self.full = True
            self._on_change()

    async def close(self, timeout: float) -> None:
        """Close when all is written, or after `timeout` seconds."""
        try:
            await asyncio.wait_for(self.empty.wait(), timeout)
        except TimeoutError:
            log.warning("the client has left %d bytes of answers unread", len(self._buffer))
        finally:
            self._release()

    def _write_now(self, data: bytes | bytearray) -> int:
        done = 0
        try:
            with memoryview(data) as view:
                while done < len(view):
                    done += os.write(self._fd, view[done:])
        except BlockingIOError:
            pass
        except OSError as error:
            if not isinstance(error, ConnectionError):
                log.warning("stdout cannot be written: %s", error)
            self._lose()
        return done

    def _flush(self) -> None:
        del self._buffer[: self._write_now(self._buffer)]
        if not self._buffer and not self.closed:
            self._loop.remove_writer(self._fd)
            self.full = False
            self.empty.set()
            self._on_change()

    def _lose(self) -> None:
        if not self.closed:
            self._release()
            self._on_lost()

    def _release(self) -> None:
        if self.closed:
            return
        self.closed, self.full = True, False
        self.empty.set()
        if self._is_pipe:
            self._loop.remove_reader(self._fd)
        if self._buffer:
            self._loop.remove_writer(self._fd)
        if self._was_blocking:
            # The mode belongs to the pipe, which others (a shell) may go on using.
            os.set_blocking(self._fd, True)
        os.close(self._fd)


def _claim(fd: int, replacement: int) -> int:
    """Return a private duplicate of `fd`, which itself becomes `replacement`."""
    if sys.platform == "win32":
        private = os.dup(fd)
        msvcrt.setmode(private, os.O_BINARY)
    else:
        # From 3 up: with stderr closed, a plain dup() would make the wire the new stderr.
        private = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    os.dup2(replacement, fd)
    return private


def claim_standard_streams() -> tuple[int, int]:
    """Return the wire's descriptors; fd 0 becomes the null device and fd 1 stderr, for good.

    They are not given back at the end, as text that is still buffered somewhere is written when
    the interpreter exits.
    """
    null = os.open(os.devnull, os.O_RDWR)
    # Where a stream was closed when the program started, its number may be anything by now.
    wire_in = _claim(0, null) if sys.__stdin__ else os.dup(null)
    wire_out = _claim(1, 2 if sys.__stderr__ else null) if sys.__stdout__ else os.dup(null)
    os.close(null)
    if sys.stdout:
        sys.stdout.flush()
    sys.stdout = sys.stderr
    return wire_in, wire_out
