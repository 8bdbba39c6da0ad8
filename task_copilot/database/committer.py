"""Group commit: several waiting operations in one transaction.

An operation that fails undoes itself and leaves the others. Most fail before they have
written anything, and then there is nothing to undo; where one has, the transaction is
rolled back and each of its operations gets one of its own.
"""

import contextlib
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection

from task_copilot.clock import Clock
from task_copilot.database.engine import Engine
from task_copilot.database.outage import Outages
from task_copilot.database.transaction import Operation, Transaction
from task_copilot.errors import StorageError, StorageUnreachable

MAX_OPERATIONS = 100
MAX_SECONDS = 0.020
"""A transaction ends after so many operations or so long, whichever is first: other
processes wait for the lock meanwhile."""

RowT = TypeVar("RowT")

Number = Callable[[Transaction], Callable[[], list[RowT]]]
"""Called last in each transaction: gives the waiting events their place in the log, and returns
what tells the new rows after the commit."""


@dataclass(slots=True)
class Outcome:
    """What became of one operation: its result, or the error that undid it."""

    result: Any = None
    error: BaseException | None = None


BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Seconds: a commit takes one to three; whoever waits for other processes ten at most."""


class CommitTimes:
    """How long transactions took, with their wait for the lock, as a histogram."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._counts = [0] * (len(BUCKETS) + 1)

    def add(self, seconds: float) -> None:
        """Counts one transaction."""
        self.seconds += seconds
        self._counts[bisect_left(BUCKETS, seconds)] += 1

    def cumulated(self) -> list[tuple[str, float]]:
        """How many took at most so long, bucket by bucket, as Prometheus wants them."""
        bounds = [*map(str, BUCKETS), "+Inf"]
        return list(zip(bounds, accumulate(self._counts), strict=True))


def commit(engine: Engine, driver: Any, *, announce: bool) -> bool:
    """Ends a transaction that may write, also where only the answer to that was lost: False then,
    and with it the results of statements that were sent along."""
    try:
        engine.commit(driver, announce=announce)
    except Exception as error:
        if not engine.was_committed(driver, error):
            raise
        return False
    return True


class _Undone(Exception):
    """An operation failed in a way that takes the whole transaction with it."""

    def __init__(self, error: BaseException, *, at_the_end: bool = False) -> None:
        super().__init__(str(error))
        self.error = error
        self.at_the_end = at_the_end


