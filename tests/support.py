"""What tests of the domain share: a database of their own, and readable reads of it."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import text

from task_copilot import tasks, workspaces
from task_copilot.clock import parse, system_clock, timestamp
from task_copilot.database.store import Database, open_database
from task_copilot.database.transaction import Transaction
from task_copilot.events import log
from task_copilot.events.log import LogRow
from task_copilot.location import Location
from task_copilot.streams import StreamChange
from task_copilot.workspaces import Scope

T = TypeVar("T")


def database_at(
    place: Path | str, clock: Callable[[], str] = system_clock, durability: str = "normal"
) -> Database[LogRow]:
    """The database of a URL, or a SQLite file in a folder, as the server opens it."""
    url = place if isinstance(place, str) else f"sqlite:///{place / 'tasks.db'}"
    return open_database(url, number=log.number, durability=durability, clock=clock)


def close(database: Database[LogRow]) -> None:
    """Lets go of a database that was not started."""
    database.committer.close()
    database.engine.close()


def url_of(database: Database[LogRow]) -> str:
    """The URL of a database, with which another one can be opened."""
    return database.url.render_as_string(hide_password=False)


class World:
    """One database with one workspace, and its operations in short words."""

    def __init__(self, database: Database[LogRow], workspace: str = "shop") -> None:
        self.database = database
        location = Location(name=workspace, path=f"/work/{workspace}")
        found = database.write_now(lambda tx: workspaces.ensure(tx, location))
        self.scope = Scope(found, "tester")

    def do(self, operation: Callable[[Transaction, Scope], T]) -> T:
        return self.database.write_now(lambda tx: operation(tx, self.scope))

    def task(self, title: str = "A task", stream: str | None = None, **given: Any) -> int:
        change = None if stream is None else StreamChange(stream_id=stream)
        new = tasks.NewTask(title=title, **{"stream": change, **given})
        return self.do(lambda tx, scope: tasks.create(tx, scope, new)).id

    def events(self) -> list[dict[str, Any]]:
        return events_of(self.database)

    def event_types(self) -> list[str]:
        return [event["eventType"] for event in self.events()]


def events_of(database: Database[LogRow]) -> list[dict[str, Any]]:
    """Every event of the log as listeners get it."""
    rows = database.read_now(lambda connection: log.rows_after(connection, 0, 10**6, 10**9))
    return [json.loads(row.payload) for row in rows]


def table(database: Database[LogRow], name: str) -> list[dict[str, Any]]:
    """The rows of a table."""
    query = text(f"SELECT * FROM {name} ORDER BY 1, 2")  # noqa: S608 - a name from the tests themselves
    return database.read_now(lambda c: [dict(row) for row in c.execute(query).mappings()])


def counts(database: Database[LogRow]) -> dict[str, int]:
    """How many rows each table has."""
    names = ("workspaces", "streams", "tasks", "checkpoints", "events")
    return {name: len(table(database, name)) for name in names}


def ticking(start: str = "2026-01-08T12:00:00.000Z", step_ms: int = 1000) -> Callable[[], str]:
    """A clock that moves on by `step_ms` at each look."""

    def ticks() -> Iterator[str]:
        moment = parse(start)
        while True:
            yield timestamp(moment)
            moment += timedelta(milliseconds=step_ms)

    source = ticks()
    return lambda: next(source)
