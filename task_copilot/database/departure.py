"""A SQLite database that is moved to a server: its rows, its marks, its lock.

Everything is read in one transaction. Where the database is to be marked in the end, that one
holds the write lock: nobody writes from the first row that is read to the mark.
"""

import contextlib
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Table

from task_copilot.database import sqlite
from task_copilot.database.tables import CLOSED_VERSION

LOOK_SECONDS = 5.0


@contextlib.contextmanager
def reading(file: Path) -> Iterator[Any]:
    """A driver's connection in a transaction that only reads; others write meanwhile."""
    address = f"{file.as_uri()}?mode=ro"
    found = sqlite.driver().connect(address, uri=True, isolation_level=None, timeout=LOOK_SECONDS)
    with contextlib.closing(found) as driver:
        driver.execute("BEGIN")
        yield driver


@contextlib.contextmanager
def locked(url: URL) -> Iterator[Any]:
    """A driver's connection that holds the write lock; its commit is on the disk when it ends."""
    engine = sqlite.write_engine(url, durability="full")
    try:
        with engine.connect() as connection:
            driver: Any = connection.connection.driver_connection
            sqlite.begin(driver)
            try:
                if sqlite.recorded_version(driver) != CLOSED_VERSION:
                    sqlite.check_unchanged(driver)
                yield driver
            finally:
                sqlite.rollback(driver)
    finally:
        engine.dispose()


def rows(driver: Any, table: Table) -> Generator[tuple[Any, ...], None, None]:
    """Every row of a table, one after the other as SQLite finds them."""
    names = ", ".join(f'"{column.name}"' for column in table.columns)
    keys = ", ".join(f'"{column.name}"' for column in table.primary_key)
    yield from driver.execute(f"SELECT {names} FROM {table.name} ORDER BY {keys}")  # noqa: S608


def count(driver: Any, table: Table) -> int:
    """How many rows it has."""
    return int(driver.execute(f"SELECT count(*) FROM {table.name}").fetchone()[0])  # noqa: S608


def log_of(driver: Any) -> tuple[str, int]:
    """The epoch and the head of the log."""
    epoch, head = driver.execute("SELECT epoch, head FROM log").fetchone()
    return str(epoch), int(head)


def numbers_of(driver: Any) -> dict[str, int]:
    """The newest number that each table has given to a row."""
    given = dict(driver.execute("SELECT name, seq FROM sqlite_sequence").fetchall())
    newest = driver.execute("SELECT coalesce(max(id), 0) FROM workspaces").fetchone()[0]
    names = ("tasks", "checkpoints")
    return {"workspaces": newest, **{name: given.get(name, 0) for name in names}}
