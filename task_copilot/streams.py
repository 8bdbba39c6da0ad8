"""Streams: groups of tasks with a phase, dependencies and counters of their own.

A stream keeps its counters in its row, changed in the transaction that changes a task, so
that its progress costs the same with ten tasks as with a hundred thousand.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, insert, select, update

from task_copilot import jsontext
from task_copilot.clock import milliseconds_between
from task_copilot.database.prepared import Prepared
from task_copilot.database.tables import streams, tasks
from task_copilot.database.transaction import Transaction
from task_copilot.errors import InvalidInput
from task_copilot.events import log
from task_copilot.events.types import (
    StreamBlocked,
    StreamCompleted,
    StreamPhase,
    StreamProgress,
    StreamStarted,
    StreamStatus,
    TaskStatus,
)
from task_copilot.ids import task_id
from task_copilot.workspaces import Scope

BLOCKED_TASKS_SHOWN = 20
DEFAULT_PHASE: StreamPhase = "parallel"


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamChange:
    """What a call says of a stream; None leaves a field as it is."""

    stream_id: str
    name: str | None = None
    phase: StreamPhase | None = None
    dependencies: tuple[str, ...] | None = None


def percentage(completed: int, total: int) -> float:
    """0.0 to 100.0 with one decimal; 100.0 only where all are completed, 0.0 where none are."""
    if not total:
        return 0.0
    rounded = round(100.0 * completed / total, 1)
    return rounded if completed == total else min(rounded, 99.9)


class Stream(NamedTuple):
    """A stream's row. Cancelled tasks count nowhere."""

    stream_id: str
    name: str
    phase: StreamPhase
    dependencies: tuple[str, ...]
    pending: int = 0
    in_progress: int = 0
    blocked: int = 0
    completed: int = 0
    started_at: str | None = None
    completed_at: str | None = None
    updated_at: str = ""
    archived_at: str | None = None

    @property
    def total(self) -> int:
        return self.pending + self.in_progress + self.blocked + self.completed

    @property
    def all_done(self) -> bool:
        """No open task, and at least one completed."""
        return self.completed > 0 and self.completed == self.total

    @property
    def status(self) -> StreamStatus:
        if self.blocked:
            return "blocked"
        if self.all_done:
            return "completed"
        return "in_progress" if self.started_at else "pending"

    @property
    def progress_percentage(self) -> float:
        """0.0 to 100.0 with one decimal; 0.0 without tasks."""
        return percentage(self.completed, self.total)

    def counts(self) -> tuple[int, int, int, int]:
        return (self.pending, self.in_progress, self.blocked, self.completed)


STREAM_COLUMNS = (
    streams.c.name.label("stream_name"),
    streams.c.phase.label("stream_phase"),
    streams.c.dependencies.label("stream_dependencies"),
    streams.c.pending,
    streams.c.in_progress,
    streams.c.blocked,
    streams.c.completed,
    streams.c.started_at.label("stream_started_at"),
    streams.c.completed_at.label("stream_completed_at"),
    streams.c.updated_at.label("stream_updated_at"),
    streams.c.archived_at.label("stream_archived_at"),
)
_SELECT = select(streams.c.stream_id, *STREAM_COLUMNS).where(
    streams.c.workspace_id == bindparam("workspace")
)
_SELECT_ONE = Prepared(_SELECT.where(streams.c.stream_id == bindparam("stream")))
_SELECT_ALL = Prepared(_SELECT.order_by(streams.c.created_at, streams.c.stream_id))
_INSERT = Prepared(insert(streams))
_UPDATE = Prepared(
    update(streams)
    .where(
        streams.c.workspace_id == bindparam("in_workspace"),
        streams.c.stream_id == bindparam("of_stream"),
    )
    .values(
        {
            column: bindparam(f"new_{column}")
            for column in (
                *("name", "phase", "dependencies", "pending", "in_progress", "blocked"),
                *("completed", "started_at", "completed_at", "updated_at", "archived_at"),
            )
        }
    )
)
_DEPENDENCIES = Prepared(
    select(streams.c.stream_id, streams.c.dependencies).where(
        streams.c.workspace_id == bindparam("workspace")
    )
)
_BLOCKED_TASKS = Prepared(
    select(tasks.c.id, tasks.c.blocked_reason)
    .where(
        tasks.c.workspace_id == bindparam("workspace"),
        tasks.c.stream_id == bindparam("stream"),
        tasks.c.status == "blocked",
    )
    .order_by(tasks.c.blocked_at.desc(), tasks.c.id.desc())
    .limit(BLOCKED_TASKS_SHOWN)
)


