"""Moving a SQLite database to PostgreSQL: the same rows, numbers and epoch.

Three commits, each of which is on the disk before the next:

1. The copy, whole and compared with the original, but closed: no program uses it.
2. The mark in the original: from then on no program uses that one. The original was locked for
   writing since before the first row was read, so nothing that was written is missing.
3. The copy is opened for use.

So at no moment can both be written. After an end between 1 and 2 the original is used as before,
and the copy, which may be behind it by then, is made anew by the next attempt. After an end between
2 and 3 the next attempt only does what is left.
"""

import secrets
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy import Connection

from task_copilot.database import arrival, checksums, departure, moved
from task_copilot.database.arrival import Arrival
from task_copilot.database.moved import Mark
from task_copilot.database.postgres_engine import PostgresEngine
from task_copilot.database.tables import SCHEMA_VERSION
from task_copilot.errors import DatabaseMoved, InvalidInput, SchemaMismatch, StorageError
from task_copilot.transfer_rows import TABLES

MOVE_BYTES = 8

Progress = Callable[[str, int, int], None]
"""Hears what is done with a table, with how many rows of how many."""

Outcome = Literal["moved", "finished", "moved before", "would be moved", "would be finished"]


@dataclass(frozen=True)
class Report:
    """What was done, or would be, and what the copy holds."""

    outcome: Outcome
    address: str
    epoch: str
    head: int
    rows: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Move:
    """One attempt. `source` is SQLite's own connection in a transaction that is locked for
    writing, unless it is `dry`: then everything is done but the commits."""

    source: Any
    connection: Connection
    target: Any
    address: str
    now: str
    progress: Progress
    dry: bool

    def run(self) -> Report:
        """Raises TaskCopilotError; what is left then, the same attempt again finishes."""
        mark, waits = moved.mark_of(self.source), arrival.waiting(self.target)
        if mark is not None and mark.address != self.address:
            raise DatabaseMoved(f"This database was moved to {mark.address} already ({mark.at}).")
        if mark is not None and waits is not None:
            return self._finish(mark, waits)
        if waits is not None:
            self._require_own(waits)
        elif not arrival.is_empty(self.target):
            if mark is None:
                raise InvalidInput(
                    f"{self.address} is not empty. Nothing was changed; move into a new database: "
                    "createdb NAME"
                )
            return Report("moved before", self.address, mark.epoch, mark.head)
        return self._move()

    def _require_own(self, waits: Arrival) -> None:
        if waits.epoch != departure.log_of(self.source)[0]:
            raise InvalidInput(
                f"{self.address} holds a copy of another database, whose move was not finished. "
                "Nothing was changed; finish that one, or move into a new database."
            )

    def _finish(self, mark: Mark, waits: Arrival) -> Report:
        if waits.move != mark.move or arrival.log_of(self.target) != (mark.epoch, mark.head):
            raise StorageError(
                f"{self.address} holds another copy than the one that this database was moved "
                "to. Nothing was changed."
            )
        if not self.dry:
            arrival.open_for_use(self.target)
        outcome: Outcome = "would be finished" if self.dry else "finished"
        return Report(outcome, self.address, mark.epoch, mark.head)

    def _move(self) -> Report:
        arrival.make_tables(self.connection, self.target)
        rows = self._copy()
        epoch, head = departure.log_of(self.source)
        arrival.set_log(self.target, epoch, head)
        arrival.set_numbers(self.target, departure.numbers_of(self.source))
        self._compare()
        if self.dry:
            return Report("would be moved", self.address, epoch, head, rows)
        arrival.prepare_plans(self.target)
        self._commit(Mark(secrets.token_hex(MOVE_BYTES), self.address, epoch, head, self.now))
        return Report("moved", self.address, epoch, head, rows)

    def _copy(self) -> dict[str, int]:
        copied = {}
        for table in TABLES:
            total = departure.count(self.source, table)

            def told(done: int, name: str = table.name, total: int = total) -> None:
                self.progress(f"Copying {name}", done, total)

            with closing(departure.rows(self.source, table)) as rows:
                copied[table.name] = arrival.fill(self.target, table, rows, told)
        return copied

    def _compare(self) -> None:
        """Raises StorageError where the copy is not what the original is."""
        for number, table in enumerate(TABLES):
            self.progress("Comparing tables", number, len(TABLES))
            ours = checksums.of_sqlite(self.source, table)
            copied = checksums.of_postgres(self.target, table)
            if ours != copied:
                found = f"{copied.rows:,} rows for {ours.rows:,}"
                raise _different(table.name, found if ours.rows != copied.rows else "other values")
        self.progress("Comparing tables", len(TABLES), len(TABLES))
        log, copied_log = departure.log_of(self.source), arrival.log_of(self.target)
        if log != copied_log:
            raise _different("log", f"{copied_log} for {log}")
        numbers, copied_numbers = (
            departure.numbers_of(self.source),
            arrival.numbers_of(self.target),
        )
        if numbers != copied_numbers:
            raise _different("numbers", f"{copied_numbers} for {numbers}")

    def _commit(self, mark: Mark) -> None:
        arrival.commit_closed(self.target, Arrival(mark.move, mark.epoch))
        moved.mark(self.source, mark)
        self.source.execute("COMMIT")
        arrival.begin_opening(self.target)
        arrival.open_for_use(self.target)


def _different(name: str, found: str) -> StorageError:
    return StorageError(
        f"The copy of {name} is not what the original is: {found}. Nothing was changed. Check the "
        "disks of both machines; task-copilot doctor looks at the original."
    )


@contextmanager
def target_of(engine: PostgresEngine) -> Iterator[tuple[Connection, Any]]:
    """A connection in the transaction of a move, which is undone unless it is committed."""
    with engine.write.connect() as connection, connection.begin() as undone:
        driver: Any = connection.connection.driver_connection
        arrival.begin(driver)
        try:
            yield connection, driver
        finally:
            undone.rollback()


def require_newest(version: int) -> None:
    """Raises SchemaMismatch for tables that have to be changed first."""
    if version != SCHEMA_VERSION:
        raise SchemaMismatch(
            f"Its tables are of version {version}, and would be brought to {SCHEMA_VERSION} first. "
            "A dry run changes nothing: open it once, as task-copilot tasks does, and try again."
        )
