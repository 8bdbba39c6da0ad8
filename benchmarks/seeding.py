"""Large databases: tasks written straight into the tables, events through the program's own log.

What the program itself keeps in step is kept so here: a stream's row counts its tasks.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, insert

from benchmarks.postgres import connected
from benchmarks.sandbox import WORKSPACE, Sandbox
from task_copilot.application import open_blocking
from task_copilot.clock import system_clock
from task_copilot.database import sqlite
from task_copilot.database.store import Database
from task_copilot.database.tables import streams, tasks, workspaces
from task_copilot.database.transaction import Transaction
from task_copilot.events import log
from task_copilot.events.log import LogRow
from task_copilot.events.types import TaskStatusChanged, payload

STATUSES = ("pending", "in_progress", "blocked", "completed")


@contextmanager
def seeding(sandbox: Sandbox) -> Iterator[Connection]:
    """A transaction on the new database of `sandbox`, whose workspace exists with number 1."""
    with (
        opened(sandbox) as database,
        database.write_engine.connect() as connection,
        connection.begin(),
    ):
        sqlite.begin(connection.connection.driver_connection)
        row = {"id": 1, "name": WORKSPACE, "path": None, "created_at": system_clock()}
        connection.execute(insert(workspaces), row)
        yield connection


@contextmanager
def opened(sandbox: Sandbox) -> Iterator[Database[LogRow]]:
    """The database of `sandbox`, which is made where there is none."""
    database = open_blocking(sandbox.settings, system_clock)
    try:
        yield database
    finally:
        database.committer.close()
        database.read_engine.dispose()
        database.write_engine.dispose()


def add_events(database: Database[LogRow], count: int, tasks: int = 100) -> int:
    """Commits `count` events of the usual size at once, of TASK-0 to the last of `tasks` in turns;
    the number of the last event."""

    def append(transaction: Transaction) -> int:
        for place in range(count):
            log.append(transaction, _event(place % tasks, transaction.now), "bench")
        return log.state(transaction.connection).head + count

    return database.write_now(append)


def load_events(sandbox: Sandbox, count: int, tasks: int = 100) -> None:
    """Writes `count` events into the empty log of a PostgreSQL database, as `add_events` would, in
    one statement of the server's own; then lets the server look at what it has got."""
    with opened(sandbox) as database, connected(str(sandbox.url)) as driver:
        assert database.read_now(log.state).head == 0
        now, mark = system_clock(), "TASK-0"
        event = _event(0, now)
        values = (payload(event, actor="bench", timestamp=now), event.topic, event.event_type)
        driver.execute(
            "INSERT INTO events (seq, topic, event_type, timestamp, payload) "
            "SELECT seq, replace(topic, mark, task), kind, now, replace(payload, mark, task) "
            "FROM (SELECT %s::text AS payload, %s::text AS topic, %s::text AS kind, "
            "%s::text AS now, %s::text AS mark) AS one, "
            "(SELECT n AS seq, 'TASK-' || (n - 1) %% %s AS task FROM generate_series(1, %s) AS n) "
            "AS numbers ORDER BY seq",
            (*values, now, mark, tasks, count),
        )
        driver.execute("UPDATE log SET head = %s", (count,))
        driver.execute("VACUUM ANALYZE")


def _event(place: int, now: str) -> TaskStatusChanged:
    return TaskStatusChanged(
        workspace=WORKSPACE,
        task_id=f"TASK-{place}",
        task_title="Implement the types",
        parent_id=None,
        stream_id="Stream-A",
        assigned_agent="me",
        old_status="pending",
        new_status="in_progress",
        blocked_reason=None,
        status_changed_at=now,
    )


def add_stream(
    connection: Connection,
    stream_id: str,
    titles: Sequence[str],
    *,
    statuses: Sequence[str] = STATUSES,
    agents: Sequence[str | None] = (None,),
    description: str | None = None,
) -> None:
    """A stream with a task for each title; statuses and agents take turns."""
    now = system_clock()
    rows = [
        _task(stream_id, title, statuses[place % len(statuses)], agents[place % len(agents)], now)
        | {"description": description}
        for place, title in enumerate(titles)
    ]
    count = Counter(row["status"] for row in rows)
    stream = {
        "workspace_id": 1,
        "stream_id": stream_id,
        "name": stream_id,
        "phase": "parallel",
        "dependencies": "[]",
        **{status: count[status] for status in STATUSES},
        "started_at": now if any(count[status] for status in STATUSES[1:]) else None,
        "completed_at": now if count["completed"] == len(rows) > 0 else None,
        "created_at": now,
        "updated_at": now,
    }
    connection.execute(insert(streams), stream)
    connection.execute(insert(tasks), rows)


def _task(stream_id: str, title: str, status: str, agent: str | None, now: str) -> dict[str, Any]:
    return {
        "workspace_id": 1,
        "stream_id": stream_id,
        "title": title,
        "status": status,
        "assigned_agent": agent,
        "blocked_reason": "waits for a review" if status == "blocked" else None,
        "files": "[]",
        "metadata": "{}",
        "checkpoints_made": 0,
        "created_at": now,
        "updated_at": now,
        "started_at": None if status == "pending" else now,
        "blocked_at": now if status == "blocked" else None,
        "completed_at": now if status == "completed" else None,
    }
