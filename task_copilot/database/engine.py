"""What a kind of database has to do for the rest of the program.

There are two: SQLite for the sessions of one machine, PostgreSQL for those of several. Whatever
stands above this package knows neither; it gets a connection in a transaction, and statements
of SQLAlchemy that both understand.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import URL, Connection
from sqlalchemy import Engine as SqlEngine

from task_copilot.errors import TaskCopilotError

Migrate = Callable[[Connection], None]
"""Brings the tables to the newest version, in the transaction of the connection."""


class Follower(Protocol):
    """Says when others have committed, until it is closed."""

    def close(self) -> None:
        """Says nothing any more; returns once that is so."""


class Engine(Protocol):
    """One database. `driver` is always the driver's own connection, and of a writing engine.

    Every transaction that may write excludes all others, from `begin` to its end: operations read
    rows, decide, and write, and take it that nobody writes in between.
    """

    url: URL
    write: SqlEngine
    read: SqlEngine
    """Its connections see one state as long as a transaction lasts, and cannot write."""
    begins_late: bool
    """Whether it is the first operation of a transaction that waits for the others, not `begin`."""

    @property
    def place(self) -> str:
        """The database as people are told of it, without any secret."""

    # A transaction that may write

    def begin(self, driver: Any) -> None:
        """Begins one; raises StorageBusy where others keep it waiting for too long. It may only
        be on its way when this returns: until the first result of a statement, or `hold`."""

    def hold(self, driver: Any) -> None:
        """Returns once the transaction excludes all others; raises what `begin` and
        `check_unchanged` raise."""

    def failed_to_begin(self, driver: Any) -> bool:
        """Whether it never will; the error that tells so is no operation's own."""

    def begin_alone(self, driver: Any) -> None:
        """`begin`, where nobody else has the database open; raises StorageBusy where somebody
        has."""

    def check_unchanged(self, driver: Any) -> None:
        """Raises SchemaMismatch if another process has migrated the tables since the start; with
        the first result of a statement where the transaction is only on its way."""

    def rows_changed(self, driver: Any) -> int:
        """A number that is another one once something was written, or once the transaction can
        only be rolled back."""

    def commit(self, driver: Any, *, announce: bool) -> None:
        """Ends it; what it wrote is safe then. `announce`: there is something in it for those
        who follow."""

    def was_committed(self, driver: Any, error: BaseException) -> bool:
        """Whether a `commit` that failed with `error` has committed nevertheless; raises
        OutcomeUnknown where that cannot be found out."""

    def rollback(self, driver: Any) -> None:
        """Ends it, if there is one, and undoes what it wrote."""

    # Failures

    def translate(self, error: BaseException) -> TaskCopilotError | None:
        """What a driver's error means for the user; None if it is a defect of ours."""

    def lost(self) -> None:
        """Uses none of the reading connections again that were made up to now."""

    # The database as it stands

    def stands(self) -> bool:
        """Whether it is still the one that was opened. Asked before each transaction."""

    def is_missing(self) -> bool:
        """Whether it is certain that there is none any more."""

    def remember(self) -> None:
        """Takes what stands there for ours; to be called with a connection open."""

    def forget(self) -> None:
        """Takes whatever stands there for another one."""

    def clear_the_way(self) -> None:
        """Does what has to be done before it is opened; raises StorageError."""

    def bring_up_to_date(self, connection: Connection, migrate: Migrate) -> None:
        """Makes or changes its tables where that is needed; several processes may do so at once.

        Raises SchemaMismatch for a database of a newer version or another program, which is
        left as it is.
        """

    # What others do

    def follow(self, wake: Callable[[], None]) -> Follower | None:
        """Calls `wake`, in any thread, when another process may have committed; None where
        `version` has to be looked at for that."""

    def version(self, driver: Any) -> int:
        """A number that is another one after a commit of any other connection, not of this
        one."""

    # Copies, and what is left of what was deleted

    def copy_into(self, driver: Any, path: Path) -> None:
        """Writes a copy into the empty file `path`; raises StorageError where that cannot be."""

    def scrub(self, driver: Any) -> str | None:
        """Removes the bytes of deleted values; says where there may still be some, None where
        there are none. Raises StorageError."""

    def close(self) -> None:
        """Lets go of its connections, and keeps nobody waiting who waits for it."""
