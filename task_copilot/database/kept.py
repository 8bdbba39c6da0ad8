"""A connection for reads so frequent that taking one from the pool costs more than they do."""

from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection, Engine

T = TypeVar("T")


class KeptReader:
    """Reads in one thread, with a connection of its own that it keeps from one read to the next.

    `generation` tells of which opening the database is, and makes sure that it is the one that
    stands there; it may raise StorageError.
    """

    def __init__(self, engine: Engine, generation: Callable[[], int]) -> None:
        self._engine = engine
        self._present_generation = generation
        self._generation = 0
        self._connection: Connection | None = None

    def read(self, query: Callable[[Connection], T]) -> T:
        """The result of `query`, which runs one statement: without a transaction around it each
        is of a state of its own. Blocking; tried once, with the driver's error as it is. The next
        read begins with another connection then."""
        try:
            return query(self._connected())
        except BaseException:
            self.close()
            raise

    def _connected(self) -> Connection:
        generation = self._present_generation()
        if self._connection is None or generation != self._generation:
            self.close()
            self._connection, self._generation = self._engine.connect(), generation
        return self._connection

    def close(self) -> None:
        """Lets go of the connection; from the thread that reads."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.invalidate()  # closed itself, whatever has become of the pool meanwhile
            connection.close()
