"""Checkpoints: what one agent leaves so that another can go on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from task_copilot import jsontext, task_queries, tasks
from task_copilot.clock import minutes_after
from task_copilot.database.prepared import Prepared
from task_copilot.database.tables import checkpoints, workspaces
from task_copilot.database.tables import tasks as tasks_table
from task_copilot.database.transaction import Transaction
from task_copilot.errors import NotFound
from task_copilot.events import log
from task_copilot.events.types import (
    CheckpointCreated,
    CheckpointExpired,
    CheckpointResumed,
    CheckpointTrigger,
)
from task_copilot.ids import checkpoint_id, task_id
from task_copilot.workspaces import Scope, Workspace

MINUTES_KEPT_MANUAL = 7 * 24 * 60
MINUTES_KEPT_AUTOMATIC = 24 * 60
SUBTASKS_KEPT = 1000
"""Subtasks whose status a checkpoint keeps: the oldest ones."""

EXPIRED_AT_ONCE = 100
"""Expired checkpoints that one transaction removes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCheckpoint:
    """What makes a checkpoint; `expires_in` is in minutes."""

    trigger: CheckpointTrigger = "manual"
    execution_phase: str | None = None
    execution_step: int | str | None = None
    agent_context: Mapping[str, Any] | None = None
    draft_content: str | None = None
    draft_type: str | None = None
    expires_in: int | None = None
    pause_metadata: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A checkpoint's row; `snapshot` is its task as it was then."""

    id: int
    task_id: int
    sequence: int
    trigger: CheckpointTrigger
    execution_phase: str | None
    execution_step: int | str | None
    agent_context: Mapping[str, Any] | None
    draft_content: str | None
    draft_type: str | None
    pause_metadata: Mapping[str, Any] | None
    snapshot: Mapping[str, Any]
    created_at: str
    expires_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointSummary:
    """A checkpoint without what it keeps."""

    id: int
    sequence: int
    trigger: CheckpointTrigger
    execution_phase: str | None
    execution_step: int | str | None
    created_at: str
    expires_at: str
    has_draft: bool


_INSERT = Prepared(
    insert(checkpoints).returning(checkpoints.c.id),
    columns=[column.name for column in checkpoints.c if column.name != "id"],
)
_NEXT_SEQUENCE = Prepared(
    update(tasks_table)
    .where(tasks_table.c.id == bindparam("task"))
    .values(checkpoints_made=tasks_table.c.checkpoints_made + 1)
    .returning(tasks_table.c.checkpoints_made)
)
_SUPERFLUOUS = Prepared(
    select(checkpoints.c.id, checkpoints.c.sequence, checkpoints.c.expires_at)
    .where(checkpoints.c.task_id == bindparam("task"))
    .order_by(checkpoints.c.id.desc())
    .offset(bindparam("kept"))
)
_DELETE = Prepared(delete(checkpoints).where(checkpoints.c.id == bindparam("checkpoint")))
_OF_TASK = select(checkpoints).where(
    checkpoints.c.task_id == bindparam("task"), checkpoints.c.expires_at > bindparam("now")
)
_LATEST = Prepared(_OF_TASK.order_by(checkpoints.c.id.desc()).limit(1))
_ONE = Prepared(_OF_TASK.where(checkpoints.c.id == bindparam("checkpoint")))
_OWNER = Prepared(
    select(checkpoints.c.task_id, checkpoints.c.expires_at).where(
        checkpoints.c.id == bindparam("checkpoint")
    )
)
_SUMMARIES = Prepared(
    select(
        *(checkpoints.c.id, checkpoints.c.sequence, checkpoints.c.trigger),
        *(checkpoints.c.execution_phase, checkpoints.c.execution_step),
        *(checkpoints.c.created_at, checkpoints.c.expires_at),
        checkpoints.c.draft_content.is_not(None).label("has_draft"),
    )
    .where(checkpoints.c.task_id == bindparam("task"), checkpoints.c.expires_at > bindparam("now"))
    .order_by(checkpoints.c.id.desc())
    .limit(bindparam("count"))
)
_EXPIRED = Prepared(
    select(
        *(checkpoints.c.id, checkpoints.c.sequence, checkpoints.c.task_id),
        *(tasks_table.c.title, tasks_table.c.stream_id, workspaces.c.name),
    )
    .join(tasks_table, tasks_table.c.id == checkpoints.c.task_id)
    .join(workspaces, workspaces.c.id == tasks_table.c.workspace_id)
    .where(checkpoints.c.expires_at <= bindparam("now"))
    .order_by(checkpoints.c.expires_at, checkpoints.c.id)
    .limit(bindparam("count"))
)


