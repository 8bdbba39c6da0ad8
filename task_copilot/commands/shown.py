"""The answers of routes as lines for people."""

from typing import Any

from task_copilot.commands.common import count
from task_copilot.commands.lines import ago, columns, local, paragraphs
from task_copilot.text import plain

Answer = dict[str, Any]


def streams(answer: Answer, *, everywhere: bool) -> list[str]:
    """A line for each stream, and how many there are."""
    rows = [
        (
            *([row["workspace"]] if everywhere else []),
            row["streamId"],
            "archived" if row["archivedAt"] else row["status"],
            f"{row['progressPercentage']:.0f} %",
            f"{row['completedTasks']} of {row['totalTasks']}",
            row["streamPhase"],
            ago(row["lastUpdated"]),
            _about_stream(row),
        )
        for row in answer["streams"]
    ]
    return [*columns(rows), _total(len(rows), answer["totalStreams"], "stream", answer)]


def _about_stream(row: Answer) -> str:
    parts = [] if row["streamName"] == row["streamId"] else [row["streamName"]]
    if row["dependencies"]:
        parts.append(f"(needs {', '.join(row['dependencies'])})")
    if row["blockedReason"]:
        parts.append(f"blocked: {row['blockedReason']}")
    return " ".join(parts)


def tasks(answer: Answer, *, everywhere: bool) -> list[str]:
    """A line for each task, and how many there are."""
    rows = [
        (
            *([row["workspace"]] if everywhere else []),
            row["id"],
            row["status"],
            row["streamId"] or "",
            _agent(row),
            ago(row["updatedAt"]),
            row["title"],
        )
        for row in answer["tasks"]
    ]
    return [*columns(rows), _total(len(rows), answer["totalTasks"], "task", answer)]


def _agent(row: Answer) -> str:
    return f"@{row['assignedAgent']}" if row["assignedAgent"] else ""


def _total(number: int, total: int, what: str, answer: Answer) -> str:
    if answer["nextCursor"] is None:
        return count(number, what) if number else f"No {what}s."
    return f"{number:,} of {count(total, what)}. The next: --cursor {answer['nextCursor']}"


_FIELDS = {
    "status": "status",
    "workspace": "workspace",
    "streamId": "stream",
    "parentId": "part of",
    "assignedAgent": "agent",
    "blockedReason": "blocked",
    "files": "files",
    "metadata": "metadata",
    "createdAt": "created",
    "startedAt": "started",
    "completedAt": "completed",
    "updatedAt": "changed",
}
"""The short fields of a task in the order in which they are shown, with their labels."""

LONGEST_FIELD = 2_000
"""As long as a reason can be; of larger metadata the rest is in --json."""


def task(answer: Answer) -> list[str]:
    """A task with all that it has; what has no value is left out."""
    lines = [f"{answer['id']} {plain(answer['title'])}"]
    fields = [(label, _value(name, answer[name])) for name, label in _FIELDS.items()]
    lines += [f"  {line}" for line in columns((pair for pair in fields if pair[1]), LONGEST_FIELD)]
    for name in ("description", "notes"):
        if answer[name]:
            lines += ["", f"{name}:", *(f"  {line}" for line in paragraphs(answer[name]))]
    if answer["subtasks"]:
        subtasks = [
            (row["id"], row["status"], _agent(row), row["title"]) for row in answer["subtasks"]
        ]
        lines += ["", "subtasks:", *(f"  {line}" for line in columns(subtasks))]
    if answer["latestCheckpoint"]:
        lines += ["", "latest checkpoint:"]
        lines += [f"  {line}" for line in columns([_checkpoint(answer["latestCheckpoint"])])]
    return lines


def _value(name: str, value: Any) -> str:
    if not value:
        return ""
    if name.endswith("At"):
        return local(str(value))
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{key}={item}" for key, item in value.items())
    return str(value)


def checkpoints(answer: Answer) -> list[str]:
    """A line for each checkpoint."""
    rows = [_checkpoint(row) for row in answer["checkpoints"]]
    return [*columns(rows), count(len(rows), "checkpoint") if rows else "No checkpoints."]


def _checkpoint(row: Answer) -> tuple[str, ...]:
    step = row["executionStep"]
    return (
        row["checkpointId"],
        f"#{row['sequence']}",
        row["trigger"],
        local(row["createdAt"]),
        f"until {local(row['expiresAt'])}",
        "draft" if row["hasDraft"] else "",
        " ".join(
            part
            for part in (row["executionPhase"], None if step is None else f"step {step}")
            if part
        ),
    )
