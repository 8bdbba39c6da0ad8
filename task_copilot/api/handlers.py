"""What each route reads or writes: parameters in, the fields of its answer out.

A handler runs in one transaction, which also gives the answer its ``seq`` and ``epoch``.
"""

from typing import Any

from sqlalchemy import Connection

from task_copilot import checkpoints, jsontext, overview, stream_queries, task_queries
from task_copilot.api import answers
from task_copilot.api import parameters as params
from task_copilot.checkpoints import NewCheckpoint
from task_copilot.cursors import cursor_at, position_of
from task_copilot.database.transaction import Transaction
from task_copilot.errors import InvalidInput, NotFound
from task_copilot.ids import checkpoint_id, parse_task_id, task_id
from task_copilot.stream_queries import StreamFound
from task_copilot.workspaces import Scope, Workspace

ACTOR = "http"
"""Who acts where a request changes something and does not say."""

SUBTASKS_SHOWN = 1_000
ACTIVITIES_SHOWN = 1_000
TASKS_OF_A_STREAM = 1_000

Fields = dict[str, Any]


def check_workspace(connection: Connection, name: str | None) -> None:
    """Raises NotFound for a workspace that does not exist, rather than showing nothing."""
    if name is not None and not overview.workspace_exists(connection, name):
        raise NotFound(f"There is no workspace {name!r}. /api/workspaces lists them.")


def list_streams(connection: Connection, given: params.StreamsQuery, _now: str) -> Fields:
    check_workspace(connection, given.workspace)
    archived = given.include_archived
    filters = (given.workspace, archived)
    skipped = position_of(given.cursor, filters)
    found = stream_queries.page(
        connection,
        workspace=given.workspace,
        archived=archived,
        skipped=skipped,
        limit=given.limit + 1,
    )
    more = len(found) > given.limit
    return {
        "streams": [answers.StreamRow(**stream_fields(each)) for each in found[: given.limit]],
        "total_streams": stream_queries.count(
            connection, workspace=given.workspace, archived=archived
        ),
        "next_cursor": cursor_at(skipped + given.limit, filters) if more else None,
    }


def stream_fields(found: StreamFound) -> Fields:
    """The fields of a `StreamRow`."""
    stream = found.stream
    return {
        "workspace": found.workspace,
        "stream_id": stream.stream_id,
        "stream_name": stream.name,
        "stream_phase": stream.phase,
        "status": stream.status,
        "total_tasks": stream.total,
        "completed_tasks": stream.completed,
        "in_progress_tasks": stream.in_progress,
        "blocked_tasks": stream.blocked,
        "pending_tasks": stream.pending,
        "progress_percentage": stream.progress_percentage,
        "dependencies": list(stream.dependencies),
        "files": list(found.files),
        "blocked_reason": found.blocked_reason,
        "created_at": found.created_at,
        "started_at": stream.started_at,
        "completed_at": stream.completed_at,
        "archived_at": stream.archived_at,
        "last_updated": stream.updated_at,
    }


def show_stream(connection: Connection, given: params.OneStream, _now: str) -> Fields:
    check_workspace(connection, given.workspace)
    found = stream_queries.one(connection, given.stream_id, given.workspace)
    wanted = overview.TasksWanted(workspace=found.workspace, stream_id=given.stream_id)
    rows, more = overview.tasks_page(connection, wanted, after=0, limit=TASKS_OF_A_STREAM)
    # The cursor of the same tasks under /api/tasks, where a page can be asked for.
    filters = _task_filters(found.workspace, None, given.stream_id, None, None, False, None)
    return {
        **stream_fields(found),
        "tasks": [answers.TaskRow(**task_fields(row)) for row in rows],
        "next_cursor": cursor_at(rows[-1].id, filters) if more else None,
    }


