"""SQLite behind the interface that all kinds of databases have."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection

from task_copilot.database import sqlite
from task_copilot.database.engine import Migrate
from task_copilot.database.standing import StandingFile
from task_copilot.database.tables import SCHEMA_VERSION
from task_copilot.errors import StorageError, TaskCopilotError
from task_copilot.private import make_folder

STILL_READ = "The database's files may still hold the old bytes until every session on it has ended"


class SqliteEngine:
    """A file. One that is deleted or replaced while it is open is noticed: see `StandingFile`."""

    begins_late = False

    def __init__(self, url: URL, *, durability: str) -> None:
        self.url = url
        self._file = file = StandingFile(sqlite.file_of(url))
        known = file.remember_companions
        self.write = sqlite.write_engine(url, durability=durability, on_connect=known)
        self.read = sqlite.read_engine(url, on_connect=known)

    @property
    def place(self) -> str:
        """The path of the file."""
        return str(self._file.path)

    # The functions are looked up at each call, as a module's are.

    def begin(self, driver: Any) -> None:
        """Takes the write lock."""
        sqlite.begin(driver)

    def hold(self, driver: Any) -> None:
        """Nothing to be done: `begin` has the lock."""

    def failed_to_begin(self, driver: Any) -> bool:  # noqa: ARG002 - `begin` would have raised
        """Never."""
        return False

    def begin_alone(self, driver: Any) -> None:
        """Takes the whole file."""
        sqlite.begin_alone(driver)

    def check_unchanged(self, driver: Any) -> None:
        """Looks at the file's header."""
        sqlite.check_unchanged(driver)

    def rows_changed(self, driver: Any) -> int:
        """How many since the connection was opened."""
        return sqlite.rows_changed(driver)

    def commit(self, driver: Any, *, announce: bool) -> None:  # noqa: ARG002 - others look
        """Ends the transaction."""
        sqlite.commit(driver)

    def was_committed(self, driver: Any, error: BaseException) -> bool:  # noqa: ARG002
        """Never: no server stands between, and what failed here is rolled back."""
        return False

    def rollback(self, driver: Any) -> None:
        """Ends the transaction, if there is one."""
        sqlite.rollback(driver)

    def translate(self, error: BaseException) -> TaskCopilotError | None:
        """By the name of SQLite's error."""
        return sqlite.translate(error, self.url)

    def lost(self) -> None:
        """Nothing to be done: there is no server."""

    def stands(self) -> bool:
        """Whether the file is the one that was opened."""
        return self._file.stands()

    def is_missing(self) -> bool:
        """Whether the file is gone."""
        return self._file.is_missing

    def remember(self) -> None:
        """Takes the file for ours."""
        self._file.remember()

    def forget(self) -> None:
        """Takes it for another one."""
        self._file.forget()

    def clear_the_way(self) -> None:
        """Makes the folder, and removes what is left beside a file that is gone."""
        if not sqlite.is_address(self.url):  # which is for a file that is there
            _make_folder(self.url)
        try:
            self._file.remove_leftovers()
        except OSError as error:
            raise StorageError(
                f"What is left of the old database cannot be removed: {error}. End all sessions "
                f"and remove {self._file.path}-wal and {self._file.path}-shm."
            ) from None

    def bring_up_to_date(self, connection: Connection, migrate: Migrate) -> None:
        """Migrates under the write lock."""
        driver: Any = connection.connection.driver_connection
        version = sqlite.patiently(lambda: sqlite.stored_version(driver))
        if version < SCHEMA_VERSION or not sqlite.uses_wal(driver):
            sqlite.use_wal(driver)
        if version < SCHEMA_VERSION:
            sqlite.begin(driver)
            with connection.begin():  # ends what has begun
                # Another process may have been faster while this one waited for the lock.
                if sqlite.stored_version(driver) < SCHEMA_VERSION:
                    migrate(connection)
                    sqlite.mark_migrated(driver)

    def follow(self, wake: Callable[[], None]) -> None:  # noqa: ARG002 - SQLite tells nobody
        """The writing thread looks at `version`."""
        return

    def version(self, driver: Any) -> int:
        """SQLite's own number."""
        return sqlite.version(driver)

    def copy_into(self, driver: Any, path: Path) -> None:
        """Writes a copy, also while others write."""
        sqlite.copy_into(driver, path)

    def scrub(self, driver: Any) -> str | None:
        """Writes every page anew."""
        return None if sqlite.scrub(driver) else STILL_READ

    def close(self) -> None:
        """Closes the connections in the pools."""
        self.read.dispose()
        self.write.dispose()


def _make_folder(url: URL) -> None:
    folder = Path(url.database or "").parent
    try:
        make_folder(folder)
    except OSError as error:
        raise StorageError(
            f"The folder {folder} of the database cannot be made: {error.strerror}. Set "
            "TASK_COPILOT_DATABASE_URL to a file in a folder that can be written."
        ) from None
