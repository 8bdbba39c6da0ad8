"""What each tool does: arguments to the domain, its result to an answer.

There is one function for each tool of the registry, under the tool's name.
"""

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection

from task_copilot import checkpoints, jsontext, streams, task_queries, task_updates, tasks
from task_copilot.cursors import cursor_at, position_of
from task_copilot.database.transaction import Transaction
from task_copilot.errors import InvalidInput
from task_copilot.ids import checkpoint_id, parse_checkpoint_id, parse_task_id, task_id
from task_copilot.task_queries import TaskFilter, TaskLine
from task_copilot.tools import arguments as args
from task_copilot.tools import views
from task_copilot.tools.answers import Answer, of_lines, of_object, rows_that_fit
from task_copilot.tools.requests import Done, request_of
from task_copilot.tools.session import Session, ToolSession
from task_copilot.workspaces import Scope, Workspace

PAGE_RESERVE_BYTES = 1_000
"""Room for the first and the last line of a list."""


async def task_create(session: Session, actor: str, given: args.TaskCreate) -> Answer:
    new = _new_task(given)

    def change(tx: Transaction, scope: Scope) -> Done:
        saved = tasks.create(tx, scope, new)
        found = {
            "id": task_id(saved.id),
            "status": saved.status,
            "streamId": saved.stream_id,
            "createdAt": saved.at,
        }
        return Done(saved.id, of_object(found))

    return await session.write(actor, change, request_of("task_create", given))


def _new_task(given: args.TaskCreate) -> tasks.NewTask:
    stream = None
    if given.stream_id is not None:
        stream = streams.StreamChange(
            stream_id=given.stream_id,
            name=given.stream_name,
            phase=given.stream_phase,
            dependencies=_tuple(given.stream_dependencies),
        )
    elif given.stream_name or given.stream_phase or given.stream_dependencies:
        raise InvalidInput("streamId: is missing; say which stream the rest is about.")
    return tasks.NewTask(
        title=given.title,
        description=given.description,
        parent=_task_number(given.parent_id, "parentId"),
        assigned_agent=given.assigned_agent,
        stream=stream,
        files=_tuple(given.files) or (),
        metadata=given.metadata,
    )


async def task_update(session: Session, actor: str, given: args.TaskUpdate) -> Answer:
    number = parse_task_id(given.id)
    if not given.model_fields_set - {"id", "agent", "request_id"}:
        raise InvalidInput("Nothing to change; give status, notes or another field with the id.")
    said = _task_change(given)

    def change(tx: Transaction, scope: Scope) -> Done:
        saved = task_updates.update_task(tx, scope, number, said)
        found = {"id": task_id(saved.id), "status": saved.status, "updatedAt": saved.at}
        return Done(saved.id, of_object(found))

    return await session.write(actor, change, request_of("task_update", given))


def _task_change(given: args.TaskUpdate) -> task_updates.TaskChange:
    return task_updates.TaskChange(
        title=given.title,
        description=given.description,
        parent=_task_number(given.parent_id, "parentId"),
        status=given.status,
        assigned_agent=given.assigned_agent,
        notes=given.notes,
        blocked_reason=given.blocked_reason,
        stream_id=given.stream_id,
        stream_name=given.stream_name,
        stream_phase=given.stream_phase,
        stream_dependencies=_tuple(given.stream_dependencies),
        files=_tuple(given.files),
        metadata=given.metadata,
    )


def _tuple(given: list[str] | None) -> tuple[str, ...] | None:
    return None if given is None else tuple(given)


def _task_number(given: str | None, argument: str) -> int | None:
    return None if given is None else parse_task_id(given, argument)


async def task_get(session: ToolSession, _actor: str, given: args.TaskGet) -> Answer:
    number = parse_task_id(given.id)
    now = session.clock()

    def query(connection: Connection, workspace: Workspace | None) -> Answer:
        task, _stream = tasks.find(connection, workspace, number)
        texts = task_queries.long_texts(connection, number)
        if given.field is not None:
            return of_object(views.rest_of_field(task, texts, given.field, given.offset))
        lines = task_queries.subtasks(connection, number, views.SUBTASKS_SHOWN)
        counts = task_queries.subtask_counts(connection, number)
        latest = checkpoints.newest(connection, number, now, 1)
        return of_object(views.whole_task(task, texts, lines, counts, latest))

    return await session.read(query)


async def task_list(session: ToolSession, _actor: str, given: args.TaskList) -> Answer:
    wanted = TaskFilter(
        status=given.status,
        stream_id=given.stream_id,
        assigned_agent=given.assigned_agent,
        parent=_task_number(given.parent_id, "parentId"),
        without_archived=given.stream_id is None,
    )
    after = position_of(given.cursor, wanted)
    name = session.location.name

    def query(connection: Connection, workspace: Workspace | None) -> Answer:
        if wanted.parent is not None:
            tasks.find(connection, workspace, wanted.parent, "parentId")
        if workspace is None:
            header = views.tasks_header(name, {}, 0)
            return _task_page([], header, given.format, wanted, asked=given.limit)
        rows = task_queries.page(connection, workspace, wanted, after=after, limit=given.limit + 1)
        counts = task_queries.counts(connection, workspace, wanted)
        left_out = 0
        if wanted.without_archived:
            left_out = task_queries.count_archived(connection, workspace, wanted)
        header = views.tasks_header(workspace.name, counts, left_out)
        return _task_page(rows, header, given.format, wanted, asked=given.limit)

    return await session.read(query)


