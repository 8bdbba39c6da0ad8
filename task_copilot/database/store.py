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

from sqlalchemy import Connection
from sqlalchemy import Engine as SqlEngine

from task_copilot.clock import Clock, system_clock
from task_copilot.database.committer import Committer, Number, commit
from task_copilot.database.engine import Engine, Follower
from task_copilot.database.engines import engine_of
from task_copilot.database.kept import KeptReader
from task_copilot.database.outage import Outages
from task_copilot.database.transaction import Operation
from task_copilot.database.urls import parse_url
from task_copilot.database.writer import Writer
from task_copilot.errors import DatabaseMoved, StorageUnreachable

logger = logging.getLogger(__name__)

T = TypeVar("T")
RowT = TypeVar("RowT")

READERS = 4
"""Threads that read; each has a connection of its own."""


def _nothing(*_told: object) -> None:
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
    thread. Where it was moved to a server, `on_moved` is called by each read.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        clock: Clock,
        number: Number[RowT],
        surroundings: Surroundings[RowT] | None = None,
    ) -> None:
        self.url = engine.url
        self.generation = 0
        self.on_replaced: Callable[[], None] = _nothing
        self.on_moved: Callable[[DatabaseMoved], None] = _nothing
        self.engine = engine
        self._around: Surroundings[RowT] = surroundings or Surroundings()
        self._opening = threading.RLock()
        self._outages = Outages()
        self.committer = Committer(
            engine,
            clock,
            number=number,
            outages=self._outages,
            generation=self._present_generation,
        )
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="reader")
        self._writer: Writer[RowT] | None = None
        self._follower: Follower | None = None

    @property
    def write_engine(self) -> SqlEngine:
        """SQLAlchemy's own engine of the writing connections."""
        return self.engine.write

    @property
    def read_engine(self) -> SqlEngine:
        """SQLAlchemy's own engine of the reading connections."""
        return self.engine.read

    def start(self, publish: Callable[[list[RowT]], None]) -> None:
        """Starts the writing thread; `publish` gets each commit's rows in the event loop."""
        self._writer = Writer(self.committer, publish, self._around.committed, self._outages)

    async def write(self, operation: Operation[T]) -> T:
        """Commits `operation` with its events and returns its result.

        Raises what it raised, or StorageError; then nothing was written.
        """
        if self._writer is None:
            raise RuntimeError("the database was not started")
        return await self._writer.run(operation)

    async def read(self, query: Callable[[Connection], T]) -> T:
        """The result of `query` in one read transaction, so that all of it is of one state.

        It may run twice: where the connection to the database's server is lost, it is run
        again on the next one.
        """
        loop = asyncio.get_running_loop()
        deadline = self._outages.deadline()  # waiting for a thread counts
        return await loop.run_in_executor(self._readers, self._read_until, query, deadline)

    def read_now(self, query: Callable[[Connection], T]) -> T:
        """`read` for callers outside the event loop."""
        return self._read_until(query, self._outages.deadline())

    def _read_until(self, query: Callable[[Connection], T], deadline: float) -> T:
        return self._outages.through(lambda: self.read_once(query), deadline)

    def kept_reader(self) -> KeptReader:
        """For one thread that reads at each change of another process."""
        return KeptReader(self.read_engine, self._present_generation)

    def read_once(self, query: Callable[[Connection], T]) -> T:
        """`read_now` for a query that must not run twice."""
        generation = self._present_generation()
        try:
            with self._translated(), self.read_engine.connect() as connection:
                try:
                    with connection.begin():
                        return query(connection)
                finally:
                    # It still has the old file open, or belongs to no pool any more.
                    if generation != self.generation or self._outages.closed:
                        connection.invalidate()
        except StorageUnreachable:
            self.engine.lost()
            raise
        except DatabaseMoved as moved:
            self.on_moved(moved)
            raise

    def write_now(self, operation: Operation[T]) -> T:
        """`write` for callers outside the event loop, one at a time."""
        [outcome], rows = self.committer.commit(deque([operation]))
        if outcome.error is not None:
            raise outcome.error
        if rows:
            self._around.committed()
        result: T = outcome.result
        return result

    def in_transaction(self, step: Callable[[Connection], T]) -> T:
        """The result of `step` on a connection of its own, under the write lock. Blocking; for
        what belongs to no operation. Raises StorageError."""
        return self._in_transaction(step, self.engine.begin)

    def alone(self, step: Callable[[Connection], T]) -> T:
        """`in_transaction` while nobody else has the database open; raises StorageBusy where
        somebody has."""
        self.read_engine.dispose()
        self.committer.close()
        return self._in_transaction(step, self.engine.begin_alone)

    def _in_transaction(self, step: Callable[[Connection], T], begin: Callable[[Any], None]) -> T:
        with self._translated(), self.write_engine.connect() as connection:
            driver: Any = connection.connection.driver_connection
            begin(driver)
            try:
                result = step(connection)
                commit(self.engine, driver, announce=True)
            except BaseException:
                with contextlib.suppress(Exception):  # the error that led here says more
                    self.engine.rollback(driver)
                raise
            return result

    def copy_into(self, path: Path) -> None:
        """Writes a whole copy of the present state into an empty file. Blocking.

        Raises StorageError where the copy cannot be written or is not sound.
        """
        with self._translated(), self.write_engine.connect() as connection:
            self.engine.copy_into(connection.connection.driver_connection, path)

    def scrub(self) -> str | None:
        """Removes from the disk what was removed from the tables. Blocking; as long as it
        takes to write the database anew, other processes cannot write.

        Says where the bytes may still be; None where they are gone. Raises StorageError where
        there is no room.
        """
        with self._translated(), self.write_engine.connect() as connection:
            return self.engine.scrub(connection.connection.driver_connection)

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            meaning = self.engine.translate(error)
            if meaning is None:
                raise
            raise meaning from error

    def watch(self, on_change: Callable[[], None]) -> None:
        """Calls `on_change` in the event loop when another process has committed."""
        if self._writer is None:
            return
        loop = asyncio.get_running_loop()
        self._follower = self.engine.follow(lambda: _call_soon(loop, on_change))
        if self._follower is None:
            self._writer.watch(on_change)

    async def close(self, timeout: float = 1.0, *, wait_for_readers: bool = False) -> None:
        """Finishes the commit under way, for at most `timeout` seconds, and lets go; of the
        threads that read, too, where `wait_for_readers` says so."""
        self._outages.close()
        if self._follower is not None:
            await asyncio.to_thread(self._follower.close)  # which waits where the network does
        if self._writer is not None:
            await self._writer.close(timeout)
        self._readers.shutdown(wait=wait_for_readers, cancel_futures=True)
        self.engine.close()

    def prepare(self) -> str | None:
        """Makes or upgrades the tables where that is needed. Blocking.

        Returns what the verification found. Raises SchemaMismatch for a database of a newer
        version or another program, and StorageError where it cannot be used; it is left
        as it is then.
        """
        return self._outages.through(self._prepare, self._outages.deadline())

    def _prepare(self) -> str | None:
        with self._opening, self._translated(), self._around.alone():
            self.engine.clear_the_way()
            # Not before: a file that is there would keep what is left of another one unseen.
            self._around.make_private()
            with self.write_engine.connect() as connection:
                self.engine.bring_up_to_date(connection, _migrate)
                return self._take_possession()

    def _take_possession(self) -> str | None:
        self.generation += 1
        self.engine.remember()
        try:
            # A connection in the pool, so that a file's number is given to no other.
            self.read_engine.connect().close()
            return self.verify_now()
        except BaseException:
            self.engine.forget()
            raise

    def verify_now(self) -> str | None:
        """Looks whether the log holds all that listeners have had; says what was found."""
        return self._around.verify(self)

    async def verify(self) -> str | None:
        """`verify_now` for callers in the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, self.verify_now)

    def _present_generation(self) -> int:
        """Makes sure that the database is the one that is open; raises StorageError."""
        if not self.engine.stands():
            with self._opening:
                if not self.engine.stands():  # no other thread has been faster
                    self._open_anew()
        return self.generation

    def _open_anew(self) -> None:
        missing = self.engine.is_missing()
        self.read_engine.dispose()  # the writing connection belongs to the committer
        self.prepare()
        logger.warning(
            "The database %s was %s while this server ran. It goes on with %s; what the old one "
            "held is not in it, and listeners start anew.",
            self.engine.place,
            *(
                ("deleted or moved away", "a new, empty one")
                if missing
                else ("replaced", "the one that stands there now")
            ),
        )
        self.on_replaced()


def _migrate(connection: Connection) -> None:
    from task_copilot.database.migrate import migrate

    migrate(connection)


def _call_soon(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop has ended, and with it who would look
        loop.call_soon_threadsafe(call)


def open_database(
    url: str,
    *,
    number: Number[RowT],
    durability: str = "full",
    clock: Clock = system_clock,
    surroundings: Surroundings[RowT] | None = None,
) -> Database[RowT]:
    """Opens the database at `url` and brings its tables up to date. Blocking.

    Raises StorageError with what to do about it where that is not possible.
    """
    database = Database(
        engine_of(parse_url(url), durability=durability),
        clock=clock,
        number=number,
        surroundings=surroundings,
    )
    if found := database.prepare():
        logger.warning("%s", found)
    return database