def create(
    transaction: Transaction, scope: Scope, task: int, new: NewCheckpoint, *, kept: int
) -> Checkpoint:
    """Makes a checkpoint of `task` as it is now; its newest `kept` stay.

    Raises NotFound for an unknown task.
    """
    found, _stream = tasks.find(transaction.connection, scope.workspace, task, "taskId")
    checkpoint = _insert(transaction, found, new)
    event = CheckpointCreated(
        **_event_fields(scope.workspace.name, found, checkpoint.id, checkpoint.sequence),
        trigger=checkpoint.trigger,
        execution_phase=checkpoint.execution_phase,
        execution_step=checkpoint.execution_step,
        has_draft=checkpoint.draft_content is not None,
        expires_at=checkpoint.expires_at,
        created_at=checkpoint.created_at,
    )
    log.append(transaction, event, scope.actor)
    _prune(transaction, scope, found, kept)
    return checkpoint


def _insert(transaction: Transaction, task: tasks.Task, new: NewCheckpoint) -> Checkpoint:
    connection = transaction.connection
    default = MINUTES_KEPT_MANUAL if new.trigger == "manual" else MINUTES_KEPT_AUTOMATIC
    values: dict[str, Any] = {
        "task_id": task.id,
        "sequence": _NEXT_SEQUENCE.scalar(connection, {"task": task.id}),
        "trigger": new.trigger,
        "execution_phase": new.execution_phase,
        "draft_content": new.draft_content,
        "draft_type": new.draft_type,
        "created_at": transaction.now,
        "expires_at": minutes_after(
            transaction.now, default if new.expires_in is None else new.expires_in
        ),
    }
    objects: dict[str, Any] = {
        "execution_step": new.execution_step,
        "agent_context": new.agent_context,
        "pause_metadata": new.pause_metadata,
        "snapshot": snapshot(connection, task),
    }
    texts = {k: None if v is None else jsontext.encode(v) for k, v in objects.items()}
    number = _INSERT.scalar(connection, {**values, **texts})
    return Checkpoint(id=number, **values, **objects)


def snapshot(connection: Connection, task: tasks.Task) -> dict[str, Any]:
    """A task's state as a checkpoint keeps it, and as it is compared with later."""
    texts = task_queries.long_texts(connection, task.id)
    lines = task_queries.subtasks(connection, task.id, SUBTASKS_KEPT)
    return {
        "title": task.title,
        "status": task.status,
        "blockedReason": task.blocked_reason,
        "assignedAgent": task.assigned_agent,
        "streamId": task.stream_id,
        "description": texts.description,
        "notes": texts.notes,
        "metadata": texts.metadata,
        "subtasks": {task_id(line.id): line.status for line in lines},
    }


def _prune(transaction: Transaction, scope: Scope, task: tasks.Task, kept: int) -> None:
    for row in _SUPERFLUOUS.all(transaction.connection, {"task": task.id, "kept": kept}):
        _DELETE.run(transaction.connection, {"checkpoint": row.id})
        if row.expires_at <= transaction.now:
            fields = _event_fields(scope.workspace.name, task, row.id, row.sequence)
            event = CheckpointExpired(**fields, expired_at=transaction.now)
            log.append(transaction, event, scope.actor)


