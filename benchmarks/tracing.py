"""Which tables the program's statements read, by SQLite's own account.

The driver's connection is watched, not SQLAlchemy's: no statement can pass unseen.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Engine, event

_READ_OR_WRITE = ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")
_OPENS = frozenset({"OpenRead", "OpenWrite", "ReopenIdx"})


@dataclass(slots=True)
class Trace:
    """The statements that ran, with their values in them. `connection` is a driver's own."""

    texts: list[str] = field(default_factory=list)

    def statements(self) -> list[str]:
        """Those that read or write rows: not the BEGINs, COMMITs and PRAGMAs."""
        return [text for text in self.texts if text.lstrip().upper().startswith(_READ_OR_WRITE)]

    def touching(self, connection: Any, table: str) -> list[str]:
        """The statements whose bytecode opens `table` or one of its indexes."""
        pages = "SELECT rootpage FROM sqlite_schema WHERE tbl_name = ?"
        roots = {row[0] for row in connection.execute(pages, (table,))}
        return [text for text in self.statements() if roots & _opened(connection, text)]

    def scanning(self, connection: Any, table: str) -> list[str]:
        """The statements that go through all of `table` or all of one of its indexes."""
        return [
            text
            for text in self.statements()
            for row in connection.execute(f"EXPLAIN QUERY PLAN {text}")
            if row[3].startswith(f"SCAN {table}")
        ]


def _opened(connection: Any, text: str) -> set[int]:
    rows = connection.execute(f"EXPLAIN {text}")
    return {row[3] for row in rows if row[1] in _OPENS}


@contextmanager
def traced(*engines: Engine) -> Iterator[Trace]:
    """Notes what runs on connections that `engines` open meanwhile."""
    trace = Trace()

    def watch(connection: Any, _record: Any) -> None:
        connection.set_trace_callback(trace.texts.append)

    for engine in engines:
        event.listen(engine, "connect", watch)
    try:
        yield trace
    finally:
        for engine in engines:
            event.remove(engine, "connect", watch)
