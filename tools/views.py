"""How tasks, streams and checkpoints look in a tool's answer."""

from collections.abc import Mapping, Sequence
from typing import Any

from task_copilot import jsontext, streams
from task_copilot.checkpoints import Checkpoint, CheckpointSummary
from task_copilot.events.types import camel
from task_copilot.ids import checkpoint_id, task_id
from task_copilot.streams import Stream
from task_copilot.task_queries import LongTexts, TaskLine
from task_copilot.tasks import Task
from task_copilot.tools.answers import MAX_ANSWER_BYTES, one_line, piece
from task_copilot.tools.arguments import PauseMetadata
from task_copilot.workspaces import Workspace

SUBTASKS_SHOWN = 50
TITLE_SHOWN = 120
READY_SHOWN = 10
WAITED_FOR_SHOWN = 20
WAITS_SHOWN = 3
CHANGE_BYTES = 500
"""A value of `changedSince` that is larger appears as ``{"omitted": bytes}``."""

CHANGES_SHOWN = 60
DRAFT_CHARACTERS = 40_000
"""The longest draft that comes whole with its checkpoint."""

RESERVE_BYTES = 2_000


def tasks_header(workspace: str, counts: Mapping[str, int], archived: int) -> str:
    """The first line of a list of tasks, of which `archived` were left out."""
    total = sum(counts.values())
    parts = ", ".join(
        f"{counts[status]} {status}"
        for status in ("in_progress", "blocked", "pending", "completed", "cancelled")
        if counts.get(status)
    )
    away = f" (+{archived} in archived streams)" if archived else ""
    plural = "" if total == 1 else "s"
    return f"{workspace}: {total} task{plural}{away}" + (f": {parts}" if parts else "")


def task_line(row: TaskLine) -> str:
    """A task in a line: ``TASK-12 in_progress Stream-A @me Implement the types``."""
    agent = f"@{one_line(row.assigned_agent)} " if row.assigned_agent else ""
    stream = f"{row.stream_id} " if row.stream_id else "- "
    return f"{task_id(row.id)} {row.status} {stream}{agent}{one_line(row.title)}"


def task_row(row: TaskLine) -> dict[str, Any]:
    """A task of a list as an object."""
    return _given(
        id=task_id(row.id),
        status=row.status,
        streamId=row.stream_id,
        assignedAgent=row.assigned_agent,
        title=row.title,
    )


def _given(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value not in (None, [], {}, ())}


def whole_task(
    task: Task,
    texts: LongTexts,
    lines: Sequence[TaskLine],
    counts: Mapping[str, int],
    latest: Sequence[CheckpointSummary],
) -> dict[str, Any]:
    """A task with all that belongs to it; long fields are cut where they do not fit."""
    total = sum(counts.values())
    found = _given(
        id=task_id(task.id),
        title=task.title,
        status=task.status,
        streamId=task.stream_id,
        parentId=task_id(task.parent_id) if task.parent_id else None,
        assignedAgent=task.assigned_agent,
        blockedReason=task.blocked_reason,
        createdAt=task.created_at,
        updatedAt=task.updated_at,
        startedAt=task.started_at,
        blockedAt=task.blocked_at,
        completedAt=task.completed_at,
        subtasks=[{**task_row(row), "title": one_line(row.title, TITLE_SHOWN)} for row in lines],
        subtasksTotal=total if total > len(lines) else None,
        latestCheckpoint=checkpoint_row(latest[0]) if latest else None,
    )
    long = _given(**texts._asdict())
    room = MAX_ANSWER_BYTES - RESERVE_BYTES - jsontext.size(found)
    if jsontext.size(long) <= room:
        return {**found, **long}
    share = room // len(long)
    for name, value in long.items():
        found |= _cut(name, value, share)
    found["hint"] = f"For the rest: task_get id={task_id(task.id)} field=… offset=…"
    return found


def _cut(name: str, value: Any, share: int) -> dict[str, Any]:
    if jsontext.size(value) <= share:
        return {name: value}
    text = value if isinstance(value, str) else jsontext.encode(value)
    return piece(name, text, 0, characters=len(text), size=share)


def rest_of_field(task: Task, texts: LongTexts, field: str, offset: int) -> dict[str, Any]:
    """One long field from `offset`; lists and objects as their JSON text."""
    value = getattr(texts, field)
    text = value if isinstance(value, str) else jsontext.encode(value)
    size = MAX_ANSWER_BYTES - RESERVE_BYTES
    rest = piece(field, text if value is not None else "", offset, characters=size, size=size)
    return {"id": task_id(task.id), **rest}


