"""What ``task-copilot doctor`` says of one thing that it has looked at."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "note", "wrong"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found about `subject`. What is wrong has a `remedy`; a note may have one."""

    level: Level
    subject: str
    text: str
    remedy: str | None = None


def ok(subject: str, text: str) -> Finding:
    """Nothing to do."""
    return Finding("ok", subject, text)


def note(subject: str, text: str, remedy: str | None = None) -> Finding:
    """Nothing is wrong, but it may not be what is wanted."""
    return Finding("note", subject, text, remedy)


def wrong(subject: str, text: str, remedy: str) -> Finding:
    """Something to mend."""
    return Finding("wrong", subject, text, remedy)
