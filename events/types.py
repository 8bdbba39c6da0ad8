"""The vocabulary: every event that the program appends to its log, declared once.

An event is a frozen dataclass. Its class says its type and its topic; its fields are the
``data`` that listeners read, in camelCase. `data` and `payload` turn one into its wire
form; nothing else builds events for the wire.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any, ClassVar, Literal

from task_copilot import jsontext

MAX_EVENT_BYTES = 32 * 1024
"""An event's largest payload; the largest changes are left out beyond it."""

MAX_BYTES_OF_A_CHARACTER = 4

_MAX_STORED_BYTES = MAX_EVENT_BYTES - len('"seq":9223372036854775807,')

MAX_CHANGE_BYTES = 2 * 1024
"""A value in `changes` that is larger appears as ``{"omitted": bytes}``."""

TaskStatus = Literal["pending", "in_progress", "blocked", "completed", "cancelled"]
StreamStatus = Literal["pending", "in_progress", "blocked", "completed"]
StreamPhase = Literal["foundation", "parallel", "integration"]
CheckpointTrigger = Literal["manual", "auto_status", "auto_subtask", "error"]


@dataclass(frozen=True, slots=True)
class Change:
    """One field that an update changed, with its values as they appear on the wire."""

    field: str
    old_value: Any
    new_value: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What all events have; `topic_id` is the part of the topic behind its kind."""

    event_type: ClassVar[str]
    kind: ClassVar[str]

    workspace: str

    @property
    def topic_id(self) -> str:
        raise NotImplementedError

    @property
    def topic(self) -> str:
        return f"{self.kind}:{self.topic_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskEvent(Event):
    """The fields that a callback on ``task:*`` finds in every event."""

    kind: ClassVar[str] = "task"

    task_id: str
    task_title: str
    parent_id: str | None
    stream_id: str | None
    assigned_agent: str | None
    old_status: TaskStatus | None
    new_status: TaskStatus
    blocked_reason: str | None

    @property
    def topic_id(self) -> str:
        return self.task_id


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCreated(TaskEvent):
    event_type: ClassVar[str] = "task.created"

    created_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskUpdated(TaskEvent):
    event_type: ClassVar[str] = "task.updated"

    status: TaskStatus
    changes: tuple[Change, ...]
    updated_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskStatusChanged(TaskEvent):
    event_type: ClassVar[str] = "task.status_changed"

    status_changed_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskBlocked(TaskEvent):
    event_type: ClassVar[str] = "task.blocked"

    blocked_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCompleted(TaskEvent):
    """`duration` is in milliseconds since first in progress, None if it never was."""

    event_type: ClassVar[str] = "task.completed"

    completed_at: str
    duration: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRedacted(TaskEvent):
    """Values of `fields` were removed from the task and from every earlier event."""

    event_type: ClassVar[str] = "task.redacted"

    fields: tuple[str, ...]
    redacted_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamEvent(Event):
    """The fields that a callback on ``stream:*`` finds in every event.

    Cancelled tasks count nowhere; `progress_percentage` is 0.0 to 100.0.
    """

    kind: ClassVar[str] = "stream"

    stream_id: str
    stream_name: str
    total_tasks: int
    completed_tasks: int
    in_progress_tasks: int
    blocked_tasks: int
    pending_tasks: int
    progress_percentage: float
    last_updated: str
    status: StreamStatus
    stream_phase: StreamPhase
    dependencies: tuple[str, ...]

    @property
    def topic_id(self) -> str:
        return self.stream_id


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamProgress(StreamEvent):
    event_type: ClassVar[str] = "stream.progress"


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamCompleted(StreamEvent):
    """`duration` is in milliseconds since the stream started."""

    event_type: ClassVar[str] = "stream.completed"

    completed_at: str
    duration: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamBlocked(StreamEvent):
    """`blocked_task_ids` are the newest 20."""

    event_type: ClassVar[str] = "stream.blocked"

    blocked_reason: str | None
    blocked_task_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamStarted(StreamEvent):
    event_type: ClassVar[str] = "stream.started"

    started_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamArchived(StreamEvent):
    """The stream was put away, until its next `stream.progress`."""

    event_type: ClassVar[str] = "stream.archived"

    archived_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointEvent(Event):
    """The fields that a callback on ``checkpoint:*`` finds in every event."""

    kind: ClassVar[str] = "checkpoint"

    checkpoint_id: str
    task_id: str
    task_title: str
    stream_id: str | None
    sequence: int

    @property
    def topic_id(self) -> str:
        return self.task_id


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointCreated(CheckpointEvent):
    event_type: ClassVar[str] = "checkpoint.created"

    trigger: CheckpointTrigger
    execution_phase: str | None
    execution_step: int | str | None
    has_draft: bool
    expires_at: str
    created_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointResumed(CheckpointEvent):
    event_type: ClassVar[str] = "checkpoint.resumed"

    resumed_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointExpired(CheckpointEvent):
    event_type: ClassVar[str] = "checkpoint.expired"

    expired_at: str


EVENT_CLASSES: tuple[type[Event], ...] = (
    TaskCreated,
    TaskUpdated,
    TaskStatusChanged,
    TaskBlocked,
    TaskCompleted,
    TaskRedacted,
    StreamProgress,
    StreamCompleted,
    StreamBlocked,
    StreamStarted,
    StreamArchived,
    CheckpointCreated,
    CheckpointResumed,
    CheckpointExpired,
)
"""All events, in the order in which one operation emits them."""

EVENT_TYPES = tuple(event_class.event_type for event_class in EVENT_CLASSES)


def camel(name: str) -> str:
    """The wire's name of a Python name: ``task_id`` becomes ``taskId``."""
    return re.sub(r"_([a-z])", lambda found: found.group(1).upper(), name)


