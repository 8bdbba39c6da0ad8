"""Reading tasks: one with all that belongs to it, or many a page."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, bindparam, func, or_, select

from task_copilot import jsontext
from task_copilot.database.prepared import Prepared
from task_copilot.database.tables import streams, tasks
from task_copilot.events.types import TaskStatus
from task_copilot.workspaces import Workspace


class TaskLine(NamedTuple):
    """A task as a list shows it."""

    id: int
    status: TaskStatus
    stream_id: str | None
    assigned_agent: str | None
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFilter:
    """Which tasks a list shows; None does not restrict.

    `without_archived` leaves out the tasks of archived streams.
    """

    status: TaskStatus | None = None
    stream_id: str | None = None
    assigned_agent: str | None = None
    parent: int | None = None
    without_archived: bool = False


class LongTexts(NamedTuple):
    """The fields of a task that may be long."""

    description: str | None
    notes: str | None
    files: list[str]
    metadata: Mapping[str, Any]


_LONG = Prepared(
    select(tasks.c.description, tasks.c.notes, tasks.c.files, tasks.c.metadata).where(
        tasks.c.id == bindparam("task")
    )
)
_LINE = select(tasks.c.id, tasks.c.status, tasks.c.stream_id, tasks.c.assigned_agent, tasks.c.title)
_SUBTASKS = Prepared(
    _LINE.where(tasks.c.parent_id == bindparam("task"))
    .order_by(tasks.c.id)
    .limit(bindparam("count"))
)
_SUBTASK_COUNTS = Prepared(
    select(tasks.c.status, func.count().label("number"))
    .where(tasks.c.parent_id == bindparam("task"))
    .group_by(tasks.c.status)
)


def long_texts(connection: Connection, number: int) -> LongTexts:
    """The long fields of a task that exists."""
    row = _LONG.first(connection, {"task": number})
    return LongTexts(
        row.description, row.notes, jsontext.decode(row.files), jsontext.decode(row.metadata)
    )


def subtasks(connection: Connection, number: int, limit: int) -> list[TaskLine]:
    """The first subtasks of a task, oldest first."""
    rows = _SUBTASKS.all(connection, {"task": number, "count": limit})
    return [TaskLine(*row) for row in rows]


def subtask_counts(connection: Connection, number: int) -> dict[str, int]:
    """How many subtasks a task has of each status."""
    return dict(_SUBTASK_COUNTS.all(connection, {"task": number}))


def page(
    connection: Connection, workspace: Workspace, wanted: TaskFilter, *, after: int, limit: int
) -> list[TaskLine]:
    """The next tasks after number `after`, at most `limit`, oldest first."""
    query = _LINE.where(*_conditions(workspace, wanted), tasks.c.id > after)
    rows = connection.execute(query.order_by(tasks.c.id).limit(limit))
    return [TaskLine(*row) for row in rows]


def counts(connection: Connection, workspace: Workspace, wanted: TaskFilter) -> dict[str, int]:
    """How many tasks match `wanted`, of each status."""
    query = select(tasks.c.status, func.count()).where(*_conditions(workspace, wanted))
    rows = connection.execute(query.group_by(tasks.c.status))
    return {status: count for status, count in rows}  # noqa: C416 - a Row is no pair to mypy


def count_archived(connection: Connection, workspace: Workspace, wanted: TaskFilter) -> int:
    """How many tasks would match `wanted` if it did not leave out those of archived streams."""
    every = replace(wanted, without_archived=False)
    conditions = (*_conditions(workspace, every), tasks.c.stream_id.in_(_archived(workspace)))
    return connection.execute(select(func.count()).where(*conditions)).scalar_one()


def _archived(workspace: Workspace) -> Select[tuple[str]]:
    return select(streams.c.stream_id).where(
        streams.c.workspace_id == workspace.id, streams.c.archived_at.is_not(None)
    )


def _conditions(workspace: Workspace, wanted: TaskFilter) -> list[ColumnElement[bool]]:
    conditions = [tasks.c.workspace_id == workspace.id]
    if wanted.status is not None:
        conditions.append(tasks.c.status == wanted.status)
    if wanted.stream_id is not None:
        conditions.append(tasks.c.stream_id == wanted.stream_id)
    if wanted.assigned_agent is not None:
        conditions.append(tasks.c.assigned_agent == wanted.assigned_agent)
    if wanted.parent is not None:
        conditions.append(tasks.c.parent_id == wanted.parent)
    if wanted.without_archived:
        away = tasks.c.stream_id.in_(_archived(workspace))
        conditions.append(or_(tasks.c.stream_id.is_(None), ~away))
    return conditions