def show_stream_health(connection: Connection, given: params.OneStream, now: str) -> Fields:
    check_workspace(connection, given.workspace)
    found = stream_queries.one(connection, given.stream_id, given.workspace)
    work = stream_queries.work_on(connection, found, now)
    return {
        "workspace": found.workspace,
        "stream_id": given.stream_id,
        "healthy": not work.warnings,
        "current_task": None if work.task_id is None else task_id(work.task_id),
        "task_status": work.task_status,
        "last_activity": work.last_activity,
        "last_checkpoint": work.last_checkpoint,
        "current_checkpoint": (
            None if work.checkpoint_id is None else checkpoint_id(work.checkpoint_id)
        ),
        "time_since_activity": work.since_activity,
        "time_since_checkpoint": work.since_checkpoint,
        "warnings": list(work.warnings),
    }


def _task_filters(*parts: object) -> tuple[object, ...]:
    return ("tasks", *parts)


def list_tasks(connection: Connection, given: params.TasksQuery, _now: str) -> Fields:
    check_workspace(connection, given.workspace)
    parent = None if given.parent_id is None else parse_task_id(given.parent_id, "parentId")
    wanted = overview.TasksWanted(
        workspace=given.workspace,
        status=given.status,
        stream_id=given.stream_id,
        assigned_agent=given.assigned_agent,
        parent=parent,
        text=given.text,
        archived=given.include_archived,
    )
    filters = _task_filters(
        *(given.workspace, given.status, given.stream_id, given.assigned_agent, parent),
        *(given.include_archived, given.text),
    )
    after = position_of(given.cursor, filters)
    rows, more = overview.tasks_page(connection, wanted, after=after, limit=given.limit)
    return {
        "tasks": [answers.TaskRow(**task_fields(row)) for row in rows],
        "total_tasks": overview.tasks_count(connection, wanted),
        "next_cursor": cursor_at(rows[-1].id, filters) if more else None,
    }


def task_fields(row: Any) -> Fields:
    """The fields of a `TaskRow`."""
    return {
        "workspace": row.workspace,
        "id": task_id(row.id),
        "title": row.title,
        "description": row.description,
        "status": row.status,
        "stream_id": row.stream_id,
        "parent_id": None if row.parent_id is None else task_id(row.parent_id),
        "assigned_agent": row.assigned_agent,
        "notes": row.notes,
        "blocked_reason": row.blocked_reason,
        "files": jsontext.decode(row.files),
        "metadata": jsontext.decode(row.metadata),
        "created_at": row.created_at,
        "updated_at": row.updated_at,
        "started_at": row.started_at,
        "blocked_at": row.blocked_at,
        "completed_at": row.completed_at,
    }


def show_task(connection: Connection, given: params.OneTask, now: str) -> Fields:
    number = parse_task_id(given.task_id, "taskId")
    row = overview.one_task(connection, number)
    if row is None:
        raise no_task(number)
    latest = overview.latest_checkpoint(
        connection, workspace=None, task=number, stream_id=None, now=now
    )
    return {
        **task_fields(row),
        "subtasks": [
            answers.SubtaskRow(
                id=task_id(line.id),
                title=line.title,
                status=line.status,
                stream_id=line.stream_id,
                assigned_agent=line.assigned_agent,
            )
            for line in task_queries.subtasks(connection, number, SUBTASKS_SHOWN)
        ],
        "latest_checkpoint": (
            None if latest is None else answers.CheckpointRow(**checkpoint_fields(latest))
        ),
    }


def no_task(number: int) -> NotFound:
    """The failure of a request that names a task which does not exist."""
    return NotFound(f"There is no task {task_id(number)}. /api/tasks lists them.")


def checkpoint_fields(row: Any) -> Fields:
    """The fields of a `CheckpointRow`."""
    step = row.execution_step
    return {
        "checkpoint_id": checkpoint_id(row.id),
        "task_id": task_id(row.task_id),
        "sequence": row.sequence,
        "created_at": row.created_at,
        "expires_at": row.expires_at,
        "trigger": row.trigger,
        "execution_phase": row.execution_phase,
        "execution_step": None if step is None else jsontext.decode(step),
        "has_draft": bool(row.has_draft),
    }


