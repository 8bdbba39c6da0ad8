"""What the log tells of a moment: the changes after it, undone, and the last ones before it.

Rows are read one by one and mostly by their first letters: a log of 100,000 events takes about
a second.
"""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, bindparam, or_, select

from task_copilot import jsontext
from task_copilot.database.prepared import Prepared
from task_copilot.database.tables import events
from task_copilot.events.types import EVENT_TYPES
from task_copilot.ids import parse_task_id
from task_copilot.redacted import MARK, REDACTED

Key = tuple[str, str]
"""Workspace and id of a stream."""

Place = tuple[str, str | None]
"""Workspace and stream of a task."""

STREAM_FIELDS = ("streamName", "streamPhase", "streamDependencies")
_TELLING = ("task.created", "task.updated")
"""Each change of a task has exactly one of them."""


def _tells(event_type: str) -> bool:
    return event_type in _TELLING or event_type.startswith("stream.")


_COLUMNS = (events.c.seq, events.c.topic, events.c.event_type, events.c.timestamp, events.c.payload)
_AFTER = Prepared(
    select(*_COLUMNS)
    .where(
        events.c.seq > bindparam("position"),
        or_(*(events.c.event_type == each for each in EVENT_TYPES if _tells(each))),
    )
    .order_by(events.c.seq)
)
_BEFORE = Prepared(
    select(*_COLUMNS).where(events.c.seq <= bindparam("position")).order_by(events.c.seq.desc())
)
_TIME = Prepared(select(events.c.timestamp).where(events.c.seq == bindparam("position")))


def time_of(connection: Connection, seq: int) -> str | None:
    """When event `seq` was committed; None where the log does not have it."""
    found: str | None = _TIME.scalar(connection, {"position": seq})
    return found


@dataclass(slots=True)
class TaskThen:
    """A task as it was before the first change after a moment; None is not known.

    `files` is None where they have not changed since, a list of them, or `LOST`.
    """

    workspace: str
    existed: bool
    title: str | None
    status: str
    stream_id: str | None
    agent: str | None
    reason: str | None
    files: list[str] | object | None = None
    changed_status: bool = False
    """Whether it changed at any time after the moment."""


LOST = object()
"""Stands for a list that was too long for its event."""


@dataclass(slots=True)
class StreamAfter:
    """What is told of a stream after a moment: its first event, the types of all, and what its
    name, phase and dependencies were before they changed first."""

    first: Mapping[str, Any] | None = None
    first_type: str = ""
    first_time: str = ""
    types: set[str] = field(default_factory=set)
    olds: dict[str, Any] = field(default_factory=dict)
    changed_before: set[str] = field(default_factory=set)
    """Those that changed before the first event, which tells what they are since."""

    made_task: bool = False
    """Whether a task was made in it before: that may have changed them without a word."""


@dataclass(slots=True)
class After:
    """All that has changed after a moment."""

    tasks: dict[int, TaskThen] = field(default_factory=dict)
    streams: dict[Key, StreamAfter] = field(default_factory=dict)

    def stream(self, key: Key) -> StreamAfter:
        return self.streams.setdefault(key, StreamAfter())


def read_after(connection: Connection, position: int) -> After:
    """What the events after `position` tell."""
    found = After()
    numbers: dict[str, int] = {}
    seen: set[str] = set()
    for row in _AFTER.iterate(connection, {"position": position}):
        if row.event_type in _TELLING:
            _take_task(found, numbers, row)
            continue
        beginning = row.payload.partition('"actor":')[0]  # its type, topic and workspace
        if beginning not in seen:
            seen.add(beginning)
            _take_stream(found, row)
    return found


def _take_stream(found: After, row: Any) -> None:
    data = jsontext.decode(row.payload)["data"]
    stream = found.stream((data["workspace"], data["streamId"]))
    stream.types.add(row.event_type)
    if stream.first is None:
        stream.first, stream.first_type, stream.first_time = data, row.event_type, row.timestamp


def _take_task(found: After, numbers: dict[str, int], row: Any) -> None:
    number = numbers.get(row.topic)
    if number is not None and not _may_tell_more(row.payload):
        return
    data = jsontext.decode(row.payload)["data"]
    if number is None:
        number = numbers[row.topic] = parse_task_id(data["taskId"])
        found.tasks[number] = _then(data)
        if row.event_type == "task.created" and data["streamId"] is not None:
            stream = found.stream((data["workspace"], data["streamId"]))
            stream.made_task = stream.made_task or stream.first is None
    task = found.tasks[number]
    for change in data.get("changes", ()):
        name, old = change["field"], change["oldValue"]
        if name == "files" and task.files is None:
            task.files = _list_of(old)
        elif name == "status":
            task.changed_status = True
        elif name in STREAM_FIELDS:
            stream = found.stream((data["workspace"], data["streamId"]))
            stream.olds.setdefault(name, old)
            if stream.first is None:
                stream.changed_before.add(name)


_TELLING_MORE = tuple(f'"field":"{name}"' for name in ("files", "status", *STREAM_FIELDS))


def _may_tell_more(payload: str) -> bool:
    """Whether a later change of a task tells what the first one cannot."""
    return any(beginning in payload for beginning in _TELLING_MORE)