def from_row(row: Any) -> Stream:
    """The stream of a row that holds `STREAM_COLUMNS` and a ``stream_id``."""
    return Stream(
        stream_id=row.stream_id,
        name=row.stream_name,
        phase=row.stream_phase,
        dependencies=tuple(jsontext.decode(row.stream_dependencies)),
        pending=row.pending,
        in_progress=row.in_progress,
        blocked=row.blocked,
        completed=row.completed,
        started_at=row.stream_started_at,
        completed_at=row.stream_completed_at,
        updated_at=row.stream_updated_at,
        archived_at=row.stream_archived_at,
    )


def find(connection: Connection, workspace_id: int, stream_id: str) -> Stream | None:
    """The stream, or None if no task has named it yet."""
    row = _SELECT_ONE.first(connection, {"workspace": workspace_id, "stream": stream_id})
    return None if row is None else from_row(row)


def every(connection: Connection, workspace_id: int) -> list[Stream]:
    """All streams of a workspace in the order in which they were made."""
    return [from_row(row) for row in _SELECT_ALL.all(connection, {"workspace": workspace_id})]


_PHASES_BEFORE: dict[StreamPhase, tuple[StreamPhase, ...]] = {
    "foundation": (),
    "parallel": ("foundation",),
    "integration": ("foundation", "parallel"),
}


class Readiness:
    """Which of a workspace's streams can start, and what the others wait for."""

    def __init__(self, every: Iterable[Stream]) -> None:
        self._done: dict[str, bool] = {}
        self._unfinished: dict[StreamPhase, list[str]] = {phase: [] for phase in _PHASES_BEFORE}
        for stream in every:
            self._done[stream.stream_id] = stream.all_done
            if stream.total and not stream.all_done:
                self._unfinished[stream.phase].append(stream.stream_id)

    def waits_for(self, stream: Stream) -> list[str]:
        """The streams that have to complete before `stream` can start.

        They are its dependencies that are not complete; a stream without any waits for the
        phases before its own.
        """
        if stream.dependencies:
            return [needed for needed in stream.dependencies if not self._done.get(needed)]
        return [
            waited for phase in _PHASES_BEFORE[stream.phase] for waited in self._unfinished[phase]
        ]

    def is_ready(self, stream: Stream) -> bool:
        """Whether `stream` has tasks, has not started, and waits for no other."""
        return stream.status == "pending" and stream.total > 0 and not self.waits_for(stream)


def with_change(
    connection: Connection, scope: Scope, stream: Stream, change: StreamChange
) -> Stream:
    """`stream` with the name, phase and dependencies of `change`.

    Raises InvalidInput if the dependencies would make a cycle.
    """
    dependencies = stream.dependencies
    if change.dependencies is not None:
        dependencies = tuple(dict.fromkeys(change.dependencies))
    if dependencies != stream.dependencies:
        _refuse_cycle(connection, scope.workspace.id, stream.stream_id, dependencies)
    return stream._replace(
        name=change.name or stream.name,
        phase=change.phase or stream.phase,
        dependencies=dependencies,
    )


def new_stream(connection: Connection, scope: Scope, change: StreamChange) -> Stream:
    """A stream that is not in the tables yet, as its first task names it."""
    blank = Stream(
        stream_id=change.stream_id, name=change.stream_id, phase=DEFAULT_PHASE, dependencies=()
    )
    return with_change(connection, scope, blank, change)


def _refuse_cycle(
    connection: Connection, workspace_id: int, stream_id: str, dependencies: tuple[str, ...]
) -> None:
    rows = _DEPENDENCIES.all(connection, {"workspace": workspace_id})
    graph = {row.stream_id: tuple(jsontext.decode(row.dependencies)) for row in rows}
    cycle = find_cycle({**graph, stream_id: dependencies}, stream_id)
    if cycle:
        raise InvalidInput(
            f"streamDependencies: {' needs '.join(cycle)}, which is a cycle. Leave one out."
        )


def find_cycle(graph: Mapping[str, tuple[str, ...]], start: str) -> list[str]:
    """The way from `start` back to itself, both ends included; empty if there is none."""
    came_from: dict[str, str] = {}
    waiting = [start]
    while waiting:
        current = waiting.pop()
        for needed in graph.get(current, ()):
            if needed == start:
                return _way_back(came_from, start, current)
            if needed not in came_from:
                came_from[needed] = current
                waiting.append(needed)
    return []


def _way_back(came_from: Mapping[str, str], start: str, last: str) -> list[str]:
    way = [start, last]
    while way[-1] != start:
        way.append(came_from[way[-1]])
    return way[::-1] if last != start else [start, start]


