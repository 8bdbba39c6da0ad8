"""Putting finished streams away, so that lists show what is going on."""

from sqlalchemy import Connection, Select, exists, select

from task_copilot import streams
from task_copilot.database.tables import streams as table
from task_copilot.database.tables import tasks, workspaces
from task_copilot.database.transaction import Transaction
from task_copilot.errors import InvalidInput, NotFound
from task_copilot.events import log
from task_copilot.events.types import StreamArchived
from task_copilot.streams import Stream
from task_copilot.workspaces import Scope, Workspace

ARCHIVED_AT_ONCE = 50
"""Streams that one transaction archives where many are meant."""

STREAMS_NAMED = 10
ACTOR = "task-copilot"
"""Who archives where nobody asked for it."""


def archive(transaction: Transaction, scope: Scope, stream_id: str) -> Stream:
    """Puts a finished stream away: lists leave it out until a task brings it back.

    Raises NotFound for an unknown stream, and InvalidInput where it has an open task, no
    completed one, or is archived already.
    """
    connection = transaction.connection
    stream = streams.find(connection, scope.workspace.id, stream_id)
    if stream is None:
        raise _missing(connection, scope.workspace, stream_id)
    _refuse_unfinished(stream)
    return _archive(transaction, scope, stream)


def _archive(transaction: Transaction, scope: Scope, stream: Stream) -> Stream:
    now = transaction.now
    after = streams.save(transaction, scope, stream, stream._replace(archived_at=now))
    common = streams.event_fields(scope.workspace.name, after)
    log.append(transaction, StreamArchived(**common, archived_at=now), scope.actor)
    return after


def _missing(connection: Connection, workspace: Workspace, stream_id: str) -> NotFound:
    known = [f"{stream.stream_id}" for stream in streams.every(connection, workspace.id)]
    more = " …" if len(known) > STREAMS_NAMED else ""
    named = ", ".join(known[:STREAMS_NAMED]) + more if known else "no streams"
    return NotFound(f"No stream {stream_id!r} in the workspace {workspace.name}; it has {named}.")


def _refuse_unfinished(stream: Stream) -> None:
    if stream.archived_at is not None:
        raise InvalidInput(f"{stream.stream_id} is archived already, since {stream.archived_at}.")
    if stream.all_done:
        return
    left = stream.total - stream.completed
    reason = f"{left} open task{'' if left == 1 else 's'}" if left else "no completed task"
    raise InvalidInput(
        f"{stream.stream_id} is not finished: it has {reason}. "
        "Only a stream with completed and no open tasks can be archived."
    )


_FINISHED = (
    select(table.c.stream_id, *streams.STREAM_COLUMNS)
    .where(
        table.c.archived_at.is_(None),
        table.c.completed > 0,
        table.c.pending + table.c.in_progress + table.c.blocked == 0,
    )
    .order_by(table.c.created_at, table.c.stream_id)
    .limit(ARCHIVED_AT_ONCE)
)


def archive_finished(transaction: Transaction, scope: Scope) -> list[Stream]:
    """Archives the finished streams of a workspace, oldest first, and returns them.

    At most `ARCHIVED_AT_ONCE`: call again until there are none.
    """
    query = _FINISHED.where(table.c.workspace_id == scope.workspace.id)
    rows = transaction.connection.execute(query).all()
    return [_archive(transaction, scope, streams.from_row(row)) for row in rows]


def _unchanged(before: str) -> Select[tuple[object, ...]]:
    changed = exists().where(
        tasks.c.workspace_id == table.c.workspace_id,
        tasks.c.stream_id == table.c.stream_id,
        tasks.c.updated_at >= before,
    )
    return _FINISHED.where(table.c.updated_at < before, ~changed)


def any_unchanged(connection: Connection, before: str) -> bool:
    """Whether `archive_unchanged` would archive something."""
    return connection.execute(_unchanged(before).limit(1)).first() is not None


def archive_unchanged(transaction: Transaction, before: str) -> int:
    """Archives the finished streams of all workspaces in which nothing has changed since
    `before`, a time; returns how many. At most `ARCHIVED_AT_ONCE`.
    """
    query = _unchanged(before).add_columns(workspaces.c.id, workspaces.c.name)
    rows = transaction.connection.execute(
        query.join(workspaces, workspaces.c.id == table.c.workspace_id)
    ).all()
    for row in rows:
        scope = Scope(Workspace(row.id, row.name), ACTOR)
        _archive(transaction, scope, streams.from_row(row))
    return len(rows)
