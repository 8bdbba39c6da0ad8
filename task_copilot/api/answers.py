"""What the routes answer: closed shapes, every field always there, null without a value."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from task_copilot.events.messages import GapReason, wire_name
from task_copilot.events.types import (
    CheckpointTrigger,
    StreamPhase,
    StreamStatus,
    TaskStatus,
    camel,
)


class Shape(BaseModel):
    """An object of an answer: camelCase outside, nothing missing, nothing unknown."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=camel, validate_by_name=True
    )


class Answer(Shape):
    """Every answer says which state it shows: subscribe since `seq` and nothing is missed."""

    seq: int
    epoch: str


class Health(Answer):
    """That this is Task Copilot, and where its log stands."""

    status: Literal["ok"]
    service: Literal["task-copilot"]
    timestamp: str
    version: str
    clients: int


class _StreamFields(Shape):
    workspace: str
    stream_id: str
    stream_name: str
    stream_phase: StreamPhase
    status: StreamStatus
    total_tasks: int
    completed_tasks: int
    in_progress_tasks: int
    blocked_tasks: int
    pending_tasks: int
    progress_percentage: float
    blocked_reason: str | None
    created_at: str
    started_at: str | None
    completed_at: str | None
    archived_at: str | None


class StreamRow(_StreamFields):
    """A stream with its counters; cancelled tasks count nowhere."""

    dependencies: list[str]
    files: list[str]
    last_updated: str


class StreamSeenRow(_StreamFields):
    """A stream as it is or was. Of the past, what the log does not tell is null: `lastUpdated`
    and `completedAt` from before the log begins, and long lists that changed since."""

    dependencies: list[str] | None
    files: list[str] | None
    last_updated: str | None


class TaskRow(Shape):
    """A task with every field that it has."""

    workspace: str
    id: str
    title: str
    description: str | None
    status: TaskStatus
    stream_id: str | None
    parent_id: str | None
    assigned_agent: str | None
    notes: str | None
    blocked_reason: str | None
    files: list[str]
    metadata: dict[str, Any]
    created_at: str
    updated_at: str
    started_at: str | None
    blocked_at: str | None
    completed_at: str | None


class SubtaskRow(Shape):
    """A subtask in short."""

    id: str
    title: str
    status: TaskStatus
    stream_id: str | None
    assigned_agent: str | None


class CheckpointRow(Shape):
    """A checkpoint without what it keeps."""

    checkpoint_id: str
    task_id: str
    sequence: int
    created_at: str
    expires_at: str
    trigger: CheckpointTrigger
    execution_phase: str | None
    execution_step: int | str | None
    has_draft: bool


class _ActivityFields(Shape):
    workspace: str
    stream_id: str | None
    stream_name: str | None
    agent_id: str | None
    agent_name: str | None
    task_id: str
    started_at: str | None
    is_active: bool


class ActivityRow(_ActivityFields):
    """What an agent is doing: a task in progress; active if it changed within 5 minutes."""

    task_title: str
    last_heartbeat: str


class ActivitySeenRow(_ActivityFields):
    """What an agent is or was doing. Of the past, `lastHeartbeat` is null where it is from
    before the log begins; such a task counts as idle."""

    task_title: str | None
    last_heartbeat: str | None


class BlockedRow(Shape):
    """A blocked task. Of the past, `blockedAt` is null where it is from before the log begins."""

    workspace: str
    task_id: str
    task_title: str | None
    stream_id: str | None
    assigned_agent: str | None
    blocked_reason: str | None
    blocked_at: str | None


class Totals(Shape):
    """All tasks together, in streams or not; cancelled tasks count nowhere, and those of archived
    streams only where these are shown."""

    total_tasks: int
    completed_tasks: int
    in_progress_tasks: int
    blocked_tasks: int
    pending_tasks: int
    progress_percentage: float


class WorkspaceRow(Shape):
    """A project that shares this database."""

    workspace: str
    path: str | None
    streams: int
    tasks: int
    last_activity: str | None


class StreamList(Answer):
    """Streams in the order in which they were made; `nextCursor` is null on the last page."""

    streams: list[StreamRow]
    total_streams: int
    next_cursor: str | None


class StreamWithTasks(StreamRow, Answer):
    """A stream with its first tasks; `nextCursor` goes on in
    ``/api/tasks?workspace=&streamId=``."""

    tasks: list[TaskRow]
    next_cursor: str | None