def count(stream: Stream, old: TaskStatus | None, new: TaskStatus | None) -> Stream:
    """`stream` after one of its tasks went from `old` to `new`; None is "not in it".

    Whatever comes in or counts differently brings an archived stream back.
    """
    changed = {"pending": 0, "in_progress": 0, "blocked": 0, "completed": 0, "cancelled": 0}
    if old is not None:
        changed[old] -= 1
    if new is not None:
        changed[new] += 1
    counted = stream._replace(
        pending=stream.pending + changed["pending"],
        in_progress=stream.in_progress + changed["in_progress"],
        blocked=stream.blocked + changed["blocked"],
        completed=stream.completed + changed["completed"],
    )
    if old is not None and counted == stream:
        return stream
    return counted._replace(archived_at=None)


def save(transaction: Transaction, scope: Scope, before: Stream | None, after: Stream) -> Stream:
    """Writes the row of a stream whose counters or names changed; returns what it holds.

    It comes before the task's own row, which refers to it, and `append_events` after both.
    """
    after = _with_milestones(after, transaction.now)
    if before is None:
        _write_new(transaction, scope, after)
    elif before == after._replace(updated_at=before.updated_at):
        return before
    else:
        _write(transaction, scope, after)
    return after


def _with_milestones(stream: Stream, now: str) -> Stream:
    moved = stream.in_progress or stream.blocked or stream.completed
    return stream._replace(
        started_at=stream.started_at or (now if moved else None),
        completed_at=(stream.completed_at or now) if stream.all_done else None,
        updated_at=now,
    )


def _row_values(stream: Stream) -> dict[str, Any]:
    return {
        "name": stream.name,
        "phase": stream.phase,
        "dependencies": jsontext.encode(stream.dependencies),
        "pending": stream.pending,
        "in_progress": stream.in_progress,
        "blocked": stream.blocked,
        "completed": stream.completed,
        "started_at": stream.started_at,
        "completed_at": stream.completed_at,
        "updated_at": stream.updated_at,
        "archived_at": stream.archived_at,
    }


def _write_new(transaction: Transaction, scope: Scope, stream: Stream) -> None:
    key = {"workspace_id": scope.workspace.id, "stream_id": stream.stream_id}
    values = {**key, **_row_values(stream), "created_at": transaction.now}
    _INSERT.run(transaction.connection, values)


def _write(transaction: Transaction, scope: Scope, stream: Stream) -> None:
    key = {"in_workspace": scope.workspace.id, "of_stream": stream.stream_id}
    values = {f"new_{name}": value for name, value in _row_values(stream).items()}
    _UPDATE.run(transaction.connection, {**key, **values})


def append_events(
    transaction: Transaction,
    scope: Scope,
    before: Stream | None,
    after: Stream,
    *,
    blocked_set_changed: bool = False,
) -> None:
    """Appends the events that the change of a saved stream asks for, in their order."""
    common = event_fields(scope.workspace.name, after)
    returned = before is not None and before.archived_at and not after.archived_at
    if before is None or before.counts() != after.counts() or returned:
        log.append(transaction, StreamProgress(**common), scope.actor)
    if after.completed_at and (before is None or before.completed_at is None):
        log.append(transaction, _completed(common, after), scope.actor)
    if blocked_set_changed and after.blocked:
        log.append(transaction, _blocked(transaction, scope, common, after), scope.actor)
    if after.started_at and (before is None or before.started_at is None):
        event = StreamStarted(**common, started_at=after.started_at)
        log.append(transaction, event, scope.actor)


def _completed(common: dict[str, Any], stream: Stream) -> StreamCompleted:
    ended = stream.completed_at or stream.updated_at
    return StreamCompleted(
        **common,
        completed_at=ended,
        duration=milliseconds_between(stream.started_at or ended, ended),
    )


def _blocked(
    transaction: Transaction, scope: Scope, common: dict[str, Any], stream: Stream
) -> StreamBlocked:
    newest = _BLOCKED_TASKS.all(
        transaction.connection,
        {"workspace": scope.workspace.id, "stream": stream.stream_id},
    )
    return StreamBlocked(
        **common,
        blocked_reason=newest[0].blocked_reason,
        blocked_task_ids=tuple(task_id(row.id) for row in newest),
    )


def event_fields(workspace: str, stream: Stream) -> dict[str, Any]:
    """The fields that every event of a stream has."""
    return {
        "workspace": workspace,
        "stream_id": stream.stream_id,
        "stream_name": stream.name,
        "total_tasks": stream.total,
        "completed_tasks": stream.completed,
        "in_progress_tasks": stream.in_progress,
        "blocked_tasks": stream.blocked,
        "pending_tasks": stream.pending,
        "progress_percentage": stream.progress_percentage,
        "last_updated": stream.updated_at,
        "status": stream.status,
        "stream_phase": stream.phase,
        "dependencies": stream.dependencies,
    }
