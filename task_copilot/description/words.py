"""What each field of events and messages means, with its limits and an example.

The declarations say a field's type; a reader of the description wants to know more.
"""

from typing import Any

from task_copilot.events.messages import CLIENT_MESSAGES, ERRORS
from task_copilot.events.topics import KINDS, MAX_PATTERN_LENGTH

TIMESTAMP = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z$"
STREAM_ID = r"^[A-Za-z0-9._-]{1,64}$"
TASK_ID = r"^TASK-[1-9][0-9]*$"
CHECKPOINT_ID = r"^CP-[1-9][0-9]*$"
TOPICS = {
    "task": r"^task:TASK-[1-9][0-9]*$",
    "stream": r"^stream:[A-Za-z0-9._-]{1,64}$",
    "checkpoint": r"^checkpoint:TASK-[1-9][0-9]*$",
}
NO_NUL = r"^[^\u0000]*$"
NOW = "2026-01-08T12:00:30.125Z"
EARLIER = "2026-01-08T11:58:12.040Z"

Words = dict[str, Any]


def words(description: str, example: Any, **limits: Any) -> Words:
    """What is added to the schema of a field."""
    return {"description": description, "examples": [example], **limits}


def about(description: str) -> Words:
    """The same for a field without an example of its own, such as a list of objects."""
    return {"description": description}


def moment(description: str, example: str = NOW) -> Words:
    """The same for a point in time."""
    return words(f"{description} UTC.", example, format="date-time", pattern=TIMESTAMP)


def count(description: str, example: int) -> Words:
    """The same for a number of things."""
    return words(description, example, minimum=0)


def pattern_of_patterns() -> str:
    """What can be subscribed to, as a regular expression."""
    kinds = "|".join(KINDS)
    starts = sorted({f"{kind}:"[:length] for kind in KINDS for length in range(len(kind) + 1)})
    return (
        rf"^(?:(?:{kinds}):[A-Za-z0-9._-]+|(?:{kinds}):[A-Za-z0-9._-]*\*|(?:{'|'.join(starts)})\*)$"
    )


PATTERN = {
    "type": "string",
    "maxLength": MAX_PATTERN_LENGTH,
    "pattern": pattern_of_patterns(),
}

