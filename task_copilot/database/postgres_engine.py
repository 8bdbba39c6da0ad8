"""PostgreSQL behind the interface that all kinds of databases have."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, event
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.pool import ConnectionPoolEntry

from task_copilot.database import postgres, postgres_errors
from task_copilot.database.engine import Migrate
from task_copilot.database.outage import Outages
from task_copilot.database.postgres_follower import PostgresFollower
from task_copilot.database.tables import SCHEMA_VERSION, metadata
from task_copilot.database.urls import shown
from task_copilot.errors import (
    OutcomeUnknown,
    StorageError,
    TaskCopilotError,
)

LEFT_BYTES = (
    "The tables hold the old bytes no more; the server's write-ahead log does until it is "
    "recycled, and so do its archive, standbys and backups"
)


class PostgresEngine:
    """A database on a server, which may go away and come back."""

    begins_late = True

    def __init__(self, url: URL, *, durability: str) -> None:
        self.url = url
        self._place = shown(url)
        self._outages = Outages()
        self._own: set[int] = set()
        self.write = postgres.write_engine(url, durability=durability)
        self.read = postgres.read_engine(url)
        self._lost_at = 0.0
        event.listen(self.read, "connect", self._dated)
        event.listen(self.read, "checkout", self._refuse_lost)
        event.listen(self.write, "connect", self._opened)
        event.listen(self.write, "close", self._closed)

    def _opened(self, driver: Any, _record: Any) -> None:
        driver.pid = driver.info.backend_pid
        self._own.add(driver.pid)

    def _closed(self, driver: Any, _record: Any) -> None:
        self._own.discard(driver.pid)

    @property
    def place(self) -> str:
        """The URL without secrets."""
        return self._place

    def begin(self, driver: Any) -> None:
        """Asks for the advisory lock of those who write, along with the first statement."""
        postgres.begin(driver)

    def hold(self, driver: Any) -> None:
        """Waits for the lock."""
        postgres.hold(driver)

    def failed_to_begin(self, driver: Any) -> bool:
        """Whether the lock could not be had."""
        return postgres.failed_to_begin(driver)

    def begin_alone(self, driver: Any) -> None:
        """The same, where nobody else is connected."""
        postgres.begin_alone(driver)

    def check_unchanged(self, driver: Any) -> None:
        """Looks at what `begin` reads, once it is there."""
        postgres.check_unchanged(driver)

    def rows_changed(self, driver: Any) -> int:
        """How many statements have written."""
        return postgres.rows_changed(driver)

    def commit(self, driver: Any, *, announce: bool) -> None:
        """Ends the transaction and notifies those who listen."""
        postgres.commit(driver, announce=announce)

    def was_committed(self, driver: Any, error: BaseException) -> bool:  # noqa: ARG002
        """Asks the server, as soon as it is back, what became of a lost commit."""
        if not postgres.may_be_committed(driver):
            return False
        try:
            return self._outages.through(
                lambda: self._is_committed(driver), self._outages.deadline()
            )
        except StorageError as failure:
            raise OutcomeUnknown(
                f"The connection to {self.place} was lost during a commit, and the server does "
                "not say what became of it: the change may be written or not. Look before you "
                "make it again; a call with a requestId can be sent again as it is."
            ) from failure

    def _is_committed(self, driver: Any) -> bool:
        try:
            with self.write.connect() as asking:
                return postgres.is_committed(driver, asking.connection.driver_connection)
        except Exception as error:
            raise self.translate(error) or error from error

    def rollback(self, driver: Any) -> None:
        """Ends the transaction, if there is one."""
        postgres.rollback(driver)

    def translate(self, error: BaseException) -> TaskCopilotError | None:
        """By the code of PostgreSQL's error."""
        return postgres_errors.translate(error, self.place)

    def lost(self) -> None:
        """The server has ended one connection, and with it probably all."""
        self._lost_at = time.monotonic()

    def _dated(self, _driver: Any, record: ConnectionPoolEntry) -> None:
        record.info["made"] = time.monotonic()

    def _refuse_lost(self, driver: Any, record: ConnectionPoolEntry, _proxy: Any) -> None:
        if driver.closed or record.info["made"] <= self._lost_at:
            raise InvalidatePoolError

    # The server has one database of a name, and who replaces it ends the connections to it.

    def stands(self) -> bool:
        """Always: see above."""
        return True

    def is_missing(self) -> bool:
        """Never: see above."""
        return False

    def remember(self) -> None:
        """Nothing to be done."""

    def forget(self) -> None:
        """Nothing to be done."""

    def clear_the_way(self) -> None:
        """Nothing to be done."""

    def bring_up_to_date(self, connection: Connection, migrate: Migrate) -> None:
        """Migrates under the lock of those who write."""
        driver: Any = connection.connection.driver_connection
        postgres.check_server(driver)
        if postgres.stored_version(driver) == SCHEMA_VERSION:
            return
        postgres.begin_locked(driver)
        driver.answers_within = None  # large tables may be written anew
        with connection.begin():  # ends what has begun
            # Another process may have been faster while this one waited for the lock.
            if postgres.stored_version(driver) < SCHEMA_VERSION:
                migrate(connection)

    def follow(self, wake: Callable[[], None]) -> PostgresFollower:
        """Listens on a connection of its own."""
        return PostgresFollower(postgres.connecting(self.url), wake, self._own, self.translate)

    def version(self, driver: Any) -> int:
        """Nobody asks: `follow` tells."""
        raise NotImplementedError

    def copy_into(self, driver: Any, path: Path) -> None:  # noqa: ARG002
        """Refused: PostgreSQL has a program of its own for it."""
        raise StorageError(
            "backup copies SQLite files. For this database use PostgreSQL's own: pg_dump "
            f"--format=custom --file={path.parent / 'task-copilot.dump'} NAME; or task-copilot "
            "export FILE"
        )

    def scrub(self, driver: Any) -> str | None:
        """Writes the tables anew; what lies elsewhere on the server stays for a while."""
        postgres.scrub(driver, [table.name for table in metadata.sorted_tables])
        return LEFT_BYTES

    def close(self) -> None:
        """Closes the connections in the pools."""
        self._outages.close()
        self.read.dispose()
        self.write.dispose()