_WIRE_NAMES = {
    event_class: tuple(camel(item.name) for item in fields(event_class))
    for event_class in EVENT_CLASSES
}
_VALUES = {
    event_class: attrgetter(*(item.name for item in fields(event_class)))
    for event_class in EVENT_CLASSES
}


def data(event: Event) -> dict[str, Any]:
    """The ``data`` of an event: every field, camelCase, ready for JSON."""
    kind = type(event)
    found = dict(zip(_WIRE_NAMES[kind], _VALUES[kind](event), strict=True))
    if isinstance(event, TaskUpdated):
        found["changes"] = [_wire_change(change) for change in event.changes]
    return found


def _wire_change(change: Change) -> dict[str, Any]:
    return {
        "field": change.field,
        "oldValue": _bounded(change.old_value),
        "newValue": _bounded(change.new_value),
    }


def _bounded(value: Any) -> Any:
    size = jsontext.size(value)
    return value if size <= MAX_CHANGE_BYTES else {"omitted": size}


def payload(event: Event, *, actor: str, timestamp: str) -> str:
    """The JSON text of an event as the log stores it: all but its ``seq``."""
    content = {
        "topic": event.topic,
        "eventType": event.event_type,
        "workspace": event.workspace,
        "actor": actor,
        "timestamp": timestamp,
        "data": data(event),
    }
    return stored_text(content)


def stored_text(content: dict[str, Any]) -> str:
    """The text of an event's payload, with less of its changes where it would be too large."""
    text = jsontext.encode(content)
    if len(text) * MAX_BYTES_OF_A_CHARACTER > _MAX_STORED_BYTES:
        text = _shortened(content)
    return text


def _shortened(content: dict[str, Any]) -> str:
    """The text of an event that fits: its largest changes are left out first."""
    changes: Iterable[dict[str, Any]] = content["data"].get("changes", ())
    for change in sorted(changes, key=jsontext.size, reverse=True):
        if jsontext.size(content) <= _MAX_STORED_BYTES:
            break
        change["oldValue"] = {"omitted": jsontext.size(change["oldValue"])}
        change["newValue"] = {"omitted": jsontext.size(change["newValue"])}
    return jsontext.encode(content)


def numbered(seq: int, stored: str) -> str:
    """The payload text with its ``seq``: what the log stored, sent without parsing it."""
    return f'{{"seq":{seq},{stored[1:]}'
