"""Removing a value that should never have been recorded, also from what is history."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, and_, or_, select, update

from task_copilot import jsontext, requests, tasks
from task_copilot.database.tables import checkpoints, events
from task_copilot.database.tables import tasks as tasks_table
from task_copilot.database.transaction import Transaction
from task_copilot.errors import InvalidInput
from task_copilot.events import log
from task_copilot.events.types import TaskRedacted, stored_text
from task_copilot.ids import task_id
from task_copilot.redacted import Field, clean_event, parse_field
from task_copilot.workspaces import Scope

EVENTS_AT_ONCE = 500

_COLUMNS = {
    "title": tasks_table.c.title,
    "description": tasks_table.c.description,
    "notes": tasks_table.c.notes,
    "metadata": tasks_table.c.metadata,
    "blockedReason": tasks_table.c.blocked_reason,
    "files": tasks_table.c.files,
}
_JSON = ("metadata", "files")
_FREE_OF_CHECKPOINTS = (
    *(checkpoints.c.agent_context, checkpoints.c.draft_content, checkpoints.c.draft_type),
    *(checkpoints.c.pause_metadata, checkpoints.c.execution_phase, checkpoints.c.execution_step),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Redacted:
    """What `redact` has changed, besides the task itself: how many events, checkpoints and
    stored answers of checkpoint_resume."""

    events: int
    checkpoints: int
    answers: int = 0


def redact(transaction: Transaction, scope: Scope, task_number: int, field: str) -> Redacted:
    """Removes every value that `field` has or had from the task, from its checkpoints and
    from the stored events; their ``seq``, their order and all else stay, also `updated_at`.
    Stored answers of the task go whole, whatever the field: a call that is repeated with its
    request id gets a refusal that says so.

    Raises NotFound for an unknown task, and InvalidInput for a field that cannot be redacted
    or that holds nothing anywhere. `task.redacted` tells listeners. What they have received
    is theirs, and a server that runs may hold the newest 1,000 events in memory until it has
    read that event. From the files the bytes are gone after `Database.scrub`.
    """
    wanted = parse_field(field)
    connection = transaction.connection
    tasks.find(connection, scope.workspace, task_number)
    changed = _clean_task(connection, task_number, wanted)
    kept = _clean_checkpoints(connection, task_number, wanted)
    told = _clean_stored_events(connection, task_number, wanted)
    told += _clean_waiting_events(transaction, task_number, wanted)
    answers = requests.redact(connection, task_number)
    if not (changed or kept or told or answers):
        raise InvalidInput(
            f"{task_id(task_number)} has no {field} to redact, now or before. Nothing was changed."
        )
    task, _stream = tasks.find(connection, scope.workspace, task_number)
    common = tasks.event_fields(scope, task, task.status)
    event = TaskRedacted(**common, fields=(field,), redacted_at=transaction.now)
    log.append(transaction, event, scope.actor)
    return Redacted(events=told, checkpoints=kept, answers=answers)


def _clean_task(connection: Connection, number: int, field: Field) -> bool:
    column = _COLUMNS.get(field.name)
    if column is None:
        return False
    this_task = tasks_table.c.id == number
    stored = connection.execute(select(column).where(this_task)).scalar_one()
    value = jsontext.decode(stored) if field.name in _JSON else stored
    left = field.left_of(value)
    if left == value:
        return False
    new = jsontext.encode(left) if field.name in _JSON else left
    connection.execute(update(tasks_table).where(this_task).values({column: new}))
    return True


def _clean_checkpoints(connection: Connection, number: int, field: Field) -> int:
    of_task = checkpoints.c.task_id == number
    if field.name == "checkpoints":
        holds_some = or_(*(column.is_not(None) for column in _FREE_OF_CHECKPOINTS))
        nothing = dict.fromkeys(_FREE_OF_CHECKPOINTS)
        statement = update(checkpoints).where(of_task, holds_some).values(nothing)
        return connection.execute(statement).rowcount
    cleaned = 0
    rows = connection.execute(select(checkpoints.c.id, checkpoints.c.snapshot).where(of_task))
    for row in rows.all():
        snapshot = jsontext.decode(row.snapshot)
        left = field.left_of(snapshot.get(field.name))
        if left == snapshot.get(field.name):
            continue
        new = jsontext.encode({**snapshot, field.name: left})
        this_one = update(checkpoints).where(checkpoints.c.id == row.id)
        connection.execute(this_one.values(snapshot=new))
        cleaned += 1
    return cleaned


def _clean_stored_events(connection: Connection, number: int, field: Field) -> int:
    cleaned = 0
    for seq, payload in _stored_events(connection, task_id(number)):
        new = _cleaned(payload, task_id(number), field)
        if new is not None:
            this_one = update(events).where(events.c.seq == seq)
            connection.execute(this_one.values(payload=new))
            cleaned += 1
    return cleaned


def _stored_events(connection: Connection, task: str) -> Iterator[tuple[int, str]]:
    tells_of_task = or_(
        events.c.topic.in_(_topics(task)),
        and_(
            events.c.event_type == "stream.blocked",
            events.c.payload.contains(f'"blockedTaskIds":["{task}"', autoescape=True),
        ),
    )
    query = select(events.c.seq, events.c.payload).where(tells_of_task)
    query = query.order_by(events.c.seq).limit(EVENTS_AT_ONCE)
    position = 0
    while rows := connection.execute(query.where(events.c.seq > position)).all():
        for row in rows:
            yield row.seq, row.payload
        position = rows[-1].seq


def _topics(task: str) -> tuple[str, str]:
    return f"task:{task}", f"checkpoint:{task}"


def _clean_waiting_events(transaction: Transaction, number: int, field: Field) -> int:
    # Other operations of the same commit: their events are not in the table yet.
    cleaned = 0
    task = task_id(number)
    for place, entry in enumerate(transaction.outbox):
        if entry.topic in _topics(task) or entry.event_type == "stream.blocked":
            new = _cleaned(entry.payload, task, field)
            if new is not None:
                transaction.outbox[place] = replace(entry, payload=new)
                cleaned += 1
    return cleaned


def _cleaned(payload: str, task: str, field: Field) -> str | None:
    """The text of an event without the values of `field`; None where it has none."""
    content: dict[str, Any] = jsontext.decode(payload)
    clean_event(content, task, field)
    return None if content == jsontext.decode(payload) else stored_text(content)