class Committer(Generic[RowT]):
    """Runs operations on the one writing connection of this process.

    `generation` numbers the files that the database has been in. It is called before and after
    each transaction: with another number the connection is a new one, and what went into the old
    file is done again. Where the server of the database goes away, a transaction that is certainly
    not committed is done again as soon as it is back; `outages` says for how long.
    """

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        *,
        number: Number[RowT],
        outages: Outages,
        generation: Callable[[], int] = lambda: 0,
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._number = number
        self._outages = outages
        self._current_generation = generation
        self._generation = 0
        self._connection: Connection | None = None
        self._seen: tuple[int, int] | None = None
        self.times = CommitTimes()

    def commit(
        self,
        waiting: deque[Operation[Any]],
        deadline: float | None = None,
        refill: Callable[[], None] = lambda: None,
    ) -> tuple[list[Outcome], list[RowT]]:
        """Takes operations from the left of `waiting`, as many as one transaction may hold,
        and commits them. Returns their outcomes in order, and the new rows of the log.

        Where the first of them has waited for other processes, `refill` is called, which adds to
        the right of `waiting` what has come meanwhile, and the transaction takes that too.
        """
        deadline = self._outages.deadline() if deadline is None else deadline
        taken = [waiting.popleft() for _ in range(min(len(waiting), MAX_OPERATIONS))]
        outcomes: list[Outcome] = []

        def more() -> None:
            refill()
            while waiting and len(taken) < MAX_OPERATIONS:
                taken.append(waiting.popleft())

        try:
            rows = self._outages.through(lambda: self._transact(taken, outcomes, more), deadline)
        except _Undone as failure:
            if isinstance(failure.error, StorageError) or failure.at_the_end:
                self._discard_connection()
            if len(taken) == 1:
                return [Outcome(error=failure.error)], []
            return self._one_by_one(taken, deadline, failure.error)
        except Exception as error:  # noqa: BLE001 - the callers get it
            self._discard_connection()
            return [Outcome(error=self._meaning(error)) for _ in taken], []
        waiting.extendleft(reversed(taken[len(outcomes) :]))
        return outcomes, rows

    def _one_by_one(
        self, taken: list[Operation[Any]], deadline: float, cause: BaseException
    ) -> tuple[list[Outcome], list[RowT]]:
        outcomes: list[Outcome] = []
        rows: list[RowT] = []
        for operation in taken:
            if isinstance(cause, StorageError) and time.monotonic() > deadline:
                # What kept the first from it, such as a lock, would keep each for as long again.
                outcomes.append(Outcome(error=cause))
                continue
            outcome, new = self.commit(deque([operation]), deadline)
            outcomes += outcome
            rows += new
        return outcomes, rows

    def _transact(
        self, taken: list[Operation[Any]], outcomes: list[Outcome], more: Callable[[], None]
    ) -> list[RowT]:
        began = time.monotonic()
        while True:
            self._keep_up()
            try:
                transaction, rows = self._attempt(taken, outcomes, more)
            except Exception as error:
                if isinstance(meaning := self._meaning(error), StorageUnreachable):
                    self._discard_connection()
                    outcomes.clear()
                    raise meaning from error
                raise
            if self._current_generation() == self._generation:
                break
            outcomes.clear()  # they are in a file that nobody will open again
        self.times.add(time.monotonic() - began)
        for notify in transaction.after_commit:
            notify()
        return rows

    def _attempt(
        self, taken: list[Operation[Any]], outcomes: list[Outcome], more: Callable[[], None]
    ) -> tuple[Transaction, list[RowT]]:
        connection = self.connection
        driver: Any = connection.connection.driver_connection
        self._engine.begin(driver)
        try:
            self._engine.check_unchanged(driver)
            transaction = Transaction(connection, self._clock, lambda: self._engine.hold(driver))
            self._run_all(taken, transaction, outcomes, driver, more)
            rows = self._finish(transaction, driver)
        except BaseException:
            with contextlib.suppress(Exception):  # the error that led here says more
                self._engine.rollback(driver)
            raise
        finally:
            self._end_account(connection)
        return transaction, rows

    def _finish(self, transaction: Transaction, driver: Any) -> list[RowT]:
        """Commits; the new rows of the log."""
        try:
            rows = self._number(transaction)
            answered = commit(self._engine, driver, announce=bool(transaction.outbox))
        except Exception as error:
            # Statements of an operation may be carried out, and fail, only now.
            if isinstance(meaning := self._meaning(error), StorageError):
                raise
            raise _Undone(meaning, at_the_end=True) from error
        if not answered and self._engine.begins_late:
            return []  # their numbers are not known; who follows the log is told by the server
        return rows()

    def _end_account(self, connection: Connection) -> None:
        """SQLAlchemy has one of its own of each transaction."""
        try:
            if connection.in_transaction():
                connection.rollback()
        except Exception:  # noqa: BLE001 - it is broken, and who needs it has said so
            self._discard_connection()

    def _run_all(
        self,
        taken: list[Operation[Any]],
        transaction: Transaction,
        outcomes: list[Outcome],
        driver: Any,
        more: Callable[[], None],
    ) -> None:
        for operation in taken:  # which grows meanwhile
            outcomes.append(self._run(operation, transaction, driver))
            if time.monotonic() - transaction.began > MAX_SECONDS:
                return
            if len(outcomes) == 1 and self._engine.begins_late:
                more()

    def _run(self, operation: Operation[Any], transaction: Transaction, driver: Any) -> Outcome:
        written = self._engine.rows_changed(driver)
        events, hooks = len(transaction.outbox), len(transaction.after_commit)
        try:
            return Outcome(operation(transaction))
        except Exception as error:
            if self._engine.failed_to_begin(driver):
                raise
            meaning = self._meaning(error)
            if self._engine.rows_changed(driver) != written or isinstance(meaning, StorageError):
                raise _Undone(meaning) from error
            del transaction.outbox[events:], transaction.after_commit[hooks:]
            return Outcome(error=meaning)

    def _meaning(self, error: BaseException) -> BaseException:
        if isinstance(error, _Undone):
            return error.error
        return self._engine.translate(error) or error

    def changed_elsewhere(self) -> bool:
        """Whether anyone but this committer has committed since this was last asked."""
        self._keep_up()
        driver: Any = self.connection.connection.driver_connection
        # The number only compares with itself on the same connection.
        seen, self._seen = self._seen, (id(driver), self._engine.version(driver))
        return seen != self._seen

    def _keep_up(self) -> None:
        generation = self._current_generation()
        if generation != self._generation:
            self._generation = generation
            self._discard_connection()

    @property
    def connection(self) -> Connection:
        """The writing connection, opened when it is first needed."""
        if self._connection is None:
            self._connection = self._engine.write.connect()
        return self._connection

    def _discard_connection(self) -> None:
        """After a failed transaction nobody knows the connection's state: take a new one."""
        if self._connection is not None:
            self._connection.invalidate()
            self._connection.close()
            self._connection = None

    def close(self) -> None:
        """Closes the writing connection; the next commit would open another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