FIELDS: dict[str, Words] = {
    # events
    "workspace": words("Project that it belongs to.", "web-shop"),
    "actor": words("Who made the change.", "ada"),
    "seq": words("Position in the event log: 1, 2, 3 … without holes.", 97, minimum=0),
    "eventType": words("What happened.", "task.created"),
    "timestamp": moment("When it was stored."),
    "data": about("The fields of this type of event."),
    # tasks
    "taskId": words("The task.", "TASK-12", pattern=TASK_ID),
    "taskTitle": words("Its title.", "Pay by card"),
    "parentId": words("The task that this one is a part of.", "TASK-3", pattern=TASK_ID),
    "streamId": words("The stream.", "Stream-A", pattern=STREAM_ID),
    "assignedAgent": words("Who works on it.", "ada"),
    "oldStatus": words("Status before the change; null where the task is new.", "pending"),
    "newStatus": words("Status after the change.", "in_progress"),
    "blockedReason": words("Why it is blocked; null where it is not.", "needs the cart"),
    "createdAt": moment("When it was made."),
    "status": words("The present status.", "in_progress"),
    "changes": words(
        "Every field that changed, with its old and its new value.",
        [{"field": "status", "oldValue": "pending", "newValue": "in_progress"}],
    ),
    "field": words("Name of the field.", "status"),
    "oldValue": words(
        "Value before; {omitted: bytes} for a large one, {redacted: true} for a removed one.",
        "pending",
    ),
    "newValue": words(
        "Value after; {omitted: bytes} for a large one, {redacted: true} for a removed one.",
        "in_progress",
    ),
    "updatedAt": moment("When it was changed."),
    "statusChangedAt": moment("When the status changed."),
    "blockedAt": moment("When it became blocked."),
    "completedAt": moment("When it was completed."),
    "duration": count(
        "Milliseconds since it was first in progress; null if it never was.", 138_085
    ),
    "fields": words("Fields whose values were removed.", ["notes"]),
    "redactedAt": moment("When they were removed."),
    # streams
    "streamName": words("Its name.", "foundation"),
    "totalTasks": count("Tasks that are not cancelled.", 4),
    "completedTasks": count("Those completed.", 2),
    "inProgressTasks": count("Those in progress.", 1),
    "blockedTasks": count("Those blocked.", 0),
    "pendingTasks": count("Those pending.", 1),
    "progressPercentage": words(
        "Share of completed tasks, with one decimal.", 50.0, minimum=0, maximum=100
    ),
    "lastUpdated": moment("When its tasks last changed."),
    "streamPhase": words("Which phase of the work it belongs to.", "foundation"),
    "dependencies": words("Streams that it needs.", ["Stream-B"]),
    "blockedTaskIds": words("The newest blocked tasks.", ["TASK-12"], maxItems=20),
    "startedAt": moment("When its first task started.", EARLIER),
    "archivedAt": moment("When it was archived."),
    # checkpoints
    "checkpointId": words("The checkpoint.", "CP-7", pattern=CHECKPOINT_ID),
    "sequence": words("Number of the checkpoint among those of its task.", 2, minimum=1),
    "trigger": words("Why it was made.", "manual"),
    "executionPhase": words("Phase of the work, in the agent's own words.", "implementation"),
    "executionStep": words("Step of the work: a number or a text.", 3),
    "hasDraft": words("Whether it keeps a draft.", False),
    "expiresAt": moment("When it will be removed.", "2026-01-15T12:00:30.125Z"),
    "resumedAt": moment("When it was resumed."),
    "expiredAt": moment("When it was removed."),
    # messages
    "topic": words("Where it happened.", "task:TASK-12"),
    "topics": words("Patterns of topics.", ["stream:Stream-A", "task:*"]),
    "activeSubscriptions": count("Patterns that this connection holds now.", 2),
    "epoch": words("Name of the database; another one starts to count anew.", "3f9a61c20b7d4e58"),
    "code": words("What is wrong, for programs.", "WS_INVALID_TOPIC", enum=list(ERRORS)),
    "message": words("What is wrong, for people.", "'nonsense' is no topic."),
    "details": words("What it is about; only what applies is there.", {"topic": "nonsense"}),
    "allowed": words("What is possible.", list(CLIENT_MESSAGES)),
    "unknown": words("Fields that do not exist.", ["topic"]),
    "limit": count("How many there may be.", 50),
    "filter": about("Conditions on the events of these topics; all that are given have to hold."),
    "eventTypes": words(
        "Types of events, or the start of some with a star behind.", ["task.completed", "stream.*"]
    ),
    "streams": words("Only events of these streams, and of tasks in them.", ["Stream-A"]),
    "agents": words("Only events of tasks that one of these is assigned to.", ["ada"]),
    "notActors": words("Not the events of changes that these made.", ["ada"]),
    "subscriptions": about("Topics with filters of their own, in place of topics and filter."),
    "since": words("Begin after this event; 0 begins at the oldest that is kept.", 96),
    "replay": words("Begin with so many of the newest matching events.", 20),
    "batch": about("Ask for events messages."),
    "maxEvents": words("Events of one message.", 64),
    "maxDelayMs": words("Milliseconds that an event may wait for others.", 50),
    "events": about("Events in order, each as the payload of an event message."),
    "from": words("The first that is gone.", 1, minimum=1),
    "to": words("The last that is gone.", 40, minimum=1),
    "reason": words("Why: pruned is older than the log is kept.", "pruned"),
}


def example_of(name: str) -> Any:
    """The example value of a field."""
    return FIELDS[name]["examples"][0]


