"""What stands where a value was removed: in a task's row, in a snapshot, in an event."""

from dataclasses import dataclass
from typing import Any

from task_copilot.errors import InvalidInput

REDACTED = "[redacted]"
"""Stands for a text that a task cannot be without."""

MARK = {"redacted": True}
"""Stands for a value in the `changes` of an event."""

_LEFT: dict[str, Any] = {
    "title": REDACTED,
    "description": None,
    "notes": None,
    "metadata": {},
    "blockedReason": REDACTED,
    "files": [],
    "checkpoints": None,
}
FIELDS = tuple(_LEFT)
"""What can be redacted. `checkpoints` is what a task's checkpoints say beside the task's
own fields: context, draft, phase, step and what a pause says."""


@dataclass(frozen=True, slots=True)
class Field:
    """One of `FIELDS`, or one `key` of the metadata."""

    name: str
    key: str | None = None

    def left_of(self, value: Any) -> Any:
        """What a row or a snapshot holds instead of `value`."""
        if not value:
            return value
        if self.key is None:
            return _LEFT[self.name]
        return {name: inner for name, inner in value.items() if name != self.key}

    def marked(self, value: Any) -> Any:
        """What the `changes` of an event say instead of `value`."""
        if not value:
            return value
        if self.key is None:
            return MARK
        return {**value, self.key: MARK} if self.key in value else value


def parse_field(text: str) -> Field:
    """The field that `text` names; raises InvalidInput that says what can be redacted."""
    name, dot, key = text.partition(".")
    if name not in FIELDS or (dot and (name != "metadata" or not key)):
        raise InvalidInput(
            f"{text!r} cannot be redacted; what can is {', '.join(FIELDS)} and metadata.KEY."
        )
    return Field(name, key or None)


def clean_event(content: dict[str, Any], task: str, field: Field) -> None:
    """Removes the values of `field` from the payload of an event that tells of `task`.

    A stream's event tells of the newest blocked task of the stream: it has its reason.
    """
    data = content["data"]
    kind = content["eventType"]
    if kind == "stream.blocked":
        if field.name == "blockedReason" and data["blockedTaskIds"][:1] == [task]:
            data["blockedReason"] = field.left_of(data["blockedReason"])
        return
    if field.name == "title":
        data["taskTitle"] = REDACTED
    elif field.name == "blockedReason" and "blockedReason" in data:
        data["blockedReason"] = field.left_of(data["blockedReason"])
    elif field.name == "checkpoints" and kind == "checkpoint.created":
        data |= {"executionPhase": None, "executionStep": None}
    for change in data.get("changes", ()):
        if change["field"] == field.name:
            change["oldValue"] = field.marked(change["oldValue"])
            change["newValue"] = field.marked(change["newValue"])
