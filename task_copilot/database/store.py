"""The database of a process: reads side by side, writes one after the other."""

import asyncio
import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from sqlalchemy import URL, Connection, make_url
from sqlalchemy.exc import ArgumentError

from task_copilot.clock import Clock, system_clock
from task_copilot.database import sqlite
from task_copilot.database.committer import Committer
from task_copilot.database.standing import StandingFile
from task_copilot.database.tables import SCHEMA_VERSION
from task_copilot.database.transaction import Operation, Transaction
from task_copilot.database.writer import Writer
from task_copilot.errors import StorageError
from task_copilot.private import make_folder

logger = logging.getLogger(__name__)

T = TypeVar("T")
RowT = TypeVar("RowT")


def parse_url(text: str) -> URL:
    """The URL of a database that this program can use; raises StorageError otherwise."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise _no_database_url(text, "it is not a URL") from None
    if url.drivername not in {"sqlite", "sqlite+pysqlite"} or url.database in _NO_FILES:
        raise _no_database_url(url.render_as_string(), "it names no SQLite file")
    return url


_NO_FILES = (None, "", ":memory:")


def _no_database_url(text: str, reason: str) -> StorageError:
    return StorageError(
        f"TASK_COPILOT_DATABASE_URL cannot be {text!r}: {reason}. "
        "It looks like sqlite:////home/me/tasks.db"
    )


def _make_folder(url: URL) -> None:
    if sqlite.is_address(url):
        return  # it is for a file that is there
    folder = Path(url.database or "").parent
    try:
        make_folder(folder)
    except OSError as error:
        raise StorageError(
            f"The folder {folder} of the database cannot be made: {error.strerror}. Set "
            "TASK_COPILOT_DATABASE_URL to a file in a folder that can be written."
        ) from None


def _nothing() -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class Surroundings(Generic[RowT]):
    """What a database asks of the program around it, which may open files.

    `alone` keeps the other processes from opening the database meanwhile. `verify` is called
    after each opening, before anything else is read or written, and returns what it found as
    a sentence for the user. `committed` is called after each commit that added to the log.
    `make_private` is called before each opening; it makes a missing file, and raises StorageError
    where others could use what is there.
    """

    alone: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext
    verify: "Callable[[Database[RowT]], str | None]" = lambda _database: None
    committed: Callable[[], None] = _nothing
    make_private: Callable[[], None] = _nothing


class Database(Generic[RowT]):
    """Opened by `open_database`. Blocking calls run in threads of its own.

    Where its file is deleted or another one is put in its place, the next operation goes on
    with what stands there then: `generation` counts up, and `on_replaced` is called, in any
    thread.
    """

    def __init__(
        self,
        url: URL,
        *,
        durability: str,
        clock: Clock,
        number: Callable[[Transaction], list[RowT]],
        surroundings: Surroundings[RowT] | None = None,
    ) -> None:
        self.url = url
        self.generation = 0
        self.on_replaced: Callable[[], None] = _nothing
        self._file = file = StandingFile(sqlite.file_of(url))
        self._around: Surroundings[RowT] = surroundings or Surroundings()
        self._opening = threading.RLock()
        known = file.remember_companions
        self.write_engine = sqlite.write_engine(url, durability=durability, on_connect=known)
        self.read_engine = sqlite.read_engine(url, on_connect=known)
        self.committer = Committer(
            self.write_engine,
            clock,
            dialect=sqlite,
            number=number,
            translate=self._translate,
            generation=self._present_generation,
        )
        self._readers = ThreadPoolExecutor(sqlite.READERS, thread_name_prefix="reader")
        self._writer: Writer[RowT] | None = None

    def start(self, publish: Callable[[list[RowT]], None]) -> None:
        """Starts the writing thread; `publish` gets each commit's rows in the event loop."""
        self._writer = Writer(self.committer, publish, self._around.committed)

    async def write(self, operation: Operation[T]) -> T:
        """Commits `operation` with its events and returns its result.

        Raises what it raised, or StorageError; then nothing was written.
        """
        if self._writer is None:
            raise RuntimeError("the database was not started")
        return await self._writer.run(operation)

    async def read(self, query: Callable[[Connection], T]) -> T:
        """The result of `query` in one read transaction, so that all of it is of one state."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, self.read_now, query)

    def read_now(self, query: Callable[[Connection], T]) -> T:
        """`read` for callers outside the event loop."""
        generation = self._present_generation()
        with self._translated(), self.read_engine.connect() as connection:
            with connection.begin():
                result = query(connection)
            if generation != self.generation:
                connection.invalidate()  # it still has the old file open
        return result

    def write_now(self, operation: Operation[T]) -> T:
        """`write` for callers outside the event loop, one at a time."""
        [outcome], rows = self.committer.commit(deque([operation]))
        if outcome.error is not None:
            raise outcome.error
        if rows:
            self._around.committed()
        result: T = outcome.result
        return result

    def in_transaction(
        self, step: Callable[[Connection], T], *, begin: Callable[[Any], None] = sqlite.begin
    ) -> T:
        """The result of `step` on a connection of its own, under the write lock. Blocking; for
        what belongs to no operation. Raises StorageError."""
        with self._translated(), self.write_engine.connect() as connection:
            driver: Any = connection.connection.driver_connection
            begin(driver)
            try:
                result = step(connection)
                sqlite.commit(driver)
            except BaseException:
                sqlite.rollback(driver)
                raise
            return result

    def alone(self, step: Callable[[Connection], T]) -> T:
        """`in_transaction` while nobody else has the database open; raises StorageBusy where
        somebody has."""
        self.read_engine.dispose()
        self.committer.close()
        return self.in_transaction(step, begin=sqlite.begin_alone)

    def copy_into(self, path: Path) -> None:
        """Writes a whole copy of the present state into an empty file. Blocking.

        Raises StorageError where the copy cannot be written or is not sound.
        """
        with self._translated(), self.write_engine.connect() as connection:
            sqlite.copy_into(connection.connection.driver_connection, path)

    def scrub(self) -> bool:
        """Removes from the files what was removed from the tables. Blocking; as long as it
        takes to write the database anew, other processes cannot write.

        False where another process still reads the old state: the bytes go with its end.
        Raises StorageError where there is no room.
        """
        with self._translated(), self.write_engine.connect() as connection:
            return sqlite.scrub(connection.connection.driver_connection)

    def _translate(self, error: BaseException) -> BaseException:
        return sqlite.translate(error, self.url) or error

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            meaning = sqlite.translate(error, self.url)
            if meaning is None:
                raise
            raise meaning from error

    def watch(self, on_change: Callable[[], None]) -> None:
        """Calls `on_change` in the event loop when another process has committed."""
        if self._writer is not None:
            self._writer.watch(on_change)

    async def close(self, timeout: float = 1.0, *, wait_for_readers: bool = False) -> None:
        """Finishes the commit under way, for at most `timeout` seconds, and lets go; of the
        threads that read, too, where `wait_for_readers` says so."""
        if self._writer is not None:
            await self._writer.close(timeout)
        self._readers.shutdown(wait=wait_for_readers, cancel_futures=True)
        self.read_engine.dispose()
        self.write_engine.dispose()

    def prepare(self) -> str | None:
        """Makes or upgrades the tables where that is needed. Blocking.

        Returns what the verification found. Raises SchemaMismatch for a database of a newer
        version or another program, and StorageError where the file cannot be used; it is left
        as it is then.
        """
        with self._opening, self._translated(), self._around.alone():
            self._clear_the_way()
            with self.write_engine.connect() as connection:
                driver_connection: Any = connection.connection.driver_connection
                version = sqlite.patiently(lambda: sqlite.stored_version(driver_connection))
                if version < SCHEMA_VERSION or not sqlite.uses_wal(driver_connection):
                    sqlite.use_wal(driver_connection)
                if version < SCHEMA_VERSION:
                    self._migrate(connection)
                return self._take_possession()

    def _take_possession(self) -> str | None:
        self.generation += 1
        self._file.remember()
        try:
            # A connection in the pool, so that the file's number is given to no other.
            self.read_engine.connect().close()
            return self.verify_now()
        except BaseException:
            self._file.forget()
            raise

    def _clear_the_way(self) -> None:
        _make_folder(self.url)
        try:
            self._file.remove_leftovers()
        except OSError as error:
            raise StorageError(
                f"What is left of the old database cannot be removed: {error}. End all sessions "
                f"and remove {self._file.path}-wal and {self._file.path}-shm."
            ) from None
        # Not before: a file that is there would keep what is left of another one from being seen.
        self._around.make_private()

    def verify_now(self) -> str | None:
        """Looks whether the log holds all that listeners have had; says what was found."""
        return self._around.verify(self)

    async def verify(self) -> str | None:
        """`verify_now` for callers in the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, self.verify_now)

    def _present_generation(self) -> int:
        """Makes sure that the file is the one that is open; raises StorageError."""
        if not self._file.stands():
            with self._opening:
                if not self._file.stands():  # no other thread has been faster
                    self._open_anew()
        return self.generation

    def _open_anew(self) -> None:
        missing = self._file.is_missing
        self.read_engine.dispose()  # the writing connection belongs to the committer
        self.prepare()
        logger.warning(
            "The database %s was %s while this server ran. It goes on with %s; what the old one "
            "held is not in it, and listeners start anew.",
            self._file.path,
            *(
                ("deleted or moved away", "a new, empty one")
                if missing
                else ("replaced", "the one that stands there now")
            ),
        )
        self.on_replaced()

    def _migrate(self, connection: Connection) -> None:
        from task_copilot.database.migrate import migrate

        driver_connection: Any = connection.connection.driver_connection
        sqlite.begin(driver_connection)
        with connection.begin():  # ends what has begun
            # Another process may have been faster while this one waited for the lock.
            if sqlite.stored_version(driver_connection) < SCHEMA_VERSION:
                migrate(connection)
                sqlite.mark_migrated(driver_connection)


def open_database(
    url: str,
    *,
    number: Callable[[Transaction], list[RowT]],
    durability: str = "full",
    clock: Clock = system_clock,
    surroundings: Surroundings[RowT] | None = None,
) -> Database[RowT]:
    """Opens the database at `url` and brings its tables up to date. Blocking.

    Raises StorageError with what to do about it where that is not possible.
    """
    parsed = parse_url(url)
    try:
        database = Database(
            parsed,
            durability=durability,
            clock=clock,
            number=number,
            surroundings=surroundings,
        )
    except (ArgumentError, ValueError) as error:
        raise _no_database_url(url, str(error)) from None
    if found := database.prepare():
        logger.warning("%s", found)
    return database
