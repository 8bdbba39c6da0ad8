"""Changing a task: what follows from its new status, stream and texts, and the events."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, bindparam, update

from task_copilot import jsontext, streams, task_queries
from task_copilot.clock import milliseconds_between
from task_copilot.database.prepared import Prepared
from task_copilot.database.tables import tasks
from task_copilot.database.transaction import Transaction
from task_copilot.errors import InvalidInput
from task_copilot.events import log
from task_copilot.events.types import (
    Change,
    StreamPhase,
    TaskBlocked,
    TaskCompleted,
    TaskStatus,
    TaskStatusChanged,
    TaskUpdated,
    camel,
)
from task_copilot.ids import task_id
from task_copilot.streams import Stream, StreamChange
from task_copilot.tasks import (
    Saved,
    Task,
    bounded_metadata,
    event_fields,
    find,
    refuse_loop,
    renamed,
)
from task_copilot.workspaces import Scope

NO_REASON = "no reason given"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskChange:
    """What an update says; None leaves a field as it is, an empty text clears it.

    `stream_id` moves the task, "" takes it out of its stream; `stream` changes the fields
    of the stream that it is in then. `metadata` is merged; a null value removes a key.
    """

    title: str | None = None
    description: str | None = None
    parent: int | None = None
    status: TaskStatus | None = None
    assigned_agent: str | None = None
    notes: str | None = None
    blocked_reason: str | None = None
    stream_id: str | None = None
    stream_name: str | None = None
    stream_phase: StreamPhase | None = None
    stream_dependencies: tuple[str, ...] | None = None
    files: tuple[str, ...] | None = None
    metadata: Mapping[str, Any] | None = None


@lru_cache(maxsize=256)
def _update_of(columns: frozenset[str]) -> Prepared:
    values: dict[str, Any] = {name: bindparam(f"new_{name}") for name in sorted(columns)}
    return Prepared(update(tasks).where(tasks.c.id == bindparam("task")).values(values))


def update_task(transaction: Transaction, scope: Scope, number: int, change: TaskChange) -> Saved:
    """Changes a task, with its events and the counters of its streams.

    Raises NotFound for an unknown task, and InvalidInput for what its state does not allow.
    """
    connection = transaction.connection
    old, old_stream = find(connection, scope.workspace, number)
    if change.parent is not None:
        find(connection, scope.workspace, change.parent, "parentId")
        refuse_loop(connection, number, change.parent)
    new = _changed(old, change, transaction.now)
    texts_before, texts_after = _changed_texts(connection, number, change)
    before, after = _changed_stream(transaction, scope, old, old_stream, new, change)
    moved = old.stream_id != new.stream_id
    left = None
    if moved and old_stream is not None:
        left = streams.save(
            transaction, scope, old_stream, streams.count(old_stream, old.status, None)
        )
    _write(transaction, old, new, texts_after)
    changes = _compare(old, new, texts_before, texts_after) + _compare_streams(before, after)
    _append_task_events(transaction, scope, old, new, changes)
    if left is not None:
        streams.append_events(
            transaction, scope, old_stream, left, blocked_set_changed=old.status == "blocked"
        )
    if after is not None:
        entered = new.status == "blocked" and moved
        flipped = (old.status == "blocked") != (new.status == "blocked")
        streams.append_events(
            transaction,
            scope,
            before,
            after,
            blocked_set_changed=entered or (flipped and not moved),
        )
    return Saved(new.id, new.status, new.stream_id, new.updated_at)


def _changed(old: Task, change: TaskChange, now: str) -> Task:
    status = change.status or old.status
    new = old._replace(
        title=change.title or old.title,
        status=status,
        parent_id=old.parent_id if change.parent is None else change.parent,
        assigned_agent=_replaced(old.assigned_agent, change.assigned_agent),
        stream_id=_replaced(old.stream_id, change.stream_id),
        blocked_reason=_blocked_reason(old, status, change.blocked_reason),
        updated_at=now,
    )
    if status == old.status:
        return new
    return new._replace(
        started_at=old.started_at or (now if status == "in_progress" else None),
        blocked_at=now if status == "blocked" else None,
        completed_at=now if status == "completed" else None,
    )


def _replaced(old: str | None, given: str | None) -> str | None:
    return old if given is None else (given or None)


def _blocked_reason(old: Task, status: TaskStatus, given: str | None) -> str | None:
    if status == "blocked":
        kept = old.blocked_reason if given is None else given
        return kept or NO_REASON
    if given:
        raise InvalidInput(
            f'blockedReason: goes with status "blocked"; {task_id(old.id)} would be {status}.'
        )
    return None


def _changed_texts(
    connection: Connection, number: int, change: TaskChange
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The long fields that `change` speaks of, as they were and as they will be."""
    given: dict[str, Any] = {
        "description": change.description,
        "notes": change.notes,
        "files": change.files,
        "metadata": change.metadata,
    }
    given = {name: value for name, value in given.items() if value is not None}
    if not given:
        return {}, {}
    stored = task_queries.long_texts(connection, number)._asdict()
    after = {
        name: _merged(stored[name], value)
        if name == "metadata"
        else (list(value) if name == "files" else value or None)
        for name, value in given.items()
    }
    return {name: stored[name] for name in given}, after


