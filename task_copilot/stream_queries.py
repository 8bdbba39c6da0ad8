"""Reading streams: with what their tasks add to them, and how the work on one goes."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    func,
    select,
    tuple_,
    union_all,
)

from task_copilot import jsontext
from task_copilot.clock import milliseconds_between
from task_copilot.database.tables import checkpoints, streams, tasks, workspaces
from task_copilot.errors import NotFound
from task_copilot.streams import STREAM_COLUMNS, Stream, from_row

STALLED_SECONDS = 10 * 60
"""A stream in progress without activity for so long may have lost its agent."""

UNSAVED_SECONDS = 60 * 60
"""A stream in progress without a checkpoint for so long would lose much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamFound:
    """A stream with its workspace and what its tasks say of it."""

    stream: Stream
    workspace_id: int
    workspace: str
    created_at: str
    blocked_reason: str | None
    files: tuple[str, ...]


class Ambiguous(NotFound):
    """A stream id that several workspaces use; `workspaces` are their names."""

    code = "AMBIGUOUS"

    def __init__(self, stream_id: str, names: list[str]) -> None:
        super().__init__(
            f"Several workspaces have a stream {stream_id}: {', '.join(names)}. "
            "Say which with ?workspace="
        )
        self.workspaces = names


_BLOCKED_REASON = (
    select(tasks.c.blocked_reason)
    .where(
        tasks.c.workspace_id == streams.c.workspace_id,
        tasks.c.stream_id == streams.c.stream_id,
        tasks.c.status == "blocked",
    )
    .order_by(tasks.c.blocked_at.desc(), tasks.c.id.desc())
    .limit(1)
    .scalar_subquery()
)
_FOUND = select(
    streams.c.workspace_id,
    streams.c.stream_id,
    streams.c.created_at,
    workspaces.c.name.label("workspace"),
    _BLOCKED_REASON.label("newest_reason"),
    *STREAM_COLUMNS,
).join(workspaces, workspaces.c.id == streams.c.workspace_id)


def _conditions(workspace: str | None, *, archived: bool) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if workspace is not None:
        found.append(workspaces.c.name == workspace)
    if not archived:
        found.append(streams.c.archived_at.is_(None))
    return found


def page(
    connection: Connection,
    *,
    workspace: str | None,
    archived: bool,
    skipped: int,
    limit: int,
) -> list[StreamFound]:
    """The next streams in the order in which they were made."""
    query = (
        _FOUND.where(*_conditions(workspace, archived=archived))
        .order_by(streams.c.created_at, streams.c.workspace_id, streams.c.stream_id)
        .offset(skipped)
        .limit(limit)
    )
    return _with_files(connection, query)


def every(connection: Connection) -> list[StreamFound]:
    """All streams of all workspaces in the order of `page`, without the files of their tasks."""
    query = _FOUND.order_by(streams.c.created_at, streams.c.workspace_id, streams.c.stream_id)
    return [_found(row, ()) for row in connection.execute(query)]


def count(connection: Connection, *, workspace: str | None, archived: bool) -> int:
    """How many streams `page` goes through."""
    query = (
        select(func.count())
        .select_from(streams.join(workspaces, workspaces.c.id == streams.c.workspace_id))
        .where(*_conditions(workspace, archived=archived))
    )
    return connection.execute(query).scalar_one()


def one(connection: Connection, stream_id: str, workspace: str | None) -> StreamFound:
    """The stream of that id; raises NotFound, or Ambiguous where several have it."""
    query = _FOUND.where(streams.c.stream_id == stream_id, *_conditions(workspace, archived=True))
    found = _with_files(connection, query)
    if not found:
        place = "" if workspace is None else f" in the workspace {workspace!r}"
        raise NotFound(f"There is no stream {stream_id}{place}. /api/streams lists them.")
    if len(found) > 1:
        raise Ambiguous(stream_id, [each.workspace for each in found])
    return found[0]


def _with_files(connection: Connection, query: Select[Any]) -> list[StreamFound]:
    rows = connection.execute(query).all()
    files = _files(connection, [(row.workspace_id, row.stream_id) for row in rows])
    return [_found(row, files.get((row.workspace_id, row.stream_id), ())) for row in rows]


def _found(row: Any, files: tuple[str, ...]) -> StreamFound:
    return StreamFound(
        stream=from_row(row),
        workspace_id=row.workspace_id,
        workspace=row.workspace,
        created_at=row.created_at,
        blocked_reason=row.newest_reason,
        files=files,
    )


