"""Brings committed events to those who wait for them, in this process."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, Protocol

from task_copilot.errors import report
from task_copilot.events.log import LogPage, LogRow, LogState
from task_copilot.events.window import Window

logger = logging.getLogger(__name__)

READ_AGAIN_SECONDS = 1.0
"""Pause after the log could not be read, before the next attempt."""

NO_ROWS = 0
"""The position up to which there is no event: a page that tells where the log stands."""

CATCH_UPS_AT_ONCE = 4
"""Pages that are read of the log for listeners at the same time. The others wait for their
turn; live events, which are in memory, wait for none."""

LOOKS_AT_ONCE = 2
"""Looks at where the log stands, for those who ask for a position, at the same time. Tools read
with the same threads, and shall not wait behind a crowd."""


class Pages(Protocol):
    """How the log is read; the real one is `events.pages.LogPages`."""

    async def after(self, position: int) -> LogPage:
        """The next events after `position`, oldest first."""

    async def up_to(self, position: int) -> LogPage:
        """The events up to `position`, newest first."""


class Stretch(NamedTuple):
    """All that the log still has after a position and up to `upto`."""

    rows: Sequence[LogRow]
    upto: int


class NewEpoch(Exception):
    """The log was replaced by another one while it was read: positions mean nothing there."""


class Bus:
    """Follows the log's head and wakes listeners. All of it runs in the event loop."""

    def __init__(self, state: LogState, pages: Pages) -> None:
        self.epoch = state.epoch
        self.window = Window(state.head)
        self.closed = False
        self._start = state.head
        self._pages = pages
        self._wakers: set[Callable[[], None]] = set()
        self._catching_up: asyncio.Task[None] | None = None
        self._again = False
        self._turns = asyncio.Semaphore(CATCH_UPS_AT_ONCE)
        self._looks = asyncio.Semaphore(LOOKS_AT_ONCE)

    @property
    def head(self) -> int:
        """The newest event that listeners can have."""
        return self.window.head

    @property
    def appended(self) -> int:
        """Events that all processes have written since this bus began to follow this log."""
        return self.head - self._start

    @property
    def state(self) -> LogState:
        """The log as listeners see it."""
        return LogState(self.epoch, self.head)

    def publish(self, rows: Sequence[LogRow]) -> None:
        """Takes what this process has committed. Where other processes have committed in
        between, the rest is read from the log, so that nothing is passed over."""
        if self._catching_up is None and self.window.extend(rows):
            self._wake()
        else:
            self.refresh()

    def refresh(self) -> None:
        """Reads what the log has after the head, however often this is called meanwhile."""
        self._again = True
        if self._catching_up is None and not self.closed:
            self._catching_up = asyncio.create_task(self._catch_up())

    async def synchronise(self) -> None:
        """Returns when listeners can have all that was committed before the call, or when
        there is another log now."""
        epoch = self.epoch
        with contextlib.suppress(NewEpoch):
            async with self._looks:
                state = (await self._read(self._pages.up_to, NO_ROWS, epoch)).state
            await self._reach(state.head, epoch)

    async def _reach(self, head: int, epoch: str) -> None:
        wake = asyncio.Event()
        self.add_waker(wake.set)
        try:
            while self.head < head and self.epoch == epoch and not self.closed:
                wake.clear()
                self.refresh()
                await wake.wait()
        finally:
            self.remove_waker(wake.set)

    def restart(self, state: LogState) -> None:
        """Goes on with another log: listeners of the old one have to be sent away.

        Does nothing where `state` is of the present epoch.
        """
        if state.epoch == self.epoch:
            self.refresh()
            return
        self.epoch = state.epoch
        self.window = Window(state.head)
        self._start = state.head
        self._wake()

    async def _catch_up(self) -> None:
        try:
            while self._again:
                self._again = False
                await self._read_to_the_end()
        finally:
            self._catching_up = None

    async def _read_to_the_end(self) -> None:
        while True:
            try:
                page = await self._read(self._pages.after, self.head, self.epoch)
            except NewEpoch:
                continue
            if page.rows:
                self._take(page.rows)
            elif page.state.head > self.head:  # all of it is pruned
                self.window = Window(page.state.head)
            else:
                return
            self._wake()
            if self.head >= page.state.head:
                return

    def _take(self, rows: Sequence[LogRow]) -> None:
        if not self.window.extend(rows):
            # Some were pruned before this process came to read them. Listeners that are still
            # before the hole read the log, find it there and are told.
            behind = _behind_the_last_hole(rows)
            self.window = Window(behind[0].seq - 1)
            self.window.extend(behind)

    async def _read(
        self, read: Callable[[int], Awaitable[LogPage]], position: int, epoch: str
    ) -> LogPage:
        """A page of the log of `epoch`; raises NewEpoch where there is another one now."""
        while True:
            if self.epoch != epoch:
                raise NewEpoch
            try:
                page = await read(position)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is tried again
                if not self.closed:
                    report(logger, "The event log cannot be read; listeners wait.", error)
                await asyncio.sleep(READ_AGAIN_SECONDS)
                continue
            if self.epoch != epoch:
                raise NewEpoch
            if page.state.epoch != epoch:
                self.restart(page.state)
                raise NewEpoch
            return page

    def end(self) -> None:
        """Wakes listeners so that they see `closed` and end."""
        self.closed = True
        self._wake()

    async def close(self) -> None:
        """`end`, and stops reading."""
        self.end()
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

    def at_hand(self, position: int, limit: int) -> Stretch | None:
        """The next events after `position`, at most `limit`; None where memory has not all."""
        rows = self.window.after(position, limit)
        return None if rows is None else Stretch(rows, rows[-1].seq if rows else position)

    async def after(self, position: int, limit: int, *, epoch: str | None = None) -> Stretch:
        """The next events after `position`: at most `limit` from memory, or else a page of
        the log. Raises NewEpoch, also where `epoch` is given and is not the present one."""
        epoch = self.epoch if epoch is None else epoch
        if self.epoch != epoch:
            raise NewEpoch
        if (found := self.at_hand(position, limit)) is not None:
            return found
        async with self._turns:
            page = await self._read(self._pages.after, position, epoch)
        # With no row left, all that the log had up to its head is gone.
        return Stretch(page.rows, page.rows[-1].seq if page.rows else page.state.head)

    async def before_the_newest(self, count: int, matches: Callable[[LogRow], bool]) -> int:
        """The position after which the newest `count` matching events come: fewer where the
        log has no more, and then the position before the oldest. Raises NewEpoch."""
        epoch = self.epoch
        rows: Sequence[LogRow] = self.window.newest_first()
        position = self.head
        while count > 0:
            for row in rows:
                position = row.seq - 1
                if matches(row):
                    count -= 1
                    if count == 0:
                        break
            else:
                async with self._turns:
                    rows = (await self._read(self._pages.up_to, position, epoch)).rows
                if not rows:
                    break
        return position


def _behind_the_last_hole(rows: Sequence[LogRow]) -> Sequence[LogRow]:
    first = len(rows) - 1
    while first and rows[first - 1].seq == rows[first].seq - 1:
        first -= 1
    return rows[first:]