ANSWER_FIELDS: dict[str, Words] = {
    "seq": count("Newest event of the log when this was read; 0 if there is none.", 97),
    "timestamp": moment("When this was answered."),
    "version": words("Version of the program.", "0.1.0"),
    "clients": count("Listeners that are connected.", 2),
    "ticket": words("Good once.", "eW91IHdpbGwgbm90IGd1ZXNzIHRoaXM"),
    "id": words("The task.", "TASK-12", pattern=TASK_ID),
    "title": words("Its title.", "Pay by card"),
    "description": words("What is to be done.", "With 3-D Secure."),
    "notes": words("What was found out.", "The test card works."),
    "reason": words(
        "Why the checkpoint is made, for who resumes.", "end of the day", pattern=NO_NUL
    ),
    "files": words("Files that it is about.", ["shop/pay.py"]),
    "metadata": about("Free fields."),
    "archivedAt": moment("When it was archived; null if it was not."),
    "tasks": about("The tasks, or how many there are."),
    "streams": about("The streams, or how many there are."),
    "subtasks": about("The first tasks that are parts of this one."),
    "latestCheckpoint": about("Null if there is none."),
    "checkpoints": about("The checkpoints, newest first."),
    "activities": about("Who works on what."),
    "workspaces": about("The projects."),
    "totalStreams": count("Those that match, on all pages.", 4),
    "totalActive": count("Those that changed within 5 minutes.", 2),
    "totalIdle": count("The others.", 0),
    "nextCursor": about("Ask with it as `cursor` for the next page; null on the last."),
    "healthy": words("Whether nothing is wrong.", True),
    "currentTask": words("The task in progress; null if none is.", "TASK-12"),
    "taskStatus": words("Its status.", "in_progress"),
    "lastActivity": moment("When something changed last."),
    "lastCheckpoint": moment("When the newest checkpoint was made."),
    "currentCheckpoint": words("The newest checkpoint.", "CP-7", pattern=CHECKPOINT_ID),
    "timeSinceActivity": count("Seconds since then.", 12),
    "timeSinceCheckpoint": count("Seconds since then.", 340),
    "warnings": about("What is wrong, in words."),
    "agentId": words("Who works on it.", "ada"),
    "agentName": words("The same.", "ada"),
    "lastHeartbeat": moment("When the task last changed."),
    "isActive": words("Whether that was within 5 minutes.", True),
    "events": about("Event payloads, oldest first."),
    "next": count("The `since` of the next request.", 97),
    "gap": about("Events that are gone; null where none is."),
    "path": words("Its folder; null if it has only a name.", "/home/ada/web-shop"),
    "at": count("The event that this was right after; 0 for before the first.", 97),
    "oldestSeq": count("The oldest event that the log has; 0 if it has none.", 1),
    "totals": about("All tasks together."),
    "blocked": about("The blocked tasks, the newest first."),
    "totalBlocked": count("How many tasks are blocked.", 1),
    "buckets": about("The stretches, the oldest first."),
    "bucketMinutes": words("Length of a stretch in minutes.", 30.0, minimum=0),
    "start": moment("Where the stretch begins."),
    "completed": count("Tasks that were completed in it.", 3),
    "agentContext": about("What the agent left for the next one; null if nothing."),
    "agentContextText": words("Its JSON, as far as it fits, where it is too long.", '{"step":'),
    "agentContextTextRemaining": count("Characters of it that are left.", 120),
    "draftType": words("What kind of draft it is, in the agent's own words.", "markdown"),
    "draft": words("The first 40,000 characters of the draft; null if there is none.", "# Pay"),
    "draftLength": count("Characters of the whole draft; null if there is none.", 5),
    "draftContent": words("The draft, as far as it fits.", "# Pay"),
    "draftRemaining": count("Characters of it that are left.", 0),
    "pauseMetadata": about("Why the work paused, and what was next; null if nothing was said."),
    "checkpointCreatedAt": moment("When the checkpoint was made."),
    "restoredStatus": words("Status of the task then.", "in_progress"),
    "restoredPhase": words("Phase of the work then.", "implementation"),
    "restoredStep": words("Step of the work then.", 3),
    "subtaskSummary": about("How many parts the task has, of each status."),
    "changedSince": about("What is different on the task since then."),
    "changedSinceTotal": count("How many differences there are, where not all are shown.", 60),
    "resumeInstructions": words("What to do next, in words.", "Go on from draftContent."),
}

