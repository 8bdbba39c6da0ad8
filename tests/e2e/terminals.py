"""A program on a pseudo-terminal, and what stands on its screen."""

import asyncio
import fcntl
import os
import pty
import signal
import struct
import termios
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import pyte

WITHIN_SECONDS = 20.0
READ_BYTES = 65_536


class Terminal:
    """Runs `words` on a terminal of its own."""

    def __init__(
        self,
        words: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        *,
        columns: int = 80,
        rows: int = 24,
    ) -> None:
        self._words, self._folder = words, folder
        self._environment = {**os.environ, "TERM": "xterm-256color", **environment}
        for name in ("COLUMNS", "LINES", "NO_COLOR"):
            if name not in environment:
                self._environment.pop(name, None)
        self.screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self.screen)
        self._changed = asyncio.Condition()
        self.written = b""
        self.process: asyncio.subprocess.Process

    async def __aenter__(self) -> Self:
        self._keyboard, terminal = pty.openpty()
        self._set_size()
        self.before = termios.tcgetattr(terminal)
        self.process = await asyncio.create_subprocess_exec(
            *self._words,
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            cwd=self._folder,
            env=self._environment,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0) and None,
        )
        self._terminal = terminal  # kept open, so that its settings can be looked at
        asyncio.get_running_loop().add_reader(self._keyboard, self._read)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.process.returncode is None:
            self.process.kill()
            await self.process.wait()
        asyncio.get_running_loop().remove_reader(self._keyboard)
        os.close(self._keyboard)
        os.close(self._terminal)

    def _read(self) -> None:
        found = os.read(self._keyboard, READ_BYTES)
        self.written += found
        self._stream.feed(found)
        asyncio.get_running_loop().create_task(self._tell())

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    @property
    def lines(self) -> list[str]:
        """The screen as it stands, without blanks at the ends of its lines."""
        return [line.rstrip() for line in self.screen.display]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    @property
    def frame_is_whole(self) -> bool:
        return self.written.count(b"\x1b[?2026h") == self.written.count(b"\x1b[?2026l")

    async def shows(self, *texts: str, without: str | None = None) -> None:
        """Waits until all of `texts` are on the screen, and `without` is not."""
        await self.until(
            lambda: (
                self.frame_is_whole
                and all(text in self.text for text in texts)
                and (without is None or without not in self.text)
            ),
            f"{texts} without {without}",
        )

    async def until(self, condition: Callable[[], bool], what: str = "") -> None:
        try:
            async with asyncio.timeout(WITHIN_SECONDS), self._changed:
                await self._changed.wait_for(condition)
        except TimeoutError:
            raise AssertionError(f"{what} did not come; the screen:\n{self.text}") from None

    def type(self, keys: bytes) -> None:
        os.write(self._keyboard, keys)

    def resize(self, columns: int, rows: int) -> None:
        self.screen.resize(rows, columns)
        self._set_size()
        self.process.send_signal(signal.SIGWINCH)

    def _set_size(self) -> None:
        size = struct.pack("HHHH", self.screen.lines, self.screen.columns, 0, 0)
        fcntl.ioctl(self._keyboard, termios.TIOCSWINSZ, size)

    async def ends(self) -> int:
        async with asyncio.timeout(WITHIN_SECONDS):
            return await self.process.wait()

    def is_given_back(self) -> bool:
        """Whether the terminal is as it was: its settings, the cursor, the first screen."""
        same = termios.tcgetattr(self._terminal) == self.before
        ends = (b"\x1b[?1049l", b"\x1b[?25h", b"\x1b[?7h")
        return same and all(sequence in self.written for sequence in ends)


@asynccontextmanager
async def on_terminal(
    words: Sequence[str], environment: Mapping[str, str], folder: Path, **size: int
) -> AsyncIterator[Terminal]:
    async with Terminal(words, environment, folder, **size) as terminal:
        yield terminal