def _task_page(
    rows: list[TaskLine],
    header: str,
    layout: args.Format,
    wanted: TaskFilter,
    *,
    asked: int,
) -> Answer:
    render: Callable[[TaskLine], str] = views.task_line
    if layout == "json":
        render = _encoded(views.task_row)
    rendered = [render(row) for row in rows[:asked]]
    shown = min(len(rendered), rows_that_fit(rendered, reserved=PAGE_RESERVE_BYTES))
    cursor = cursor_at(rows[shown - 1].id, wanted) if shown < len(rows) else None
    if layout == "json":
        found = [views.task_row(row) for row in rows[:shown]]
        return of_object({"tasks": found, "nextCursor": cursor})
    more = f"More: task_list cursor={cursor} with the same filters." if cursor else None
    return of_lines(header, rendered[:shown], more=more)


def _encoded(row: Callable[[Any], dict[str, Any]]) -> Callable[[Any], str]:
    return lambda item: jsontext.encode(row(item))


async def stream_list(session: ToolSession, _actor: str, given: args.StreamList) -> Answer:
    after = position_of(given.cursor, "streams")
    name = session.location.name

    def query(connection: Connection, workspace: Workspace | None) -> Answer:
        if workspace is None:
            return _stream_page([], name, given.format, 0)
        every = streams.every(connection, workspace.id)
        return _stream_page(every, workspace.name, given.format, after)

    return await session.read(query)


def _stream_page(
    every: list[streams.Stream], workspace: str, layout: args.Format, after: int
) -> Answer:
    table = views.StreamTable(every)
    # A place counts the archived ones too, so that a cursor stays right while some are archived.
    places = [place for place in range(after, len(every)) if not every[place].archived_at]
    rest = [every[place] for place in places]
    render = _encoded(table.row) if layout == "json" else table.line
    rendered = [render(stream) for stream in rest]
    shown = rows_that_fit(rendered, reserved=PAGE_RESERVE_BYTES)
    cursor = cursor_at(places[shown - 1] + 1, "streams") if shown < len(rest) else None
    if layout == "json":
        return of_object({"streams": [table.row(s) for s in rest[:shown]], "nextCursor": cursor})
    more = f"More: stream_list cursor={cursor}" if cursor else None
    return of_lines(table.header(workspace), rendered[:shown], more=more)


async def checkpoint_create(session: Session, actor: str, given: args.CheckpointCreate) -> Answer:
    number = parse_task_id(given.task_id, "taskId")
    new = _new_checkpoint(given)
    kept = session.checkpoints_kept

    def change(tx: Transaction, scope: Scope) -> Done:
        made = checkpoints.create(tx, scope, number, new, kept=kept)
        found = {
            "id": checkpoint_id(made.id),
            "taskId": task_id(made.task_id),
            "sequence": made.sequence,
            "trigger": made.trigger,
            "createdAt": made.created_at,
            "expiresAt": made.expires_at,
        }
        return Done(number, of_object(found))

    return await session.write(actor, change, request_of("checkpoint_create", given))


def _new_checkpoint(given: args.CheckpointCreate) -> checkpoints.NewCheckpoint:
    pause = given.pause_metadata
    return checkpoints.NewCheckpoint(
        trigger=given.trigger,
        execution_phase=given.execution_phase,
        execution_step=given.execution_step,
        agent_context=given.agent_context,
        draft_content=given.draft_content,
        draft_type=given.draft_type,
        expires_in=given.expires_in,
        pause_metadata=None if pause is None else views.pause_metadata(pause),
    )


async def checkpoint_resume(session: Session, actor: str, given: args.CheckpointResume) -> Answer:
    number = parse_task_id(given.task_id, "taskId")
    wanted = None
    if given.checkpoint_id is not None:
        wanted = parse_checkpoint_id(given.checkpoint_id)
    if given.draft_offset is not None or given.context_offset is not None:
        # This only reads, so a request id, which some clients send with every call, is no matter.
        return await _rest_of_checkpoint(session, number, wanted, given)

    def change(tx: Transaction, scope: Scope) -> Done:
        task, checkpoint = checkpoints.resume(tx, scope, number, wanted)
        present = checkpoints.snapshot(tx.connection, task)
        counts = task_queries.subtask_counts(tx.connection, task.id)
        return Done(number, of_object(views.resumed(task, checkpoint, present, counts)))

    return await session.write(actor, change, request_of("checkpoint_resume", given))


async def _rest_of_checkpoint(
    session: Session, number: int, wanted: int | None, given: args.CheckpointResume
) -> Answer:
    now = session.clock()

    def query(connection: Connection, workspace: Workspace | None) -> Answer:
        _task, checkpoint = checkpoints.find(connection, workspace, number, wanted, now)
        return of_object(
            views.rest_of_checkpoint(checkpoint, given.draft_offset, given.context_offset)
        )

    return await session.read(query)


async def checkpoint_list(session: ToolSession, _actor: str, given: args.CheckpointList) -> Answer:
    number = parse_task_id(given.task_id, "taskId")
    now = session.clock()

    def query(connection: Connection, workspace: Workspace | None) -> Answer:
        task, _stream = tasks.find(connection, workspace, number, "taskId")
        rows = checkpoints.newest(connection, number, now, given.limit)
        if given.format == "json":
            return of_object({"checkpoints": [views.checkpoint_row(row) for row in rows]})
        header = views.checkpoints_header(workspace, task, len(rows))
        return of_lines(header, [views.checkpoint_line(row) for row in rows], more=None)

    return await session.read(query)
