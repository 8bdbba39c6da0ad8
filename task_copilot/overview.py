"""Reading across workspaces: tasks with all fields, who works on what, and the workspaces."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, case, func, or_, select, tuple_

from task_copilot import clock
from task_copilot.database.tables import checkpoints, streams, tasks, workspaces
from task_copilot.errors import InvalidInput
from task_copilot.events.types import TaskStatus
from task_copilot.ids import parse_task_id

ACTIVE_MINUTES = 5
"""An agent whose task changed within so many minutes counts as active."""

PAGE_BYTES = 4 * 1024 * 1024
"""A page ends early where its long texts come to more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TasksWanted:
    """Which tasks a page shows; None does not restrict.

    Tasks of archived streams are left out unless `archived` is true or a stream is named.
    """

    workspace: str | None = None
    status: TaskStatus | None = None
    stream_id: str | None = None
    assigned_agent: str | None = None
    parent: int | None = None
    text: str | None = None
    """In the title, the description or the notes, or the id; capitals of A to Z do not matter."""

    archived: bool = False


_TASKS = select(tasks, workspaces.c.name.label("workspace")).join(
    workspaces, workspaces.c.id == tasks.c.workspace_id
)


_ARCHIVED = select(streams.c.workspace_id, streams.c.stream_id).where(
    streams.c.archived_at.is_not(None)
)


def _conditions(wanted: TasksWanted) -> list[ColumnElement[bool]]:
    given: Mapping[ColumnElement[Any], Any] = {
        workspaces.c.name: wanted.workspace,
        tasks.c.status: wanted.status,
        tasks.c.stream_id: wanted.stream_id,
        tasks.c.assigned_agent: wanted.assigned_agent,
        tasks.c.parent_id: wanted.parent,
    }
    conditions = [column == value for column, value in given.items() if value is not None]
    if wanted.text is not None:
        conditions.append(_holds(wanted.text))
    if not wanted.archived and wanted.stream_id is None:
        away = tuple_(tasks.c.workspace_id, tasks.c.stream_id).in_(_ARCHIVED)
        conditions.append(or_(tasks.c.stream_id.is_(None), ~away))
    return conditions


def _holds(text: str) -> ColumnElement[bool]:
    texts = (tasks.c.title, tasks.c.description, tasks.c.notes)
    found = [column.icontains(text, autoescape=True) for column in texts]
    with suppress(InvalidInput):
        found.append(tasks.c.id == parse_task_id(text))
    return or_(*found)


def tasks_page(
    connection: Connection, wanted: TasksWanted, *, after: int, limit: int
) -> tuple[list[Any], bool]:
    """The next tasks after number `after`, oldest first, and whether there are more.

    The rows have all columns of a task and the name of its ``workspace``.
    """
    query = _TASKS.where(*_conditions(wanted), tasks.c.id > after).order_by(tasks.c.id)
    rows: list[Any] = []
    size = 0
    for row in connection.execute(query.limit(limit + 1)):
        size += sum(len(text) for text in (row.description, row.notes, row.metadata) if text)
        if len(rows) == limit or (rows and size > PAGE_BYTES):
            return rows, True
        rows.append(row)
    return rows, False


def tasks_count(connection: Connection, wanted: TasksWanted) -> int:
    """How many tasks match `wanted`."""
    query = select(func.count()).select_from(tasks)
    if wanted.workspace is not None:
        query = query.join(workspaces, workspaces.c.id == tasks.c.workspace_id)
    return connection.execute(query.where(*_conditions(wanted))).scalar_one()


def one_task(connection: Connection, number: int) -> Any:
    """A task's row as in `tasks_page`, or None."""
    return connection.execute(_TASKS.where(tasks.c.id == number)).first()


def activities(
    connection: Connection, *, workspace: str | None, stream_id: str | None, limit: int
) -> list[Any]:
    """The tasks in progress, those that changed last first, with their streams' names."""
    query: Select[Any] = (
        select(
            *(tasks.c.id, tasks.c.title, tasks.c.stream_id, tasks.c.assigned_agent),
            *(tasks.c.started_at, tasks.c.updated_at),
            workspaces.c.name.label("workspace"),
            streams.c.name.label("stream_name"),
        )
        .join(workspaces, workspaces.c.id == tasks.c.workspace_id)
        .outerjoin(
            streams,
            and_(
                streams.c.workspace_id == tasks.c.workspace_id,
                streams.c.stream_id == tasks.c.stream_id,
            ),
        )
        .where(tasks.c.status == "in_progress")
        .order_by(tasks.c.updated_at.desc(), tasks.c.id.desc())
        .limit(limit)
    )
    if workspace is not None:
        query = query.where(workspaces.c.name == workspace)
    if stream_id is not None:
        query = query.where(tasks.c.stream_id == stream_id)
    return list(connection.execute(query).all())


