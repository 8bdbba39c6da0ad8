"""Core statements compiled once and run on the driver's own cursor.

SQLAlchemy spends some 35 µs on each execution, most of it on choices that are the same
each time; a change of a task runs five statements while it holds the write lock.
"""

import contextlib
import itertools
from collections import namedtuple
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.sql.base import Executable

Parameters = Mapping[str, Any]

ROWS_AT_ONCE = 500
"""Rows that a server sends ahead of those that were asked for."""

_numbers = itertools.count()


class Prepared:
    """A statement whose columns hold texts and whole numbers only, with named parameters.

    Rows are named tuples of the statement's columns. A driver's error is raised as it is.
    An insert that does not fill every column names the `columns` that it does.
    """

    def __init__(self, statement: Executable, columns: Sequence[str] | None = None) -> None:
        self._statement = statement
        self._columns = columns
        self._compiled: dict[Any, _Compiled] = {}

    def _for(self, connection: Connection) -> "_Compiled":
        kind: Any = connection.dialect.name
        if kind != "sqlite":  # which has but one kind of connection; a look at it costs time
            kind = type(_driver(connection))
        found = self._compiled.get(kind)
        if found is None:
            compiled = _Piped if hasattr(kind, "later") else _Compiled
            found = self._compiled[kind] = compiled(self._statement, self._columns, connection)
        return found

    def run(self, connection: Connection, parameters: Parameters) -> None:
        """Executes the statement for its effect; that may be seen to only when a result is asked
        for, or the transaction ends."""
        self._for(connection).run(connection, parameters)

    def run_many(self, connection: Connection, parameters: Iterable[Parameters]) -> None:
        """Executes the statement once for each of `parameters`, as `run` does."""
        self._for(connection).run_many(connection, parameters)

    def ask(self, connection: Connection, parameters: Parameters) -> Callable[[], Any]:
        """`scalar` for those who can wait until the transaction has ended: executes the statement
        as `run` does, and returns what tells the first column of the first row then."""
        return self._for(connection).ask(connection, parameters)

    def all(self, connection: Connection, parameters: Parameters) -> list[Any]:
        """All rows."""
        return self._for(connection).all(connection, parameters)

    def iterate(self, connection: Connection, parameters: Parameters) -> Generator[Any, None, None]:
        """The rows one by one, for callers that may stop early."""
        compiled = self._for(connection)
        cursor = compiled.stream(connection, parameters)
        try:
            yield from map(compiled.make_row, cursor)
        finally:
            _close(cursor)

    def first(self, connection: Connection, parameters: Parameters) -> Any:
        """The first row, or None."""
        return self._for(connection).first(connection, parameters)

    def scalar(self, connection: Connection, parameters: Parameters) -> Any:
        """The first column of the first row, or None."""
        return self._for(connection).ask(connection, parameters)()


class _Compiled:
    """A statement in the words of one database."""

    def __init__(
        self, statement: Any, columns: Sequence[str] | None, connection: Connection
    ) -> None:
        compiled = statement.compile(dialect=connection.dialect, column_keys=columns)
        self.text: str = compiled.string
        self._order: Sequence[str] | None = compiled.positiontup
        self._constants = {
            name: value for name, value in compiled.params.items() if value is not None
        }
        names = [column.name for column in statement.exported_columns]
        row_type: Any = namedtuple("Row", names)  # type: ignore[misc]  # noqa: PYI024
        self.make_row = row_type._make

    def arguments(self, parameters: Parameters) -> Any:
        if self._constants:
            parameters = {**self._constants, **parameters}
        if self._order is None:
            return parameters
        return [parameters[name] for name in self._order]

    def run(self, connection: Connection, parameters: Parameters) -> None:
        self.execute(connection, parameters)

    def run_many(self, connection: Connection, parameters: Iterable[Parameters]) -> None:
        cursor = _driver(connection).cursor()
        cursor.executemany(self.text, [self.arguments(each) for each in parameters])

    def ask(self, connection: Connection, parameters: Parameters) -> Callable[[], Any]:
        row = self.execute(connection, parameters).fetchone()
        return lambda: None if row is None else row[0]

    def all(self, connection: Connection, parameters: Parameters) -> list[Any]:
        return list(map(self.make_row, self.execute(connection, parameters).fetchall()))

    def first(self, connection: Connection, parameters: Parameters) -> Any:
        row = self.execute(connection, parameters).fetchone()
        return None if row is None else self.make_row(row)

    def stream(self, connection: Connection, parameters: Parameters) -> Any:
        """A cursor that has its rows as they are asked for, not all at once."""
        if connection.dialect.name == "sqlite":  # as each of its cursors does
            return self.execute(connection, parameters)
        cursor = _driver(connection).cursor(name=f"rows_{next(_numbers)}")
        cursor.itersize = ROWS_AT_ONCE
        try:
            return cursor.execute(self.text, self.arguments(parameters))
        except BaseException:
            _close(cursor)
            raise

    def execute(self, connection: Connection, parameters: Parameters) -> Any:
        return _driver(connection).execute(self.text, self.arguments(parameters))


class _Piped(_Compiled):
    """A statement for a connection that sends several in one message."""

    def __init__(
        self, statement: Any, columns: Sequence[str] | None, connection: Connection
    ) -> None:
        super().__init__(statement, columns, connection)
        kind: Any = type(connection.dialect)
        numbered = kind(paramstyle="numeric_dollar")  # as the server itself numbers them
        compiled = statement.compile(dialect=numbered, column_keys=columns)
        self._numbered_text: bytes = compiled.string.encode()
        self._numbered: Sequence[str] = compiled.positiontup or ()
        self._writes = not statement.is_select

    def _send(self, connection: Connection, parameters: Parameters) -> Any:
        driver = _driver(connection)
        if self._constants:
            parameters = {**self._constants, **parameters}
        values = [parameters[name] for name in self._numbered]
        answer = driver.later(self._numbered_text, values)
        driver.written += self._writes
        return answer

    def run(self, connection: Connection, parameters: Parameters) -> None:
        self._send(connection, parameters)

    def run_many(self, connection: Connection, parameters: Iterable[Parameters]) -> None:
        for each in parameters:
            self._send(connection, each)

    def ask(self, connection: Connection, parameters: Parameters) -> Callable[[], Any]:
        told: Callable[[], Any] = self._send(connection, parameters).scalar
        return told

    def stream(self, connection: Connection, parameters: Parameters) -> Any:
        _driver(connection).settle()
        return super().stream(connection, parameters)

    def all(self, connection: Connection, parameters: Parameters) -> list[Any]:
        rows: list[Any] = self._send(connection, parameters).rows(self.make_row)
        return rows

    def first(self, connection: Connection, parameters: Parameters) -> Any:
        rows = self.all(connection, parameters)
        return rows[0] if rows else None


def _close(cursor: Any) -> None:
    """Closes it, also where its connection is lost, which whoever uses that next is told of."""
    for _ in range(2):  # the first one may find out that the server cannot be told any more
        with contextlib.suppress(Exception):
            cursor.close()


def _driver(connection: Connection) -> Any:
    return connection.connection.driver_connection
