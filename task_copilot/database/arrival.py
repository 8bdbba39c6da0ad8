"""A PostgreSQL database that a SQLite database moves to, and that nobody uses until it is there.

The copy is committed closed: with it the number of the tables' version is `CLOSED_VERSION`, so
that every program leaves the database alone. `open_for_use` gives it its own number.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import psycopg
from sqlalchemy import Connection, Table

from task_copilot.database import postgres
from task_copilot.database.migrate import migrate
from task_copilot.database.tables import (
    CLOSED_VERSION,
    SCHEMA_VERSION,
    VERSION_TABLE,
    log,
    metadata,
)
from task_copilot.errors import InvalidInput, StorageError

COUNTED_AT_ONCE = 1_000
"""Rows between two calls of who shows how far it is."""

_OTHERS = ("numbers", "commits", "moving", VERSION_TABLE)


class Arrival(NamedTuple):
    """A copy that is not in use yet; `epoch` is that of the log it is a copy of."""

    move: str
    epoch: str


def begin(driver: Any) -> None:
    """Begins the transaction of a move, with nobody else there. Raises StorageError where the
    server cannot be used, and StorageBusy where somebody has the database open."""
    postgres.check_server(driver)
    postgres.begin_locked(driver)
    postgres.be_alone(driver)
    driver.answers_within = None  # large tables take long: the ends of their copies, their sums
    driver.execute("SET LOCAL synchronous_commit = on")


def waiting(driver: Any) -> Arrival | None:
    """The copy that waits here to be opened for use."""
    if driver.execute("SELECT to_regclass('moving')").fetchone()[0] is None:
        return None
    return Arrival(*driver.execute("SELECT move, epoch FROM moving").fetchone())


def is_empty(driver: Any) -> bool:
    """Whether the database holds nothing, and never had an event. Raises SchemaMismatch where it
    is of a newer version or another program, or closed."""
    if postgres.stored_version(driver) == 0:
        return True
    state = driver.execute(f"SELECT head FROM {log.name}").fetchone()  # noqa: S608 - our own name
    return state[0] == 0 and not any(
        driver.execute(f"SELECT EXISTS (SELECT FROM {each.name})").fetchone()[0]  # noqa: S608
        for each in metadata.sorted_tables
        if each is not log
    )


def make_tables(connection: Connection, driver: Any) -> None:
    """New tables in the place of those that are there, if there are any."""
    names = [*(each.name for each in metadata.sorted_tables), *_OTHERS]
    driver.execute(f"DROP TABLE IF EXISTS {', '.join(names)} CASCADE")
    driver.execute("DROP FUNCTION IF EXISTS next_number(text)")
    migrate(connection)


def fill(
    driver: Any, table: Table, rows: Iterable[tuple[Any, ...]], told: Callable[[int], None]
) -> int:
    """Copies rows into an empty table, each as it comes; returns how many. `told` hears how many
    there are so far."""
    names = ", ".join(f'"{column.name}"' for column in table.columns)
    number, row = 0, None
    try:
        with driver.cursor().copy(f"COPY {table.name} ({names}) FROM STDIN") as copy:
            for number, row in enumerate(rows, 1):
                copy.write_row(row)
                if number % COUNTED_AT_ONCE == 0:
                    told(number)
    except (psycopg.DataError, psycopg.IntegrityError) as error:
        raise _refused(table, row, error) from None
    told(number)
    return number


def _refused(table: Table, row: Any, error: psycopg.Error) -> InvalidInput:
    reason = error.diag.message_primary or str(error).rstrip(".")
    key = dict(zip((column.name for column in table.columns), row or (), strict=False))
    shown = ", ".join(f"{column.name} {key.get(column.name)}" for column in table.primary_key)
    return InvalidInput(f"PostgreSQL does not take {table.name} (at {shown}): {reason}.")


def set_log(driver: Any, epoch: str, head: int) -> None:
    """Puts the log where it was."""
    driver.execute("UPDATE log SET epoch = %s, head = %s", (epoch, head))


def set_numbers(driver: Any, numbers: dict[str, int]) -> None:
    """The newest number that each table has given."""
    for name, number in numbers.items():
        driver.execute("UPDATE numbers SET last = %s WHERE name = %s", (number, name))


def log_of(driver: Any) -> tuple[str, int]:
    """The epoch and the head of the log."""
    epoch, head = driver.execute("SELECT epoch, head FROM log").fetchone()
    return str(epoch), int(head)


def numbers_of(driver: Any) -> dict[str, int]:
    """What `set_numbers` has set."""
    return dict(driver.execute("SELECT name, last FROM numbers").fetchall())


def prepare_plans(driver: Any) -> None:
    """Tells the server how much there is: nobody shall wait until it finds out by itself."""
    driver.execute(f"ANALYZE {', '.join(each.name for each in metadata.sorted_tables)}")


def commit_closed(driver: Any, found: Arrival) -> None:
    """Keeps the copy, for nobody yet."""
    driver.execute("CREATE TABLE moving (move text NOT NULL, epoch text NOT NULL)")
    driver.execute("INSERT INTO moving VALUES (%s, %s)", found)
    _set_version(driver, CLOSED_VERSION)
    _commit(driver)


def begin_opening(driver: Any) -> None:
    """Begins another transaction, for `open_for_use`."""
    postgres.begin_locked(driver)
    driver.execute("SET LOCAL synchronous_commit = on")


def open_for_use(driver: Any) -> None:
    """Lets everybody use the copy, from the end of the present transaction on."""
    driver.execute("DROP TABLE moving")
    _set_version(driver, SCHEMA_VERSION)
    _commit(driver)


def _set_version(driver: Any, number: int) -> None:
    text = postgres.version_text(number)
    driver.execute(f"UPDATE {VERSION_TABLE} SET version_num = %s", (text,))  # noqa: S608


def _commit(driver: Any) -> None:
    if driver.execute("COMMIT").statusmessage != "COMMIT":
        raise StorageError("The server did not commit. Nothing was changed; look at its log.")