def _files(
    connection: Connection, keys: Iterable[tuple[int, str]]
) -> dict[tuple[int, str], tuple[str, ...]]:
    """The files that the tasks of each stream name, each once, in the order of the tasks."""
    key = tuple_(tasks.c.workspace_id, tasks.c.stream_id)
    query = (
        select(tasks.c.workspace_id, tasks.c.stream_id, tasks.c.files)
        .where(key.in_(list(keys)), tasks.c.files != "[]")
        .order_by(tasks.c.id)
    )
    found: dict[tuple[int, str], dict[str, None]] = {}
    for workspace_id, stream_id, text in connection.execute(query):
        found.setdefault((workspace_id, stream_id), {}).update(dict.fromkeys(jsontext.decode(text)))
    return {place: tuple(names) for place, names in found.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """How the work on a stream goes; times since are in seconds."""

    task_id: int | None
    task_status: str | None
    last_activity: str | None
    last_checkpoint: str | None
    checkpoint_id: int | None
    since_activity: int | None
    since_checkpoint: int | None
    warnings: tuple[str, ...]


def current_task(connection: Connection, workspace_id: int, stream_id: str) -> Any:
    """The newest task in progress of a stream, else the one that changed last, as a row
    with ``id``, ``status`` and ``updated_at``; None if the stream has no task."""
    of_stream = and_(tasks.c.workspace_id == workspace_id, tasks.c.stream_id == stream_id)
    columns = (tasks.c.id, tasks.c.status, tasks.c.updated_at)
    in_order = (tasks.c.updated_at.desc(), tasks.c.id.desc())
    working = select(*columns).where(of_stream, tasks.c.status == "in_progress")
    changed = select(*columns).where(of_stream)
    both = union_all(
        *(select(each.order_by(*in_order).limit(1).subquery()) for each in (working, changed))
    )
    rows = connection.execute(both).all()
    return rows[0] if rows else None


def work_on(connection: Connection, found: StreamFound, now: str) -> Work:
    """How the work on a stream goes, with what a person should look at."""
    stream = found.stream
    task = current_task(connection, found.workspace_id, stream.stream_id)
    checkpoint = _latest_checkpoint(connection, found.workspace_id, stream.stream_id, now)
    last_checkpoint = None if checkpoint is None else checkpoint.created_at
    changed = None if task is None else _last_change(connection, found)
    last = max((moment for moment in (changed, last_checkpoint) if moment), default=None)
    since_activity, since_checkpoint = _since(last, now), _since(last_checkpoint, now)
    return Work(
        task_id=None if task is None else task.id,
        task_status=None if task is None else task.status,
        last_activity=last,
        last_checkpoint=last_checkpoint,
        checkpoint_id=None if checkpoint is None else checkpoint.id,
        since_activity=since_activity,
        since_checkpoint=since_checkpoint,
        warnings=_warnings(found, since_activity, since_checkpoint),
    )


def _since(moment: str | None, now: str) -> int | None:
    return None if moment is None else milliseconds_between(moment, now) // 1000


def _last_change(connection: Connection, found: StreamFound) -> str:
    query = select(func.max(tasks.c.updated_at)).where(
        tasks.c.workspace_id == found.workspace_id,
        tasks.c.stream_id == found.stream.stream_id,
    )
    return str(connection.execute(query).scalar_one())


def _latest_checkpoint(connection: Connection, workspace_id: int, stream_id: str, now: str) -> Any:
    query = (
        select(checkpoints.c.id, checkpoints.c.created_at)
        .join(tasks, tasks.c.id == checkpoints.c.task_id)
        .where(
            tasks.c.workspace_id == workspace_id,
            tasks.c.stream_id == stream_id,
            checkpoints.c.expires_at > now,
        )
        .order_by(checkpoints.c.id.desc())
        .limit(1)
    )
    return connection.execute(query).first()


def _warnings(
    found: StreamFound, since_activity: int | None, since_checkpoint: int | None
) -> tuple[str, ...]:
    stream, warnings = found.stream, []
    if stream.blocked:
        plural = "task is" if stream.blocked == 1 else "tasks are"
        warnings.append(f"{stream.blocked} {plural} blocked: {found.blocked_reason}")
    if stream.in_progress and since_activity is not None and since_activity > STALLED_SECONDS:
        warnings.append(f"No activity for {since_activity // 60} minutes.")
    if stream.in_progress and since_checkpoint is not None and since_checkpoint > UNSAVED_SECONDS:
        warnings.append(f"No checkpoint for {since_checkpoint // 60} minutes.")
    return tuple(warnings)
