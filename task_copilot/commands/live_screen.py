"""The terminal of `watch`: drawn where something has changed, and given back as it was."""

import contextlib
import os
import select
import signal
import sys
import termios
import threading
import time
import tty
from collections.abc import Iterator
from datetime import UTC, datetime
from types import FrameType
from typing import Protocol

from rich.console import Console, ConsoleDimensions, Group
from rich.live import Live
from rich.text import Text

from task_copilot.commands.board import Picture
from task_copilot.commands.board_lines import draw
from task_copilot.commands.stream_lines import ASCII, UNICODE

TICK_SECONDS = 1.0
"""Times since something are drawn anew so often."""

PAUSE_SECONDS = 0.04
"""Between two drawings at least, however much happens."""

DEFAULT_SIZE = os.terminal_size((80, 24))
NO_WRAPPING, WRAPPING = "\x1b[?7l", "\x1b[?7h"
"""A terminal may take a sign for wider than it is counted here; it must not wrap for that."""

BEGIN_FRAME, END_FRAME = "\x1b[?2026h", "\x1b[?2026l"
"""Terminals that know these show a frame when it is whole; others take no notice."""

KEY_BYTES = 1024


class Work(Protocol):
    """What brings pictures, in a thread of its own."""

    def run(self) -> None:
        """Works for ever; what it raises ends the screen."""


class LiveScreen:
    """Shows the newest picture until `q` is typed."""

    def __init__(self) -> None:
        self._console = Console()
        self._picture = Picture()
        self._drawn: tuple[list[Text], os.terminal_size] | None = None
        self._wake_out, self._wake_in = os.pipe()
        os.set_blocking(self._wake_in, False)
        os.set_blocking(self._wake_out, False)
        self._error: BaseException | None = None
        utf = self._console.encoding.lower().startswith("utf")
        self._signs = UNICODE if utf else ASCII

    def show(self, picture: Picture) -> None:
        """Takes a picture, from any thread."""
        self._picture = picture
        self._wake()

    def _wake(self, *_signal: int | FrameType | None) -> None:
        with contextlib.suppress(BlockingIOError):  # it will wake anyway
            os.write(self._wake_in, b".")

    def run(self, work: Work) -> None:
        """Shows what `work` brings. Raises what it raised, and KeyboardInterrupt."""
        threading.Thread(target=self._work, args=(work,), daemon=True).start()
        with self._signals(), self._keyboard() as keys:
            live = Live(Text(), console=self._console, screen=True, auto_refresh=False)
            with live, self._unwrapped():
                self._loop(live, keys)
        if self._error is not None:
            raise self._error

    def _work(self, work: Work) -> None:
        try:
            work.run()
        except BaseException as error:  # noqa: BLE001 - the main thread raises it
            self._error = error
            self._wake()

    def _loop(self, live: Live, keys: int | None) -> None:
        watched = [self._wake_out] + ([] if keys is None else [keys])
        while self._error is None:
            self._draw(live)
            time.sleep(PAUSE_SECONDS)
            ready, _, _ = select.select(watched, [], [], TICK_SECONDS)
            if self._wake_out in ready:
                os.read(self._wake_out, KEY_BYTES)
            if keys is not None and keys in ready:
                typed = _typed(keys)
                if b"q" in typed.lower():
                    return
                if not typed:  # the terminal is gone, or stdin is at its end
                    watched.remove(keys)

    def _draw(self, live: Live) -> None:
        size = _size()
        width, height = size
        self._console.size = ConsoleDimensions(width, height)
        lines = draw(self._picture, width, height, datetime.now(UTC), self._signs)
        if self._drawn != (lines, size):
            for line in lines:
                line.no_wrap, line.overflow = True, "crop"
            self._console.file.write(BEGIN_FRAME)
            live.update(Group(*lines), refresh=True)
            self._console.file.write(END_FRAME)
            self._console.file.flush()
            self._drawn = (lines, size)

    @contextlib.contextmanager
    def _unwrapped(self) -> Iterator[None]:
        self._console.file.write(NO_WRAPPING)
        try:
            yield
        finally:
            self._console.file.write(WRAPPING)
            self._console.file.flush()

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """The end of the session gives the terminal back too; a new size is drawn at once."""
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
        for number in before:
            signal.signal(number, _interrupt)
        before[signal.SIGWINCH] = signal.signal(signal.SIGWINCH, self._wake)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextlib.contextmanager
    def _keyboard(self) -> Iterator[int | None]:
        """Keys one by one and unseen, where they come from a terminal."""
        if sys.stdin is None or not sys.stdin.isatty():
            yield None
            return
        keys = sys.stdin.fileno()
        before = termios.tcgetattr(keys)
        tty.setcbreak(keys)
        try:
            yield keys
        finally:
            termios.tcsetattr(keys, termios.TCSADRAIN, before)


def _typed(keys: int) -> bytes:
    try:
        return os.read(keys, KEY_BYTES)
    except OSError:
        return b""


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _size() -> os.terminal_size:
    with contextlib.suppress(OSError):
        found = os.get_terminal_size()
        if found.columns and found.lines:
            return found
    return DEFAULT_SIZE
