"""Brings committed events to those who wait for them, in this process."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from task_copilot.errors import report
from task_copilot.events.log import LogRow, LogState
from task_copilot.events.window import Window

logger = logging.getLogger(__name__)

READ_AGAIN_SECONDS = 1.0
"""Pause after the log could not be read, before the next attempt."""

ReadAfter = Callable[[int], Awaitable[Sequence[LogRow]]]


class Bus:
    """Follows the log's head and wakes listeners. All of it runs in the event loop.

    `read_after` reads a page of the log after a position.
    """

    def __init__(self, state: LogState, read_after: ReadAfter) -> None:
        self.epoch = state.epoch
        self.window = Window(state.head)
        self._read_after = read_after
        self._wakers: set[Callable[[], None]] = set()
        self._catching_up: asyncio.Task[None] | None = None
        self._again = False
        self._closed = False

    @property
    def head(self) -> int:
        """The newest event that listeners can have."""
        return self.window.head

    def publish(self, rows: Sequence[LogRow]) -> None:
        """Takes what this process has committed. Where other processes have committed in
        between, the rest is read from the log, so that nothing is passed over."""
        if self._catching_up is None and self.window.extend(rows):
            self._wake()
        else:
            self.refresh()

    def restart(self, state: LogState) -> None:
        """Begins anew at `state`, after the database has become another one; what is being
        read of the old one is not delivered."""
        self.epoch = state.epoch
        self.window = Window(state.head)
        self.refresh()
        self._wake()

    def refresh(self) -> None:
        """Reads what the log has after the head, however often this is called meanwhile."""
        self._again = True
        if self._catching_up is None and not self._closed:
            self._catching_up = asyncio.create_task(self._catch_up())

    async def _catch_up(self) -> None:
        try:
            while self._again:
                self._again = False
                while rows := await self._read(self.head):
                    self._take(rows)
                    self._wake()
        finally:
            self._catching_up = None

    def _take(self, rows: Sequence[LogRow]) -> None:
        if not self.window.extend(rows):
            logger.error(
                "The log has no events %d to %d; listeners go on after them.",
                *(self.head + 1, rows[-1].seq),
            )
            self.window = Window(rows[-1].seq)

    async def _read(self, position: int) -> Sequence[LogRow]:
        epoch = self.epoch
        while True:
            try:
                rows = await self._read_after(position)
                return rows if epoch == self.epoch else ()
            except Exception as error:  # noqa: BLE001 - whatever it is, it is tried again
                report(logger, "The event log cannot be read; listeners wait.", error)
                await asyncio.sleep(READ_AGAIN_SECONDS)

    async def close(self) -> None:
        """Stops reading."""
        self._closed = True
        if self._catching_up is not None:
            self._catching_up.cancel()
            await asyncio.gather(self._catching_up, return_exceptions=True)

    def add_waker(self, wake: Callable[[], None]) -> None:
        """Calls `wake` whenever there may be more to read."""
        self._wakers.add(wake)

    def remove_waker(self, wake: Callable[[], None]) -> None:
        """Stops calling `wake`."""
        self._wakers.discard(wake)

    def _wake(self) -> None:
        for wake in tuple(self._wakers):
            wake()

    async def after(self, position: int, limit: int) -> Sequence[LogRow]:
        """The next events after `position`, from memory or else from the log."""
        rows = self.window.after(position, limit)
        return rows if rows is not None else await self._read(position)
