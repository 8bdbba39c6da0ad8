"""Group commit: several waiting operations in one transaction, a savepoint each."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection, Engine

from task_copilot.clock import Clock
from task_copilot.database.transaction import Operation, Transaction
from task_copilot.errors import StorageError

MAX_OPERATIONS = 100
MAX_SECONDS = 0.020
"""A transaction ends after so many operations or so long, whichever is first: other
processes wait for the lock meanwhile."""

RowT = TypeVar("RowT")


@dataclass(slots=True)
class Outcome:
    """What became of one operation: its result, or the error that undid it."""

    result: Any = None
    error: BaseException | None = None


class _StorageFailed(Exception):
    """The storage refused an operation, as it does when the disk is full."""

    def __init__(self, meaning: StorageError) -> None:
        super().__init__(str(meaning))
        self.meaning = meaning


class Committer(Generic[RowT]):
    """Runs operations on the one writing connection of this process.

    `number` is called last in each transaction: it gives the waiting events their place in
    the log and returns the rows that others may see after the commit. `check` raises if
    the tables are no longer the ones that this program knows; `translate` turns a
    driver's error into ours.
    """

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        *,
        number: Callable[[Transaction], list[RowT]],
        check: Callable[[Any], None],
        translate: Callable[[BaseException], BaseException],
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._number = number
        self._check = check
        self._translate = translate
        self._connection: Connection | None = None

    def commit(self, waiting: deque[Operation[Any]]) -> tuple[list[Outcome], list[RowT]]:
        """Takes operations from the left of `waiting`, as many as one transaction may hold,
        and commits them. Returns their outcomes in order, and the new rows of the log.
        """
        taken = [waiting.popleft() for _ in range(min(len(waiting), MAX_OPERATIONS))]
        outcomes: list[Outcome] = []
        try:
            rows = self._transact(taken, outcomes)
        except _StorageFailed as failure:
            self._discard_connection()
            if len(taken) == 1:
                return [Outcome(error=failure.meaning)], []
            # One operation met the storage's limits and undid its neighbours: each alone.
            return self._one_by_one(taken)
        except Exception as error:  # noqa: BLE001 - the callers get it
            self._discard_connection()
            return [Outcome(error=self._translate(error)) for _ in taken], []
        waiting.extendleft(reversed(taken[len(outcomes) :]))
        return outcomes, rows

    def _one_by_one(self, taken: list[Operation[Any]]) -> tuple[list[Outcome], list[RowT]]:
        outcomes: list[Outcome] = []
        rows: list[RowT] = []
        for operation in taken:
            outcome, new = self.commit(deque([operation]))
            outcomes += outcome
            rows += new
        return outcomes, rows

    def _transact(self, taken: list[Operation[Any]], outcomes: list[Outcome]) -> list[RowT]:
        connection = self.connection
        with connection.begin() as scope:
            self._check(connection.connection.driver_connection)
            transaction = Transaction(connection, self._clock())
            self._run_all(taken, transaction, outcomes)
            if all(outcome.error for outcome in outcomes):
                scope.rollback()
                return []
            rows = self._number(transaction)
        for notify in transaction.after_commit:
            notify()
        return rows

    def _run_all(
        self, taken: list[Operation[Any]], transaction: Transaction, outcomes: list[Outcome]
    ) -> None:
        deadline = time.monotonic() + MAX_SECONDS
        alone = len(taken) == 1
        for operation in taken:
            outcomes.append(self._run(operation, transaction, savepoint=not alone))
            if time.monotonic() > deadline:
                return

    def _run(
        self, operation: Operation[Any], transaction: Transaction, *, savepoint: bool
    ) -> Outcome:
        # A savepoint through the driver: SQLAlchemy's costs more than many an operation.
        execute = transaction.connection.connection.driver_connection.execute  # type: ignore[union-attr]
        events, hooks = len(transaction.outbox), len(transaction.after_commit)
        if savepoint:
            execute("SAVEPOINT operation")
        try:
            outcome = Outcome(operation(transaction))
        except Exception as error:
            meaning = self._translate(error)
            if isinstance(meaning, StorageError):
                # The storage may have rolled back the whole transaction by itself.
                raise _StorageFailed(meaning) from error
            if savepoint:
                execute("ROLLBACK TO operation")
            del transaction.outbox[events:], transaction.after_commit[hooks:]
            outcome = Outcome(error=error)
        if savepoint:
            execute("RELEASE operation")
        return outcome

    @property
    def connection(self) -> Connection:
        """The writing connection, opened when it is first needed."""
        if self._connection is None:
            self._connection = self._engine.connect()
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