def _event_fields(
    workspace: str, task: tasks.Task, checkpoint: int, sequence: int
) -> dict[str, Any]:
    return {
        "workspace": workspace,
        "checkpoint_id": checkpoint_id(checkpoint),
        "task_id": task_id(task.id),
        "task_title": task.title,
        "stream_id": task.stream_id,
        "sequence": sequence,
    }


def find(
    connection: Connection, workspace: Workspace | None, task: int, number: int | None, now: str
) -> tuple[tasks.Task, Checkpoint]:
    """A task and its checkpoint `number`, or its latest one that has not expired.

    Raises NotFound that says what there is instead.
    """
    found, _stream = tasks.find(connection, workspace, task, "taskId")
    arguments = {"task": task, "now": now}
    if number is None:
        row = _LATEST.first(connection, arguments)
    else:
        row = _ONE.first(connection, {**arguments, "checkpoint": number})
    if row is None:
        raise _missing(connection, task, number, now)
    values = row._asdict()
    for name in ("execution_step", "agent_context", "pause_metadata", "snapshot"):
        values[name] = None if values[name] is None else jsontext.decode(values[name])
    return found, Checkpoint(**values)


def _missing(connection: Connection, task: int, number: int | None, now: str) -> NotFound:
    newest = _LATEST.first(connection, {"task": task, "now": now})
    if number is None:
        return NotFound(f"taskId: {task_id(task)} has no checkpoint; checkpoint_create makes one.")
    advice = (
        f"{task_id(task)} has none; checkpoint_create makes one."
        if newest is None
        else f"The newest of {task_id(task)} is {checkpoint_id(newest.id)}; checkpoint_list "
        "shows all."
    )
    return NotFound(f"checkpointId: {_why(connection, task, number)}. {advice}")


def _why(connection: Connection, task: int, number: int) -> str:
    owner = _OWNER.first(connection, {"checkpoint": number})
    if owner is None:
        return f"{task_id(task)} has no checkpoint {checkpoint_id(number)}"
    if owner.task_id != task:
        return f"{checkpoint_id(number)} is not a checkpoint of {task_id(task)}"
    return f"{checkpoint_id(number)} expired at {owner.expires_at}"


def resume(
    transaction: Transaction, scope: Scope, task: int, number: int | None
) -> tuple[tasks.Task, Checkpoint]:
    """`find`, with the event that says that somebody goes on from there."""
    found, checkpoint = find(transaction.connection, scope.workspace, task, number, transaction.now)
    event = CheckpointResumed(
        **_event_fields(scope.workspace.name, found, checkpoint.id, checkpoint.sequence),
        resumed_at=transaction.now,
    )
    log.append(transaction, event, scope.actor)
    return found, checkpoint


def newest(connection: Connection, task: int, now: str, limit: int) -> list[CheckpointSummary]:
    """The newest checkpoints of a task that have not expired, newest first."""
    rows = _SUMMARIES.all(connection, {"task": task, "now": now, "count": limit})
    found = []
    for row in rows:
        values = row._asdict()
        step = values["execution_step"]
        values["execution_step"] = None if step is None else jsontext.decode(step)
        values["has_draft"] = bool(values["has_draft"])
        found.append(CheckpointSummary(**values))
    return found


def any_expired(connection: Connection, now: str) -> bool:
    """Whether `expire` would remove something."""
    return _EXPIRED.first(connection, {"now": now, "count": 1}) is not None


def expire(transaction: Transaction) -> int:
    """Removes checkpoints whose expiry has passed, with their events; returns how many.

    At most `EXPIRED_AT_ONCE`: call again while it returns so many.
    """
    rows = _EXPIRED.all(transaction.connection, {"now": transaction.now, "count": EXPIRED_AT_ONCE})
    for row in rows:
        _DELETE.run(transaction.connection, {"checkpoint": row.id})
        event = CheckpointExpired(
            workspace=row.name,
            checkpoint_id=checkpoint_id(row.id),
            task_id=task_id(row.task_id),
            task_title=row.title,
            stream_id=row.stream_id,
            sequence=row.sequence,
            expired_at=transaction.now,
        )
        log.append(transaction, event, "task-copilot")
    return len(rows)
