"""What `watch` shows: the streams, and the tasks that are in work or blocked.

It is read once, and then every event is folded into it. An event says all of its task or stream,
so folding one twice, or one that was read already, changes nothing.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from task_copilot.commands.changes import ARCHIVED, Change, Payload, kind_of

SHOWN_STATUSES = ("in_progress", "blocked")
Key = tuple[str, str]
"""Workspace and id of a stream."""

Link = Literal["connecting", "live", "behind", "offline"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """A stream with its counters."""

    workspace: str
    id: str
    name: str
    phase: str
    status: str
    total: int
    completed: int
    in_progress: int
    blocked: int
    percentage: float
    dependencies: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A task that is in work or blocked; `changed` is when it last did."""

    workspace: str
    id: str
    title: str
    status: str
    stream_id: str | None
    agent: str | None
    reason: str | None
    changed: str


class Outdated(Exception):
    """An event does not say all that it changed: the state has to be read anew."""


@dataclass(slots=True)
class Board:
    """The present state, as far as it is shown."""

    streams: dict[Key, Stream] = field(default_factory=dict)
    tasks: dict[str, Task] = field(default_factory=dict)

    @classmethod
    def of(cls, streams: Iterable[Payload], tasks: Iterable[Payload]) -> "Board":
        """The board of rows as the HTTP API answers them."""
        found_streams = map(_stream, streams)
        found_tasks = map(_task, tasks)
        return cls(
            {(stream.workspace, stream.id): stream for stream in found_streams},
            {task.id: task for task in found_tasks if task.status in SHOWN_STATUSES},
        )

    def copy(self) -> "Board":
        """One that stays as it is while this one goes on."""
        return Board(dict(self.streams), dict(self.tasks))

    def fold(self, event: Payload) -> None:
        """Takes an event; raises Outdated."""
        kind = kind_of(event)
        if kind == "task":
            self._fold_task(event)
        elif kind == "stream":
            stream = _stream(event["data"])
            key = (stream.workspace, stream.id)
            if event["eventType"] == ARCHIVED:
                self.streams.pop(key, None)
            else:
                self.streams[key] = stream

    def _fold_task(self, event: Payload) -> None:
        data = event["data"]
        if event["eventType"] == "task.updated":
            self._fold_changes(data)
        if data["newStatus"] not in SHOWN_STATUSES:
            self.tasks.pop(data["taskId"], None)
            return
        known = self.tasks.get(data["taskId"])
        is_old_news = event["eventType"] == "task.redacted" and known is not None
        self.tasks[data["taskId"]] = Task(
            workspace=data["workspace"],
            id=data["taskId"],
            title=data["taskTitle"],
            status=data["newStatus"],
            stream_id=data["streamId"],
            agent=data["assignedAgent"],
            reason=data["blockedReason"],
            changed=known.changed if known and is_old_news else event["timestamp"],
        )

    def _fold_changes(self, data: Payload) -> None:
        """What an update of a task has changed of its stream, of which no other event tells."""
        key = (data["workspace"], data["streamId"])
        for change in data["changes"]:
            name, value = change["field"], change["newValue"]
            if name not in _OF_STREAM or key not in self.streams:
                continue
            self.streams[key] = _with(self.streams[key], name, value)


_OF_STREAM = {"streamName", "streamPhase", "streamDependencies"}


def _with(stream: Stream, field_name: str, value: Any) -> Stream:
    """A stream with another value; raises Outdated where the event does not tell it."""
    if field_name == "streamDependencies" and isinstance(value, list):
        return replace(stream, dependencies=tuple(value))
    if field_name == "streamName" and isinstance(value, str):
        return replace(stream, name=value)
    if field_name == "streamPhase" and isinstance(value, str):
        return replace(stream, phase=value)
    raise Outdated


def _stream(data: Payload) -> Stream:
    return Stream(
        workspace=data["workspace"],
        id=data["streamId"],
        name=data["streamName"],
        phase=data["streamPhase"],
        status=data["status"],
        total=data["totalTasks"],
        completed=data["completedTasks"],
        in_progress=data["inProgressTasks"],
        blocked=data["blockedTasks"],
        percentage=data["progressPercentage"],
        dependencies=tuple(data["dependencies"]),
    )


def _task(row: dict[str, Any]) -> Task:
    return Task(
        workspace=row["workspace"],
        id=row["id"],
        title=row["title"],
        status=row["status"],
        stream_id=row["streamId"],
        agent=row["assignedAgent"],
        reason=row["blockedReason"],
        changed=row["updatedAt"],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """All that the screen shows at one moment."""

    board: Board = field(default_factory=Board)
    recent: tuple[Change, ...] = ()
    """The last changes, oldest first."""

    title: str = ""
    everywhere: bool = False
    link: Link = "connecting"
    reason: str = ""
    """Why it is offline."""

    since: str = ""
    """When it went offline; what is shown is of then."""

    address: str = ""
    seq: int = 0
    behind: int = 0
    """So many events are still to come."""
