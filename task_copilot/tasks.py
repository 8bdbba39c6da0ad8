"""Tasks: their rows, and making them with the events and counters that follow."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, and_, bindparam, insert, select

from task_copilot import jsontext, streams
from task_copilot.database.prepared import Prepared
from task_copilot.database.tables import streams as streams_table
from task_copilot.database.tables import tasks, workspaces
from task_copilot.database.transaction import Transaction
from task_copilot.errors import InvalidInput, NotFound
from task_copilot.events import log
from task_copilot.events.types import TaskCreated, TaskStatus
from task_copilot.ids import task_id
from task_copilot.streams import Stream, StreamChange
from task_copilot.workspaces import Scope, Workspace

MAX_METADATA_BYTES = 64 * 1024
MAX_ANCESTORS = 100
"""How deep subtasks may be nested."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTask:
    """What makes a task; empty texts count as not given."""

    title: str
    description: str | None = None
    parent: int | None = None
    assigned_agent: str | None = None
    stream: StreamChange | None = None
    files: tuple[str, ...] = ()
    metadata: Mapping[str, Any] | None = None


class Task(NamedTuple):
    """A task's row without its long texts, which most changes do not need."""

    id: int
    title: str
    status: TaskStatus
    stream_id: str | None
    parent_id: int | None
    assigned_agent: str | None
    blocked_reason: str | None
    created_at: str
    updated_at: str
    started_at: str | None
    blocked_at: str | None
    completed_at: str | None


@dataclass(frozen=True, slots=True)
class Saved:
    """What a writing operation says of the task that it made or changed."""

    id: int
    status: TaskStatus
    stream_id: str | None
    at: str


_COLUMNS = (
    *(tasks.c.id, tasks.c.workspace_id, tasks.c.title, tasks.c.status, tasks.c.stream_id),
    *(tasks.c.parent_id, tasks.c.assigned_agent, tasks.c.blocked_reason, tasks.c.created_at),
    *(tasks.c.updated_at, tasks.c.started_at, tasks.c.blocked_at, tasks.c.completed_at),
)
_WITH_STREAM = Prepared(
    select(*_COLUMNS, *streams.STREAM_COLUMNS)
    .select_from(
        tasks.outerjoin(
            streams_table,
            and_(
                streams_table.c.workspace_id == tasks.c.workspace_id,
                streams_table.c.stream_id == tasks.c.stream_id,
            ),
        )
    )
    .where(tasks.c.id == bindparam("task"))
)
_INSERT = Prepared(
    insert(tasks).returning(tasks.c.id),
    columns=(
        *("workspace_id", "stream_id", "parent_id", "title", "description", "status"),
        *("assigned_agent", "files", "metadata", "checkpoints_made", "created_at", "updated_at"),
    ),
)
_NEWEST = Prepared(
    select(tasks.c.id)
    .where(tasks.c.workspace_id == bindparam("workspace"))
    .order_by(tasks.c.id.desc())
    .limit(1)
)
_PARENT = Prepared(select(tasks.c.parent_id).where(tasks.c.id == bindparam("task")))
_OWNER = Prepared(
    select(workspaces.c.name)
    .join(tasks, tasks.c.workspace_id == workspaces.c.id)
    .where(tasks.c.id == bindparam("task"))
)


def find(
    connection: Connection, workspace: Workspace | None, number: int, argument: str = "id"
) -> tuple[Task, Stream | None]:
    """Task `number` of the workspace and the stream that it is in.

    Raises NotFound, naming `argument`, where there is none or it is of another workspace.
    """
    row = _WITH_STREAM.first(connection, {"task": number})
    if row is None or workspace is None or row.workspace_id != workspace.id:
        raise _missing(connection, workspace, number, argument)
    return _from_row(row), (None if row.stream_id is None else streams.from_row(row))


def _from_row(row: Any) -> Task:
    return Task(
        id=row.id,
        title=row.title,
        status=row.status,
        stream_id=row.stream_id,
        parent_id=row.parent_id,
        assigned_agent=row.assigned_agent,
        blocked_reason=row.blocked_reason,
        created_at=row.created_at,
        updated_at=row.updated_at,
        started_at=row.started_at,
        blocked_at=row.blocked_at,
        completed_at=row.completed_at,
    )