def _list_of(value: Any) -> list[str] | object:
    if isinstance(value, list):
        return value
    return [] if value == MARK else LOST


def _then(data: Mapping[str, Any]) -> TaskThen:
    old = {change["field"]: change["oldValue"] for change in data.get("changes", ())}
    return TaskThen(
        workspace=data["workspace"],
        existed=data["oldStatus"] is not None,
        title=_text_of(old.get("title", data["taskTitle"])),
        status=data["oldStatus"] or "",
        stream_id=old.get("streamId", data["streamId"]),
        agent=_text_of(old.get("assignedAgent", data["assignedAgent"])),
        reason=_text_of(old.get("blockedReason", data["blockedReason"])),
    )


def _text_of(value: Any) -> str | None:
    """A text of an event, what stands for it where it was redacted, or None."""
    if isinstance(value, str):
        return value
    return REDACTED if value == MARK else None


@dataclass(slots=True)
class StreamBefore:
    """The newest that is told of a stream up to a moment, as far as the log goes."""

    last: Mapping[str, Any] | None = None
    last_type: str = ""
    renamed: dict[str, Any] = field(default_factory=dict)
    """Names, phase and dependencies that were given after the `last` event."""

    updated_at: str | None = None
    completed_at: str | None = None


@dataclass(slots=True)
class Before:
    """What is asked of the events up to a moment, and what they answer.

    The keys are what is asked for; a None is what was not found.
    """

    changed: dict[int, str | None] = field(default_factory=dict)
    """When tasks changed last."""

    blocked: dict[int, str | None] = field(default_factory=dict)
    """When they became blocked."""

    texts: dict[int, Mapping[str, Any] | None] = field(default_factory=dict)
    """An event that tells the title and the reason of each."""

    workspaces: dict[str, str | None] = field(default_factory=dict)
    """When one of their tasks changed last."""

    streams: dict[Key, StreamBefore] = field(default_factory=dict)
    completions: set[Key] = field(default_factory=set)
    """Streams whose last completion is asked for too."""


class _Search:
    """What is still to be found; every answer makes it shorter."""

    def __init__(self, asked: Before) -> None:
        self.asked = asked
        self.changed = {f"task:TASK-{number}": number for number in asked.changed}
        self.blocked = {f"task:TASK-{number}": number for number in asked.blocked}
        self.texts = {f"task:TASK-{number}": number for number in asked.texts}
        self.workspaces = set(asked.workspaces)
        self.streams = set(asked.streams)
        self.completions = set(asked.completions)
        self.topics = {f"stream:{name}" for _workspace, name in asked.streams}

    @property
    def is_over(self) -> bool:
        return not (
            self.changed
            or self.blocked
            or self.texts
            or self.workspaces
            or self.streams
            or self.completions
        )

    def take(self, row: Any) -> None:
        if row.event_type.startswith("task."):
            self._take_task(row)
        elif row.topic in self.topics:
            self._take_stream(row)

    def _take_task(self, row: Any) -> None:
        if row.event_type in _TELLING:
            if (number := self.changed.pop(row.topic, None)) is not None:
                self.asked.changed[number] = row.timestamp
            if self.workspaces:
                self._take_workspace(jsontext.decode(row.payload)["workspace"], row.timestamp)
            if self.streams and '"field":"stream' in row.payload:
                self._take_renamed(row)
        is_blocked = row.event_type == "task.blocked"
        if is_blocked and (number := self.blocked.pop(row.topic, None)) is not None:
            self.asked.blocked[number] = row.timestamp
        if (number := self.texts.pop(row.topic, None)) is not None:
            self.asked.texts[number] = jsontext.decode(row.payload)["data"]

    def _take_workspace(self, name: str, time: str) -> None:
        if name in self.workspaces:
            self.workspaces.discard(name)
            self.asked.workspaces[name] = time

    def _take_renamed(self, row: Any) -> None:
        data = jsontext.decode(row.payload)["data"]
        key = (data["workspace"], data["streamId"])
        if key not in self.streams:
            return
        stream = self.asked.streams[key]
        for change in data.get("changes", ()):
            if change["field"] in STREAM_FIELDS:
                stream.renamed.setdefault(change["field"], change["newValue"])
                stream.updated_at = stream.updated_at or row.timestamp

    def _take_stream(self, row: Any) -> None:
        data = jsontext.decode(row.payload)["data"]
        key = (data["workspace"], data["streamId"])
        if key in self.streams:
            self.streams.discard(key)
            stream = self.asked.streams[key]
            stream.last, stream.last_type = data, row.event_type
            stream.updated_at = stream.updated_at or data["lastUpdated"]
        if key in self.completions and row.event_type == "stream.completed":
            self.completions.discard(key)
            self.asked.streams[key].completed_at = data["completedAt"]


def answer(connection: Connection, position: int, asked: Before) -> None:
    """Fills in what the events up to `position` tell, the newest first."""
    search = _Search(asked)
    with closing(_BEFORE.iterate(connection, {"position": position})) as rows:
        while not search.is_over and (row := next(rows, None)) is not None:
            search.take(row)
