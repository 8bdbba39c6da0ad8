"""What ``doctor`` looks at in the tables, whatever kind of database they are in."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from task_copilot import clock
from task_copilot.commands.check_machine import is_no_project
from task_copilot.commands.findings import Finding, ok, wrong

AHEAD_SECONDS = 60
"""Clocks of one machine may be set by so much."""

_NEWEST_TIME = """
SELECT max(timestamp) FROM (SELECT timestamp FROM events ORDER BY seq DESC LIMIT 1000) AS newest
"""


def contents(connection: Any) -> Iterator[Finding]:
    """What is odd in the tables, whatever database they are in."""
    yield from _clock(connection)
    yield from _workspaces(connection)


def _clock(connection: Any) -> Iterator[Finding]:
    newest = connection.execute(_NEWEST_TIME).fetchone()[0]
    limit = clock.parse(clock.system_clock()) + timedelta(seconds=AHEAD_SECONDS)
    if newest is not None and newest > clock.timestamp(limit):
        yield wrong(
            "clock",
            f"The database has events of {newest}, which is still to come.",
            "Set the clock of this machine. Times that were recorded stay as they are.",
        )
    else:
        yield ok("clock", "no event is of a time still to come")


def _workspaces(connection: Any) -> Iterator[Finding]:
    rows = connection.execute("SELECT name, path FROM workspaces WHERE path IS NOT NULL")
    for name, path in rows.fetchall():
        if is_no_project(path):
            yield wrong(
                "workspace",
                f"A server was started in {path}, which is no project; the workspace {name!r} "
                "holds what was written there.",
                "Start agents in the folder of a project. If nothing in it is needed: "
                f"task-copilot purge --workspace {name}",
            )