def _merged(metadata: Mapping[str, Any], given: Mapping[str, Any]) -> Mapping[str, Any]:
    merged = {**metadata, **given}
    return bounded_metadata({name: value for name, value in merged.items() if value is not None})


def _changed_stream(
    transaction: Transaction,
    scope: Scope,
    old: Task,
    old_stream: Stream | None,
    new: Task,
    change: TaskChange,
) -> tuple[Stream | None, Stream | None]:
    """The stream that the task is in now, before and after, its row written."""
    if new.stream_id is None:
        _refuse_stream_fields(change)
        return None, None
    connection = transaction.connection
    moved = old.stream_id != new.stream_id
    before = old_stream
    if moved:
        before = streams.find(connection, scope.workspace.id, new.stream_id)
    said = StreamChange(
        stream_id=new.stream_id,
        name=change.stream_name,
        phase=change.stream_phase,
        dependencies=change.stream_dependencies,
    )
    after = renamed(connection, scope, before, said)
    if moved or old.status != new.status:
        after = streams.count(after, None if moved else old.status, new.status)
    return before, streams.save(transaction, scope, before, after)


def _refuse_stream_fields(change: TaskChange) -> None:
    given = (change.stream_name, change.stream_phase, change.stream_dependencies)
    if any(value is not None for value in given):
        raise InvalidInput("streamId: the task is in no stream; say which one the rest is about.")


def _write(transaction: Transaction, old: Task, new: Task, texts: Mapping[str, Any]) -> None:
    values: dict[str, Any] = {
        name: getattr(new, name)
        for name in Task._fields
        if getattr(new, name) != getattr(old, name)
    }
    values["updated_at"] = new.updated_at
    for name, value in texts.items():
        values[name] = jsontext.encode(value) if name in {"files", "metadata"} else value
    statement = _update_of(frozenset(values))
    arguments = {f"new_{name}": value for name, value in values.items()}
    statement.run(transaction.connection, {"task": old.id, **arguments})


_COMPARED = ("title", "status", "assigned_agent", "blocked_reason", "stream_id")


def _compare(
    old: Task, new: Task, texts_before: Mapping[str, Any], texts_after: Mapping[str, Any]
) -> tuple[Change, ...]:
    found: list[tuple[str, Any, Any]] = [
        (name, getattr(old, name), getattr(new, name)) for name in _COMPARED
    ]
    found.append(("parent_id", _optional_id(old.parent_id), _optional_id(new.parent_id)))
    found += [(name, texts_before[name], value) for name, value in texts_after.items()]
    return tuple(Change(camel(name), was, now) for name, was, now in found if was != now)


def _optional_id(number: int | None) -> str | None:
    return None if number is None else task_id(number)


def _compare_streams(before: Stream | None, after: Stream | None) -> tuple[Change, ...]:
    # The fields of a stream have no event of their own: the task's update carries them.
    if before is None or after is None:
        return ()
    found = (
        ("streamName", before.name, after.name),
        ("streamPhase", before.phase, after.phase),
        ("streamDependencies", before.dependencies, after.dependencies),
    )
    return tuple(Change(name, was, now) for name, was, now in found if was != now)


def _append_task_events(
    transaction: Transaction, scope: Scope, old: Task, new: Task, changes: tuple[Change, ...]
) -> None:
    common = event_fields(scope, new, old.status)
    now = transaction.now
    updated = TaskUpdated(**common, status=new.status, changes=changes, updated_at=now)
    log.append(transaction, updated, scope.actor)
    if new.status == old.status:
        return
    log.append(transaction, TaskStatusChanged(**common, status_changed_at=now), scope.actor)
    if new.status == "blocked":
        log.append(transaction, TaskBlocked(**common, blocked_at=now), scope.actor)
    elif new.status == "completed":
        duration = None if new.started_at is None else milliseconds_between(new.started_at, now)
        completed = TaskCompleted(**common, completed_at=now, duration=duration)
        log.append(transaction, completed, scope.actor)