def activity_counts(
    connection: Connection, *, workspace: str | None, stream_id: str | None, since: str
) -> tuple[int, int]:
    """How many tasks are in progress, and how many of them changed after `since`."""
    query = select(
        func.count(), func.coalesce(func.sum(case((tasks.c.updated_at >= since, 1), else_=0)), 0)
    ).where(tasks.c.status == "in_progress")
    if workspace is not None:
        query = query.join(workspaces, workspaces.c.id == tasks.c.workspace_id)
        query = query.where(workspaces.c.name == workspace)
    if stream_id is not None:
        query = query.where(tasks.c.stream_id == stream_id)
    total, active = connection.execute(query).one()
    return total, active


def active_since(now: str) -> str:
    """The moment since which a task must have changed to count as active."""
    return clock.timestamp(clock.parse(now) - timedelta(minutes=ACTIVE_MINUTES))


def latest_checkpoint(
    connection: Connection,
    *,
    workspace: str | None,
    task: int | None,
    stream_id: str | None,
    now: str,
) -> Any:
    """The newest checkpoint of a task or a stream that has not expired, or None."""
    query = (
        select(checkpoints, checkpoints.c.draft_content.is_not(None).label("has_draft"))
        .join(tasks, tasks.c.id == checkpoints.c.task_id)
        .join(workspaces, workspaces.c.id == tasks.c.workspace_id)
        .where(checkpoints.c.expires_at > now)
        .order_by(checkpoints.c.id.desc())
        .limit(1)
    )
    given: Mapping[ColumnElement[Any], Any] = {
        workspaces.c.name: workspace,
        tasks.c.id: task,
        tasks.c.stream_id: stream_id,
    }
    conditions = [column == value for column, value in given.items() if value is not None]
    return connection.execute(query.where(*conditions)).first()


def every_workspace(connection: Connection) -> list[Any]:
    """All workspaces with how many streams and tasks they have and when they last changed."""
    of_streams = (
        select(streams.c.workspace_id, func.count().label("streams"))
        .group_by(streams.c.workspace_id)
        .subquery()
    )
    of_tasks = (
        select(
            tasks.c.workspace_id,
            func.count().label("tasks"),
            func.max(tasks.c.updated_at).label("last_activity"),
        )
        .group_by(tasks.c.workspace_id)
        .subquery()
    )
    query = (
        select(
            *(workspaces.c.name, workspaces.c.path),
            func.coalesce(of_streams.c.streams, 0).label("streams"),
            func.coalesce(of_tasks.c.tasks, 0).label("tasks"),
            of_tasks.c.last_activity,
        )
        .outerjoin(of_streams, of_streams.c.workspace_id == workspaces.c.id)
        .outerjoin(of_tasks, of_tasks.c.workspace_id == workspaces.c.id)
        .order_by(workspaces.c.name)
    )
    return list(connection.execute(query).all())


def completions(
    connection: Connection, *, workspace: str | None, since: str, until: str
) -> list[str]:
    """When tasks that are completed were so, from `since` until before `until`."""
    query = select(tasks.c.completed_at).where(
        tasks.c.completed_at >= since, tasks.c.completed_at <= until
    )
    if workspace is not None:
        query = query.join(workspaces, workspaces.c.id == tasks.c.workspace_id)
        query = query.where(workspaces.c.name == workspace)
    return [str(moment) for moment in connection.execute(query).scalars()]


def one_checkpoint(connection: Connection, number: int, now: str) -> Any:
    """A checkpoint's row with all columns, ``has_draft`` and the name of its ``workspace``;
    None where there is none or it has expired."""
    query = (
        select(
            checkpoints,
            checkpoints.c.draft_content.is_not(None).label("has_draft"),
            workspaces.c.name.label("workspace"),
        )
        .join(tasks, tasks.c.id == checkpoints.c.task_id)
        .join(workspaces, workspaces.c.id == tasks.c.workspace_id)
        .where(checkpoints.c.id == number, checkpoints.c.expires_at > now)
    )
    return connection.execute(query).first()


def workspace_exists(connection: Connection, name: str) -> bool:
    """Whether there is a workspace of that name."""
    query = select(workspaces.c.id).where(workspaces.c.name == name)
    return connection.execute(query).first() is not None