def _missing(
    connection: Connection, workspace: Workspace | None, number: int, argument: str
) -> NotFound:
    owner = _OWNER.scalar(connection, {"task": number})
    if owner is not None:
        return NotFound(
            f"{argument}: {task_id(number)} belongs to the workspace {owner!r}, not to this one."
        )
    newest = _NEWEST.scalar(connection, {"workspace": workspace.id}) if workspace else None
    advice = (
        f"The newest is {task_id(newest)}; task_list shows them."
        if newest is not None
        else "It has no tasks yet; task_create makes one."
    )
    return NotFound(f"{argument}: no task {task_id(number)} in this workspace. {advice}")


def create(transaction: Transaction, scope: Scope, new: NewTask) -> Saved:
    """Makes a task with its events and the counters of its stream.

    Raises NotFound for an unknown parent and InvalidInput for a cycle of streams.
    """
    connection = transaction.connection
    if new.parent is not None:
        find(connection, scope.workspace, new.parent, "parentId")
        refuse_loop(connection, None, new.parent)
    metadata = bounded_metadata({k: v for k, v in (new.metadata or {}).items() if v is not None})
    before, after = None, None
    if new.stream is not None:
        before = streams.find(connection, scope.workspace.id, new.stream.stream_id)
        after = renamed(connection, scope, before, new.stream)
        after = streams.save(transaction, scope, before, streams.count(after, None, "pending"))
    task = _insert(transaction, scope, new, metadata)
    created = TaskCreated(**event_fields(scope, task, None), created_at=task.created_at)
    log.append(transaction, created, scope.actor)
    if after is not None:
        streams.append_events(transaction, scope, before, after)
    return Saved(task.id, task.status, task.stream_id, task.created_at)


def renamed(
    connection: Connection, scope: Scope, before: Stream | None, change: StreamChange
) -> Stream:
    """The stream with what `change` says of it; a new one where there was none."""
    if before is None:
        return streams.new_stream(connection, scope, change)
    return streams.with_change(connection, scope, before, change)


def _insert(
    transaction: Transaction, scope: Scope, new: NewTask, metadata: Mapping[str, Any]
) -> Task:
    values: dict[str, Any] = {
        "workspace_id": scope.workspace.id,
        "stream_id": new.stream.stream_id if new.stream else None,
        "parent_id": new.parent,
        "title": new.title,
        "description": new.description or None,
        "status": "pending",
        "assigned_agent": new.assigned_agent or None,
        "files": jsontext.encode(new.files),
        "metadata": jsontext.encode(metadata),
        "checkpoints_made": 0,
        "created_at": transaction.now,
        "updated_at": transaction.now,
    }
    number = _INSERT.scalar(transaction.connection, values)
    return Task(
        id=number,
        title=new.title,
        status="pending",
        stream_id=values["stream_id"],
        parent_id=new.parent,
        assigned_agent=values["assigned_agent"],
        blocked_reason=None,
        created_at=transaction.now,
        updated_at=transaction.now,
        started_at=None,
        blocked_at=None,
        completed_at=None,
    )


def bounded_metadata(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    """`metadata` as it is; raises InvalidInput if it has grown over its limit."""
    size = jsontext.size(metadata)
    if size > MAX_METADATA_BYTES:
        raise InvalidInput(
            f"metadata: would be {size:,} bytes with what the task has already; "
            f"takes at most {MAX_METADATA_BYTES:,}. Set keys to null to remove them."
        )
    return metadata


def refuse_loop(connection: Connection, task: int | None, parent: int) -> None:
    """Refuses a parent that is the task itself or below it, and nesting without end."""
    current: int | None = parent
    for _ in range(MAX_ANCESTORS):
        if current is None:
            return
        if current == task:
            raise InvalidInput(
                f"parentId: {task_id(parent)} is {task_id(task)} itself or one of its subtasks."
            )
        current = _PARENT.scalar(connection, {"task": current})
    raise InvalidInput(f"parentId: subtasks can be nested {MAX_ANCESTORS} deep at most.")


def event_fields(scope: Scope, task: Task, old_status: TaskStatus | None) -> dict[str, Any]:
    """The fields that every event of a task has."""
    return {
        "workspace": scope.workspace.name,
        "task_id": task_id(task.id),
        "task_title": task.title,
        "parent_id": None if task.parent_id is None else task_id(task.parent_id),
        "stream_id": task.stream_id,
        "assigned_agent": task.assigned_agent,
        "old_status": old_status,
        "new_status": task.status,
        "blocked_reason": task.blocked_reason,
    }
