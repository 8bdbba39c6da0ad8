"""Everything that matters at one moment, in one read: streams, what is blocked, who works."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, cast, func, select

from task_copilot import overview, stream_queries
from task_copilot.database.tables import streams, tasks, workspaces
from task_copilot.database.types import Integer
from task_copilot.stream_queries import StreamFound

STREAMS_SHOWN = 1_000
BLOCKED_SHOWN = 200
WORKING_SHOWN = 200
COUNTED = ("pending", "in_progress", "blocked", "completed")
"""The statuses that count; a cancelled task counts nowhere."""


class TaskSeen(NamedTuple):
    """A task that is blocked or in progress. `since` is when it became blocked, or when it
    changed last; None where the log does not tell."""

    workspace: str
    id: int
    title: str | None
    stream_id: str | None
    stream_name: str | None
    agent: str | None
    reason: str | None
    started_at: str | None
    since: str | None


class WorkspaceSeen(NamedTuple):
    """A workspace with what it has."""

    name: str
    path: str | None
    streams: int
    tasks: int
    last_activity: str | None


@dataclass(frozen=True, slots=True)
class StreamSeen:
    """A stream; what stands in the fields named by `unknown` is no more than a guess."""

    found: StreamFound
    unknown: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Glance:
    """What is shown; lists are cut and the totals count everything. `time` is when it was so,
    None where the log does not tell."""

    time: str | None
    active_since: str
    """Tasks that have changed since then are active."""

    workspaces: list[WorkspaceSeen]
    streams: list[StreamSeen]
    total_streams: int
    counts: Mapping[str, int]
    blocked: list[TaskSeen]
    total_blocked: int
    working: list[TaskSeen]
    active: int
    idle: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What to look at: one workspace or all, archived streams or only the others."""

    workspace: str | None
    archived: bool


def present(connection: Connection, wanted: Wanted, now: str) -> Glance:
    """What there is now."""
    since = overview.active_since(now)
    working, active = overview.activity_counts(
        connection, workspace=wanted.workspace, stream_id=None, since=since
    )
    return Glance(
        time=now,
        active_since=since,
        workspaces=[
            WorkspaceSeen(*row) for row in overview.every_workspace(connection) if row.tasks
        ],
        streams=[
            StreamSeen(found)
            for found in stream_queries.page(
                connection,
                workspace=wanted.workspace,
                archived=wanted.archived,
                skipped=0,
                limit=STREAMS_SHOWN,
            )
        ],
        total_streams=stream_queries.count(
            connection, workspace=wanted.workspace, archived=wanted.archived
        ),
        counts=_counts(connection, wanted),
        blocked=_blocked(connection, wanted),
        total_blocked=_total_blocked(connection, wanted),
        working=_working(connection, wanted),
        active=active,
        idle=working - active,
    )


def _counts(connection: Connection, wanted: Wanted) -> dict[str, int]:
    """How many tasks of each status there are, in the streams that are shown or in none."""
    in_streams = _of_workspace(
        select(*(_sum(streams.c[status]) for status in COUNTED)).join_from(streams, workspaces),
        wanted,
    )
    if not wanted.archived:
        in_streams = in_streams.where(streams.c.archived_at.is_(None))
    found = dict(zip(COUNTED, connection.execute(in_streams).one(), strict=True))
    in_none = _of_workspace(
        select(tasks.c.status, func.count()).join_from(tasks, workspaces), wanted
    )
    in_none = in_none.where(tasks.c.stream_id.is_(None), tasks.c.status.in_(COUNTED))
    for status, count in connection.execute(in_none.group_by(tasks.c.status)):
        found[status] += count
    return found


def _sum(column: ColumnElement[int]) -> ColumnElement[Any]:
    # A sum of 64-bit numbers may be no whole number to a database; nobody has that many tasks.
    return cast(func.coalesce(func.sum(column), 0), Integer)


def _of_workspace(query: Select[Any], wanted: Wanted) -> Select[Any]:
    return query if wanted.workspace is None else query.where(workspaces.c.name == wanted.workspace)


def _blocked(connection: Connection, wanted: Wanted) -> list[TaskSeen]:
    """The newest blocked tasks."""
    query = _of_workspace(
        select(
            *(workspaces.c.name, tasks.c.id, tasks.c.title, tasks.c.stream_id),
            *(tasks.c.assigned_agent, tasks.c.blocked_reason, tasks.c.blocked_at),
        ).join_from(tasks, workspaces),
        wanted,
    )
    query = query.where(tasks.c.status == "blocked")
    query = query.order_by(tasks.c.blocked_at.desc(), tasks.c.id.desc()).limit(BLOCKED_SHOWN)
    return [
        TaskSeen(
            workspace=row.name,
            id=row.id,
            title=row.title,
            stream_id=row.stream_id,
            stream_name=None,
            agent=row.assigned_agent,
            reason=row.blocked_reason,
            started_at=None,
            since=row.blocked_at,
        )
        for row in connection.execute(query)
    ]


def _total_blocked(connection: Connection, wanted: Wanted) -> int:
    query = _of_workspace(select(func.count()).select_from(tasks).join(workspaces), wanted)
    found: int = connection.execute(query.where(tasks.c.status == "blocked")).scalar_one()
    return found


def _working(connection: Connection, wanted: Wanted) -> list[TaskSeen]:
    """The tasks in progress, those that changed last first."""
    return [
        TaskSeen(
            workspace=row.workspace,
            id=row.id,
            title=row.title,
            stream_id=row.stream_id,
            stream_name=row.stream_name,
            agent=row.assigned_agent,
            reason=None,
            started_at=row.started_at,
            since=row.updated_at,
        )
        for row in overview.activities(
            connection, workspace=wanted.workspace, stream_id=None, limit=WORKING_SHOWN
        )
    ]
