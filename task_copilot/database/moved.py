"""The mark of a SQLite database that was moved to a server: nobody uses the file any more.

It stands in the file itself, written in the transaction under whose lock the rows were copied.
So whoever waits for that lock finds the mark, and no change is lost between the two.
"""

from typing import Any, NamedTuple, NoReturn

from task_copilot.database.tables import CLOSED_VERSION
from task_copilot.errors import DatabaseMoved


class Mark(NamedTuple):
    """`move` names one copy, here and on the server; `epoch` and `head` are those of its log."""

    move: str
    address: str
    epoch: str
    head: int
    at: str


_COLUMNS = ", ".join(Mark._fields)


def mark(driver: Any, found: Mark) -> None:
    """Marks the database in the present transaction."""
    driver.execute(
        "CREATE TABLE IF NOT EXISTS moved (id INTEGER PRIMARY KEY CHECK (id = 1), move TEXT "
        "NOT NULL, address TEXT NOT NULL, epoch TEXT NOT NULL, head INTEGER NOT NULL, "
        "at TEXT NOT NULL)"
    )
    insert = f"INSERT OR REPLACE INTO moved (id, {_COLUMNS}) VALUES (1, ?, ?, ?, ?, ?)"  # noqa: S608 - our own names
    driver.execute(insert, found)
    driver.execute(f"PRAGMA user_version={CLOSED_VERSION}")


def mark_of(driver: Any) -> Mark | None:
    """The mark of a database; None where it has none."""
    if driver.execute("PRAGMA user_version").fetchone()[0] != CLOSED_VERSION:
        return None
    return Mark(*driver.execute(f"SELECT {_COLUMNS} FROM moved").fetchone())  # noqa: S608


def refuse_moved(driver: Any) -> NoReturn:
    """Raises DatabaseMoved for a database that is marked."""
    address, at = driver.execute("SELECT address, at FROM moved").fetchone()
    raise DatabaseMoved(
        f"This database was moved to {address} ({at}); nothing was written. Set "
        "TASK_COPILOT_DATABASE_URL to that address and start anew."
    )