class StreamTable:
    """The streams of a workspace as a list shows them.

    The archived ones are among them: others may depend on those.
    """

    def __init__(self, every: Sequence[Stream]) -> None:
        self._every = every
        self._readiness = streams.Readiness(every)
        self._known = {stream.stream_id for stream in every}

    def header(self, workspace: str) -> str:
        """The first line: how many streams, and which can be started."""
        ready = [stream.stream_id for stream in self._every if self._readiness.is_ready(stream)]
        shown = ", ".join(ready[:READY_SHOWN]) + (" …" if len(ready) > READY_SHOWN else "")
        archived = sum(stream.archived_at is not None for stream in self._every)
        away = f" (+{archived} archived)" if archived else ""
        count = len(self._every) - archived
        plural = "" if count == 1 else "s"
        return f"{workspace}: {count} stream{plural}{away}, ready to start: {shown or 'none'}"

    def line(self, stream: Stream) -> str:
        """A stream in a line: ``Stream-B pending 0/3 parallel needs Stream-A: API``."""
        parts = [stream.stream_id, stream.status, f"{stream.completed}/{stream.total}"]
        if stream.in_progress:
            parts.append(f"{stream.in_progress} in_progress")
        if stream.blocked:
            parts.append(f"{stream.blocked} blocked")
        parts.append(stream.phase)
        parts += self._needs(stream)
        if self._readiness.is_ready(stream):
            parts.append("READY")
        name = f": {one_line(stream.name)}" if stream.name != stream.stream_id else ""
        return " ".join(parts) + name

    def _needs(self, stream: Stream) -> list[str]:
        if stream.dependencies:
            named = [
                needed if needed in self._known else f"{needed}(unknown)"
                for needed in stream.dependencies
            ]
            return ["needs " + ",".join(named)]
        waits = self._readiness.waits_for(stream) if stream.status == "pending" else []
        if not waits:
            return []
        more = f" and {len(waits) - WAITS_SHOWN} more" if len(waits) > WAITS_SHOWN else ""
        return ["after " + ",".join(waits[:WAITS_SHOWN]) + more]

    def row(self, stream: Stream) -> dict[str, Any]:
        """A stream of a list as an object."""
        return {
            "streamId": stream.stream_id,
            "streamName": stream.name,
            "streamPhase": stream.phase,
            "status": stream.status,
            "totalTasks": stream.total,
            "completedTasks": stream.completed,
            "inProgressTasks": stream.in_progress,
            "blockedTasks": stream.blocked,
            "pendingTasks": stream.pending,
            "progressPercentage": stream.progress_percentage,
            "dependencies": list(stream.dependencies),
            "waitsFor": self._readiness.waits_for(stream)[:WAITED_FOR_SHOWN],
            "ready": self._readiness.is_ready(stream),
        }


def pause_metadata(given: PauseMetadata) -> dict[str, Any]:
    """What a pause says, as it is kept."""
    return given.model_dump(by_alias=True, exclude_none=True)


def checkpoints_header(workspace: Workspace | None, task: Task, count: int) -> str:
    """The first line of a list of checkpoints."""
    name = workspace.name if workspace else "-"
    plural = "" if count == 1 else "s"
    return f"{name}: {task_id(task.id)} {task.status}: {count} checkpoint{plural}"


def checkpoint_line(row: CheckpointSummary) -> str:
    """A checkpoint in a line."""
    parts = [checkpoint_id(row.id), f"#{row.sequence}", row.trigger, row.created_at]
    if row.execution_phase:
        parts.append(one_line(row.execution_phase, TITLE_SHOWN))
    if row.execution_step is not None:
        parts.append(f"step {one_line(str(row.execution_step), TITLE_SHOWN)}")
    if row.has_draft:
        parts.append("draft")
    return " ".join(parts)


def checkpoint_row(row: CheckpointSummary) -> dict[str, Any]:
    """A checkpoint of a list as an object."""
    return _given(
        id=checkpoint_id(row.id),
        sequence=row.sequence,
        trigger=row.trigger,
        executionPhase=row.execution_phase,
        executionStep=row.execution_step,
        hasDraft=row.has_draft or None,
        createdAt=row.created_at,
        expiresAt=row.expires_at,
    )