class StreamHealth(Answer):
    """Whether work on a stream goes on; times since are in seconds."""

    workspace: str
    stream_id: str
    healthy: bool
    current_task: str | None
    task_status: TaskStatus | None
    last_activity: str | None
    last_checkpoint: str | None
    current_checkpoint: str | None
    time_since_activity: int | None
    time_since_checkpoint: int | None
    warnings: list[str]


class TaskList(Answer):
    """Tasks in the order in which they were made; `totalTasks` counts all that match."""

    tasks: list[TaskRow]
    total_tasks: int
    next_cursor: str | None


class TaskWhole(TaskRow, Answer):
    """A task with its first subtasks and its latest checkpoint."""

    subtasks: list[SubtaskRow]
    latest_checkpoint: CheckpointRow | None


class CheckpointList(Answer):
    """Checkpoints of one task, newest first."""

    checkpoints: list[CheckpointRow]


class CheckpointLatest(CheckpointRow, Answer):
    """The latest checkpoint of a task or a stream."""


class Activity(Answer):
    """The tasks in progress, those that changed last first."""

    activities: list[ActivityRow]
    total_active: int
    total_idle: int


class CompletedIn(Shape):
    """How many tasks were completed from `start` until the start of the next."""

    start: str
    completed: int


class Completions(Answer):
    """48 stretches of equal length, the oldest first; the last one ends now. Tasks that were
    reopened since count nowhere."""

    buckets: list[CompletedIn]
    bucket_minutes: float


class CheckpointWhole(CheckpointRow, Answer):
    """A checkpoint with what it keeps: the task as it was, the agent's context, and the first
    40,000 characters of the draft."""

    workspace: str
    status: TaskStatus
    notes: str | None
    metadata: dict[str, Any]
    assigned_agent: str | None
    subtasks: dict[str, TaskStatus]
    agent_context: dict[str, Any] | None
    pause_metadata: dict[str, Any] | None
    draft_type: str | None
    draft: str | None
    draft_length: int | None


class Overview(Answer):
    """Everything at one moment. `at` is the event that it was right after: with the parameter
    that one, else `seq`. The first 1,000 streams, the newest 200 blocked tasks and 200
    activities; workspaces that have a task."""

    at: int
    oldest_seq: int
    timestamp: str | None
    workspaces: list[WorkspaceRow]
    streams: list[StreamSeenRow]
    total_streams: int
    totals: Totals
    blocked: list[BlockedRow]
    total_blocked: int
    activities: list[ActivitySeenRow]
    total_active: int
    total_idle: int


class Workspaces(Answer):
    """All workspaces of the database."""

    workspaces: list[WorkspaceRow]


class GapShown(Shape):
    """Events that can no longer be had; delivery goes on after them."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=wire_name, validate_by_name=True
    )

    from_: int
    to: int
    reason: GapReason


class EventPage(Answer):
    """Events in order. `next` is the `since` of the next request: it moves on also where
    nothing matched. Where it is below `seq` there is more already."""

    events: list[dict[str, Any]]
    next: int
    gap: GapShown | None


class CheckpointMade(Answer):
    """The checkpoint that a request made."""

    checkpoint_id: str
    task_id: str
    created_at: str


class TaskMade(Answer):
    """The task that a request made."""

    id: str
    status: TaskStatus
    stream_id: str | None
    created_at: str


class TaskSaved(Answer):
    """The task that a request changed."""

    id: str
    status: TaskStatus
    updated_at: str


class CheckpointSaved(Answer):
    """The checkpoint that a request made of a task."""

    id: str
    task_id: str
    sequence: int
    trigger: CheckpointTrigger
    created_at: str
    expires_at: str


class CheckpointOpened(Answer):
    """What an agent needs to go on from a checkpoint. Where only a further piece of a long text
    was asked for, everything else is null."""

    checkpoint_id: str
    task_id: str | None
    task_title: str | None
    sequence: int | None
    checkpoint_created_at: str | None
    restored_status: TaskStatus | None
    restored_phase: str | None
    restored_step: int | str | None
    agent_context: dict[str, Any] | None
    agent_context_text: str | None
    agent_context_text_remaining: int | None
    draft_type: str | None
    draft_content: str | None
    draft_remaining: int | None
    subtask_summary: dict[str, int] | None
    changed_since: list[dict[str, Any]] | None
    changed_since_total: int | None
    pause_metadata: dict[str, Any] | None
    resume_instructions: str | None


class Ticket(Shape):
    """A ticket that is good once, until `expiresAt`."""

    ticket: str
    expires_at: str
