"""Objects of the wire as their readers see them: answers, filters and batches, as JSON has them."""

from collections.abc import Sequence
from typing import Any, TypedDict

from task_copilot.events.types import CheckpointTrigger, StreamPhase, StreamStatus, TaskStatus


class Filter(TypedDict, total=False):
    """Conditions on events beside their topics; all that are given have to hold. Each is a list
    of 1 to 100 texts of at most 200 characters."""

    eventTypes: Sequence[str]
    """Types of events, or the start of some with ``*`` behind, such as ``stream.*``."""
    streams: Sequence[str]
    """Events of these streams, and of tasks and checkpoints in them."""
    agents: Sequence[str]
    """Events of tasks that are assigned to one of these."""
    notActors: Sequence[str]
    """Not what these did themselves."""


class Batch(TypedDict, total=False):
    """Many events in one message of the hub, which costs both sides less."""

    maxEvents: int
    """1 to 1,000."""
    maxDelayMs: int
    """How long an event may wait for others: 0 to 10,000 milliseconds."""


class StreamRow(TypedDict):
    """A stream with its counters; cancelled tasks count nowhere."""

    workspace: str
    streamId: str
    streamName: str
    streamPhase: StreamPhase
    status: StreamStatus
    totalTasks: int
    completedTasks: int
    inProgressTasks: int
    blockedTasks: int
    pendingTasks: int
    progressPercentage: float
    dependencies: list[str]
    files: list[str]
    blockedReason: str | None
    createdAt: str
    startedAt: str | None
    completedAt: str | None
    archivedAt: str | None
    lastUpdated: str


class TaskRow(TypedDict):
    """A task with every field that it has."""

    workspace: str
    id: str
    title: str
    description: str | None
    status: TaskStatus
    streamId: str | None
    parentId: str | None
    assignedAgent: str | None
    notes: str | None
    blockedReason: str | None
    files: list[str]
    metadata: dict[str, Any]
    createdAt: str
    updatedAt: str
    startedAt: str | None
    blockedAt: str | None
    completedAt: str | None


class SubtaskRow(TypedDict):
    """A subtask in short."""

    id: str
    title: str
    status: TaskStatus
    streamId: str | None
    assignedAgent: str | None


class CheckpointRow(TypedDict):
    """A checkpoint without what it keeps."""

    checkpointId: str
    taskId: str
    sequence: int
    createdAt: str
    expiresAt: str
    trigger: CheckpointTrigger
    executionPhase: str | None
    executionStep: int | str | None
    hasDraft: bool


class StreamList(TypedDict):
    """All streams. Events since `seq` of `epoch` bring what happened after this was read."""

    seq: int
    epoch: str
    streams: list[StreamRow]
    totalStreams: int


class StreamWithTasks(StreamRow):
    """A stream with its first 1,000 tasks; where `nextCursor` is not None there are more, which
    ``tasks(stream_id=...)`` reads."""

    seq: int
    epoch: str
    tasks: list[TaskRow]
    nextCursor: str | None


class TaskList(TypedDict):
    """All tasks that match. Events since `seq` of `epoch` bring what happened after this was
    read, and what changed while it was."""

    seq: int
    epoch: str
    tasks: list[TaskRow]
    totalTasks: int


class TaskWhole(TaskRow):
    """A task with its first subtasks and its latest checkpoint."""

    seq: int
    epoch: str
    subtasks: list[SubtaskRow]
    latestCheckpoint: CheckpointRow | None