def list_checkpoints(
    connection: Connection, given: params.TaskCheckpointsQuery, now: str
) -> Fields:
    number = parse_task_id(given.task_id, "taskId")
    if overview.one_task(connection, number) is None:
        raise no_task(number)
    return {
        "checkpoints": [
            answers.CheckpointRow(
                checkpoint_id=checkpoint_id(found.id),
                task_id=task_id(number),
                sequence=found.sequence,
                created_at=found.created_at,
                expires_at=found.expires_at,
                trigger=found.trigger,
                execution_phase=found.execution_phase,
                execution_step=found.execution_step,
                has_draft=found.has_draft,
            )
            for found in checkpoints.newest(connection, number, now, given.limit)
        ]
    }


def show_latest_checkpoint(
    connection: Connection, given: params.CheckpointsQuery, now: str
) -> Fields:
    if (given.task_id is None) == (given.stream_id is None):
        raise InvalidInput("Give one of taskId and streamId.")
    task = None if given.task_id is None else parse_task_id(given.task_id, "taskId")
    workspace = given.workspace
    if given.stream_id is not None:
        workspace = stream_queries.one(connection, given.stream_id, workspace).workspace
    row = overview.latest_checkpoint(
        connection, workspace=workspace, task=task, stream_id=given.stream_id, now=now
    )
    if row is None:
        if task is not None and overview.one_task(connection, task) is None:
            raise no_task(task)
        owner = given.stream_id or (None if task is None else task_id(task))
        raise NotFound(f"{owner} has no checkpoint that has not expired.")
    return checkpoint_fields(row)


def list_activity(connection: Connection, given: params.ActivityQuery, now: str) -> Fields:
    check_workspace(connection, given.workspace)
    since = overview.active_since(now)
    rows = overview.activities(
        connection,
        workspace=given.workspace,
        stream_id=given.stream_id,
        limit=ACTIVITIES_SHOWN,
    )
    activities = [
        answers.ActivityRow(
            workspace=row.workspace,
            stream_id=row.stream_id,
            stream_name=row.stream_name,
            agent_id=row.assigned_agent,
            agent_name=row.assigned_agent,
            task_id=task_id(row.id),
            task_title=row.title,
            started_at=row.started_at,
            last_heartbeat=row.updated_at,
            is_active=row.updated_at >= since,
        )
        for row in rows
    ]
    total, active = overview.activity_counts(
        connection, workspace=given.workspace, stream_id=given.stream_id, since=since
    )
    return {
        "activities": [
            each for each in activities if given.active is None or each.is_active == given.active
        ],
        "total_active": active,
        "total_idle": total - active,
    }


def list_workspaces(connection: Connection, _given: params.NoParameters, _now: str) -> Fields:
    return {
        "workspaces": [
            answers.WorkspaceRow(
                workspace=row.name,
                path=row.path,
                streams=row.streams,
                tasks=row.tasks,
                last_activity=row.last_activity,
            )
            for row in overview.every_workspace(connection)
        ]
    }


def make_stream_checkpoint(
    transaction: Transaction,
    given: params.OneStream,
    body: params.StreamCheckpointBody,
    kept: int,
) -> Fields:
    """A checkpoint of the stream's current task, with the reason in its pause metadata."""
    connection = transaction.connection
    check_workspace(connection, given.workspace)
    found = stream_queries.one(connection, given.stream_id, given.workspace)
    task = stream_queries.current_task(connection, found.workspace_id, given.stream_id)
    if task is None:
        raise InvalidInput(f"{given.stream_id} has no task to make a checkpoint of.")
    pause = None if body.reason is None else {"pauseReason": body.reason}
    new = NewCheckpoint(trigger=body.trigger, pause_metadata=pause)
    scope = Scope(Workspace(found.workspace_id, found.workspace), ACTOR)
    made = checkpoints.create(transaction, scope, task.id, new, kept=kept)
    return {
        "checkpoint_id": checkpoint_id(made.id),
        "task_id": task_id(made.task_id),
        "created_at": made.created_at,
    }
