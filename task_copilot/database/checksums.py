"""Whether two databases hold the same rows, each counted and summed up by what it has itself.

The sum of a table adds up a hash of each row, so it does not matter in which order the rows come.
Nothing here is shared with what copies rows: SQLite's values are read anew and hashed in this
process, PostgreSQL's are hashed by its server, from what it has stored.
"""

from hashlib import sha256
from typing import Any, NamedTuple

from sqlalchemy import Column, Table

from task_copilot.errors import StorageError

_HALF = 8
"""Bytes of a hash that go into each of the two sums."""


class Checksum(NamedTuple):
    """Of all rows of a table."""

    rows: int
    first: int
    second: int


def of_sqlite(driver: Any, table: Table) -> Checksum:
    """Row by row, so that a table of any size takes little memory."""
    names = ", ".join(f'"{column.name}"' for column in table.columns)
    rows = first = second = 0
    for row in driver.execute(f"SELECT {names} FROM {table.name}"):  # noqa: S608 - our own names
        digest = sha256(b"".join(_written(table, value) for value in row)).digest()
        first += int.from_bytes(digest[:_HALF], signed=True)
        second += int.from_bytes(digest[_HALF : 2 * _HALF], signed=True)
        rows += 1
    return Checksum(rows, first, second)


def _written(table: Table, value: object) -> bytes:
    """A value so that no two rows are written alike: a text says how long it is."""
    if value is None:
        return b"N"
    if isinstance(value, int):
        return b"I%d;" % value
    if isinstance(value, str):
        text = value.encode()
        return b"T%d:%b" % (len(text), text)
    raise StorageError(f"The table {table.name} holds neither text nor number: {value!r:.60}.")


def of_postgres(driver: Any, table: Table) -> Checksum:
    """By the server, with the same rules."""
    row = " || ".join(_expression(column) for column in table.columns)
    query = f"""
        SELECT count(*), coalesce(sum({_number(1)}), 0), coalesce(sum({_number(17)}), 0)
        FROM (
            SELECT encode(sha256(convert_to({row}, 'UTF8')), 'hex') AS hash FROM {table.name}
        ) AS hashed
    """  # noqa: S608 - our own names
    rows, first, second = driver.execute(query, prepare=False).fetchone()
    return Checksum(rows, int(first), int(second))


def _expression(column: Column[Any]) -> str:
    name = f'"{column.name}"'
    if column.type.python_type is int:
        return f"coalesce('I' || {name} || ';', 'N')"
    return f"coalesce('T' || octet_length({name}) || ':' || {name}, 'N')"


def _number(place: int) -> str:
    return f"('x' || substr(hash, {place}, {2 * _HALF}))::bit(64)::bigint"
