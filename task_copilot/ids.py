"""Ids as people and agents write them: ``TASK-12``, ``CP-7``; ``task-12`` and ``12`` too."""

import re

from task_copilot.errors import InvalidInput

_MAX_DIGITS = 15
_SHOWN_CHARACTERS = 40
_ID = re.compile(rf"(?:(?P<kind>[A-Za-z]+)-)?(?P<number>[0-9]{{1,{_MAX_DIGITS}}})")


def task_id(number: int) -> str:
    """The id of task `number`."""
    return f"TASK-{number}"


def checkpoint_id(number: int) -> str:
    """The id of checkpoint `number`."""
    return f"CP-{number}"


def parse_task_id(text: str, argument: str = "id") -> int:
    """The number in a task's id; raises InvalidInput that names `argument`."""
    return _parse(text, argument, kind="TASK", example="TASK-12")


def parse_checkpoint_id(text: str, argument: str = "checkpointId") -> int:
    """The number in a checkpoint's id; raises InvalidInput that names `argument`."""
    return _parse(text, argument, kind="CP", example="CP-7")


def _parse(text: str, argument: str, *, kind: str, example: str) -> int:
    found = _ID.fullmatch(text.strip())
    if found is None or (found["kind"] or kind).upper() != kind:
        shown = text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"
        raise InvalidInput(f"{argument}: {shown!r} is not an id such as {example}.")
    return int(found["number"])