OF_ANSWERS: dict[str, dict[str, Words]] = {
    "CheckpointSaved": {"id": words("The checkpoint.", "CP-7", pattern=CHECKPOINT_ID)},
    "CheckpointWhole": {
        "status": words("Status of the task then.", "in_progress"),
        "notes": words("Notes of the task then.", "The test card works."),
        "metadata": about("Free fields of the task then."),
        "assignedAgent": words("Who worked on it then.", "ada"),
        "subtasks": about("The status that each part of the task had then, by its id."),
    },
    "Overview": {
        "timestamp": moment("When this was so; null where the log does not tell."),
        "totalStreams": count("All that match, also those beyond the first 1,000.", 4),
        "totalActive": count("Activities of tasks that changed within the 5 minutes before.", 2),
        "totalIdle": count("The other activities.", 0),
    },
}
"""Fields that mean something else in one object than in the others."""

OF_BODIES: dict[str, str] = {
    "status": "The new status.",
    "assignedAgent": "Who works on it; an empty text is nobody.",
    "blockedReason": "Why it is blocked.",
    "streamId": "The stream; an empty text takes the task out of its stream.",
    "streamName": "What the stream is called from now on.",
    "streamPhase": "The stream's phase from now on.",
    "streamDependencies": "Streams that the stream needs from now on.",
    "metadata": "Free fields; in a change they are merged, and null removes one.",
    "agent": "Who acts, if not the one that asks.",
    "requestId": "The same id within a day: the same answer, nothing written twice.",
    "trigger": "Why the checkpoint is made.",
    "expiresIn": "Minutes that it is kept.",
    "draftContent": "Unfinished work, up to 1,048,576 bytes of UTF-8.",
    "pauseMetadata": "Why the work pauses, and what is next.",
    "checkpointId": "The checkpoint; without it, the latest.",
    "draftOffset": "Only the rest of a long draft, from this character.",
    "contextOffset": "Only the rest of a long context, from this character of its JSON.",
    "pauseReason": "Why the work pauses.",
    "pausedBy": "Who pauses it.",
    "nextSteps": "What is to be done next.",
    "blockers": "What is in the way.",
    "keyFiles": "The files that matter.",
    "estimatedResumeTime": "When the work may go on.",
}
"""Arguments of tools as fields of a request, where other words fit them better."""

ANY_TASK_ID = r"^(?:[Tt][Aa][Ss][Kk]-)?[0-9]{1,15}$"

ANY_CHECKPOINT_ID = r"^(?:[Cc][Pp]-)?[0-9]{1,15}$"

PARAMETERS: dict[str, Words] = {
    "workspace": words("Only of this workspace; without it, of all.", "web-shop"),
    "streamId": words("The stream.", "Stream-A", pattern=STREAM_ID),
    "taskId": words("The task.", "TASK-1", pattern=ANY_TASK_ID),
    "parentId": words("Only parts of this task.", "TASK-1", pattern=ANY_TASK_ID),
    "status": words("Only tasks with this status.", "in_progress"),
    "assignedAgent": words("Only tasks of this agent.", "ada"),
    "includeArchived": words("Also streams that were archived.", True),
    "active": words("Only those that changed within 5 minutes, or only the others.", True),
    "since": words("Begin after this event; without it, at the newest.", 0),
    "epoch": words("The epoch that since is of.", "3f9a61c20b7d4e58"),
    "replay": words("Begin with so many of the newest matching events.", 20),
    "topics": words("Patterns of topics, separated by commas.", "stream:Stream-A,task:*"),
    "eventTypes": words("Types of events, such as task.completed,stream.*", "task.*"),
    "streams": words("Only events of these streams, and of tasks in them.", "Stream-A"),
    "agents": words("Only events of tasks that one of these is assigned to.", "ada"),
    "notActors": words("Not the events of changes that these made.", "ada"),
    "at": words("As it was right after this event; without it, as it is now.", 97),
    "hours": words("How many hours back.", 24),
    "text": words(
        "Only tasks with this in the title, the description or the notes, or with this id.", "pay"
    ),
    "checkpointId": words("The checkpoint.", "CP-1", pattern=ANY_CHECKPOINT_ID),
    "wait": words("Seconds to wait for an event where there is none.", 0),
}
