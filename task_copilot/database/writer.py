"""The one thread of a process that writes, awaited from asyncio."""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar

from task_copilot.database.committer import Committer, Outcome
from task_copilot.database.outage import Outages
from task_copilot.database.transaction import Operation
from task_copilot.errors import StorageError, report

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.05
"""Pause between two looks for what other processes have written; a look costs microseconds
and reads no table."""

MAX_WAITING = 10_000
"""Operations that may wait for the thread; the next is refused."""

T = TypeVar("T")
RowT = TypeVar("RowT")


class _Call(NamedTuple):
    """Who waits for an operation, and until when it may wait for the database."""

    future: asyncio.Future[Any]
    deadline: float


class Writer(Generic[RowT]):
    """Queues operations for the writing thread and brings their results back.

    `publish` is called in the event loop after each commit, before the results arrive,
    with the new rows of the log; `committed` in the thread, once the results are on their way.
    """

    def __init__(
        self,
        committer: Committer[RowT],
        publish: Callable[[list[RowT]], None],
        committed: Callable[[], None],
        outages: Outages,
    ) -> None:
        self._committer = committer
        self._outages = outages
        self._publish = publish
        self._committed = committed
        self._loop = asyncio.get_running_loop()
        self._operations: deque[Operation[Any]] = deque()
        self._calls: deque[_Call] = deque()
        self._changed = threading.Condition()
        self._stopping = False
        self._on_change: Callable[[], None] | None = None
        self._next_look = 0.0
        self._said = ""
        self._thread = threading.Thread(target=self._work, name="writer", daemon=True)
        self._thread.start()

    def watch(self, on_change: Callable[[], None]) -> None:
        """Calls `on_change` in the event loop when another process has committed.

        The thread looks every `LOOK_SECONDS`, also while operations come without a pause: they
        may be refused one after the other, and then no event of theirs shows by its number
        that others came in between.
        """
        with self._changed:
            self._on_change = on_change
            self._changed.notify()

    async def run(self, operation: Operation[T]) -> T:
        """Commits `operation` and returns its result; it is on disk by then.

        Raises what the operation raised, or StorageError; then nothing was written.
        """
        future: asyncio.Future[T] = self._loop.create_future()
        with self._changed:
            if self._stopping or len(self._operations) >= MAX_WAITING:
                raise StorageError("Too many changes are waiting. Nothing was written; try again.")
            self._operations.append(operation)
            self._calls.append(_Call(future, self._outages.deadline()))
            self._changed.notify()
        return await future

    def _work(self) -> None:
        waiting: deque[Operation[Any]] = deque()
        calls: deque[_Call] = deque()
        while self._collect(waiting, calls):
            try:
                outcomes, rows = self._committer.commit(
                    waiting, calls[0].deadline, lambda: self._take(waiting, calls)
                )
            except BaseException as error:
                logger.exception("A change could not be written; its caller is told so.")
                outcomes, rows = [Outcome(error=error) for _ in calls], []
                waiting.clear()
            done = [calls.popleft().future for _ in outcomes]
            self._loop.call_soon_threadsafe(self._finish, done, outcomes, rows)
            if rows:
                self._committed()
        self._committer.close()

    def _collect(self, waiting: deque[Operation[Any]], calls: deque[_Call]) -> bool:
        while not waiting and not self._wait():
            self._look()
        if time.monotonic() > self._next_look:
            self._look()
        self._take(waiting, calls)
        return bool(waiting)

    def _take(self, waiting: deque[Operation[Any]], calls: deque[_Call]) -> None:
        with self._changed:
            waiting.extend(self._operations)
            calls.extend(self._calls)
            self._operations.clear()
            self._calls.clear()

    def _wait(self) -> bool:
        """Waits until there is something to write or the end; False where it is time to look."""
        with self._changed:
            pause = None if self._on_change is None else LOOK_SECONDS
            if not (self._operations or self._stopping):
                self._changed.wait(pause)
            return bool(self._operations or self._stopping)

    def _look(self) -> None:
        if self._on_change is None:
            return
        self._next_look = time.monotonic() + LOOK_SECONDS
        try:
            if self._committer.changed_elsewhere():
                self._loop.call_soon_threadsafe(self._on_change)
        except Exception as error:  # noqa: BLE001 - whatever it is, the next look may work
            if str(error) != self._said:
                self._said = str(error)
                report(logger, "What other processes write is seen late.", error)

    def _finish(
        self, futures: list[asyncio.Future[Any]], outcomes: list[Outcome], rows: list[RowT]
    ) -> None:
        if rows:
            self._publish(rows)
        for future, outcome in zip(futures, outcomes, strict=True):
            if future.cancelled():
                continue
            if outcome.error is not None:
                future.set_exception(outcome.error)
            else:
                future.set_result(outcome.result)

    async def close(self, timeout: float) -> None:
        """Lets the thread finish what it has begun, for at most `timeout` seconds."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        await asyncio.to_thread(self._thread.join, timeout)