def resumed(
    task: Task, checkpoint: Checkpoint, present: Mapping[str, Any], counts: Mapping[str, int]
) -> dict[str, Any]:
    """Everything that a different agent needs to go on from `checkpoint`."""
    changes = changed_since(checkpoint.snapshot, present)
    found = _given(
        checkpointId=checkpoint_id(checkpoint.id),
        taskId=task_id(task.id),
        taskTitle=task.title,
        sequence=checkpoint.sequence,
        checkpointCreatedAt=checkpoint.created_at,
        restoredStatus=checkpoint.snapshot["status"],
        restoredPhase=checkpoint.execution_phase,
        restoredStep=checkpoint.execution_step,
        draftType=checkpoint.draft_type,
        subtaskSummary=_subtask_summary(counts),
        pauseMetadata=checkpoint.pause_metadata,
    )
    found["changedSince"] = changes[:CHANGES_SHOWN]
    if len(changes) > CHANGES_SHOWN:
        found["changedSinceTotal"] = len(changes)
    found |= _context(checkpoint, 0, _room(found))
    if checkpoint.draft_content is not None:
        found |= _draft(checkpoint, 0, _room(found))
    found["resumeInstructions"] = _resume_instructions(task, checkpoint, found)
    return found


def _room(found: Mapping[str, Any]) -> int:
    return max(0, MAX_ANSWER_BYTES - RESERVE_BYTES - jsontext.size(found))


def _context(checkpoint: Checkpoint, offset: int, room: int) -> dict[str, Any]:
    """The agent's context as it is, or as much of its JSON text as fits."""
    context = checkpoint.agent_context
    if context is None:
        return {}
    if not offset and jsontext.size(context) <= room:
        return {"agentContext": context}
    text = jsontext.encode(context)
    return piece("agentContextText", text, offset, characters=len(text), size=room)


def _draft(checkpoint: Checkpoint, offset: int, room: int) -> dict[str, Any]:
    text = checkpoint.draft_content or ""
    found = piece("draftContent", text, offset, characters=DRAFT_CHARACTERS, size=room)
    if "draftContentRemaining" in found:
        found["draftRemaining"] = found.pop("draftContentRemaining")
    return found


def rest_of_checkpoint(
    checkpoint: Checkpoint, draft_offset: int | None, context_offset: int | None
) -> dict[str, Any]:
    """A further piece of what did not fit into the first answer."""
    found: dict[str, Any] = {"checkpointId": checkpoint_id(checkpoint.id)}
    if context_offset is not None:
        found |= _context(checkpoint, context_offset, _room(found))
    if draft_offset is not None:
        found |= _draft(checkpoint, draft_offset, _room(found))
    return found


def changed_since(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What is different on a task since a snapshot of it, its subtasks included."""
    found = [
        {"field": name, "then": _bounded(value), "now": _bounded(now[name])}
        for name, value in then.items()
        if name != "subtasks" and value != now[name]
    ]
    old, new = then["subtasks"], now["subtasks"]
    return found + [
        {"subtask": name, "then": old.get(name), "now": new.get(name)}
        for name in dict.fromkeys((*old, *new))
        if old.get(name) != new.get(name)
    ]


def _bounded(value: Any) -> Any:
    size = jsontext.size(value)
    return value if size <= CHANGE_BYTES else {"omitted": size}


def _subtask_summary(counts: Mapping[str, int]) -> dict[str, int]:
    if not counts:
        return {}
    return {"total": sum(counts.values()), **{camel(k): n for k, n in sorted(counts.items())}}


def _resume_instructions(task: Task, checkpoint: Checkpoint, found: Mapping[str, Any]) -> str:
    sentences = [f"{task_id(task.id)} was {checkpoint.snapshot['status']} at this checkpoint"]
    if checkpoint.execution_phase:
        sentences[0] += f", in phase {one_line(checkpoint.execution_phase, TITLE_SHOWN)}"
    if checkpoint.execution_step is not None:
        sentences[0] += f" at step {one_line(str(checkpoint.execution_step), TITLE_SHOWN)}"
    sentences[0] += f"; it is {task.status} now."
    if found["changedSince"]:
        sentences.append("Read changedSince first: the task has moved on since.")
    if "draftContent" in found:
        sentences.append("Go on from draftContent.")
    for name, offset in (
        ("draftRemaining", "draftOffset"),
        ("agentContextTextRemaining", "contextOffset"),
    ):
        if name in found:
            sentences.append(
                f"{found[name]} characters remain; read them with "
                f"checkpointId={checkpoint_id(checkpoint.id)} and {offset}."
            )
    sentences.append(f"task_get id={task_id(task.id)} shows its description and notes.")
    if task.status != "in_progress":
        sentences.append("Set it in_progress when you go on.")
    return " ".join(sentences)
