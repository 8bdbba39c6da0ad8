"""The rows of an export: what one line may hold."""

import json
import re
from typing import Any, get_args

from sqlalchemy import Table

from task_copilot import jsontext
from task_copilot.database import tables
from task_copilot.errors import InvalidInput
from task_copilot.events.types import CheckpointTrigger, StreamPhase, TaskStatus

SHOWN_CHARACTERS = 60
MAX_INTEGER = 2**63 - 1

TABLES: tuple[Table, ...] = (
    tables.workspaces,
    tables.streams,
    tables.tasks,
    tables.checkpoints,
    tables.events,
    tables.requests,
)
"""In this order a row comes after those that it names, except for parents of tasks."""

BY_NAME = {each.name: each for each in TABLES}

_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z")
_JSON: dict[str, dict[str, type]] = {
    "streams": {"dependencies": list},
    "tasks": {"files": list, "metadata": dict},
    "checkpoints": {
        "execution_step": object,
        "agent_context": dict,
        "pause_metadata": dict,
        "snapshot": dict,
    },
    "events": {"payload": dict},
    "requests": {"answer": dict},
}
_CHOICES: dict[str, dict[str, tuple[str, ...]]] = {
    "streams": {"phase": get_args(StreamPhase)},
    "tasks": {"status": get_args(TaskStatus)},
    "checkpoints": {"trigger": get_args(CheckpointTrigger)},
}


def decoded(number: int, line: str) -> dict[str, Any]:
    """The object of a line; raises InvalidInput that names the line."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"Line {number} is not JSON: {error}.") from None
    if not isinstance(found, dict):
        raise InvalidInput(f"Line {number} is no JSON object.")
    return found


def checked_row(number: int, line: str) -> tuple[Table, dict[str, Any]]:
    """The row of a line and its table; raises InvalidInput that names the line."""
    found = decoded(number, line)
    each, row = BY_NAME.get(str(found.get("table"))), found.get("row")
    if each is None or not isinstance(row, dict):
        raise InvalidInput(
            f"Line {number} is no row of a table; it has table and row, and the tables are "
            f"{', '.join(BY_NAME)}."
        )
    if set(row) != set(each.columns.keys()):
        wrong = sorted(set(row) ^ set(each.columns.keys()))
        raise InvalidInput(f"Line {number}: columns of {each.name} that do not fit: {wrong}.")
    for column in each.columns:
        if (reason := _wrong(each, column.name, row[column.name])) is not None:
            raise InvalidInput(f"Line {number}: {each.name}.{column.name} {reason}.")
    if each is tables.events and not _is_event(row):
        raise InvalidInput(f"Line {number}: the payload is not that of this event.")
    return each, row


def _wrong(each: Table, name: str, value: Any) -> str | None:
    """What is wrong with the value of a column; None where nothing is."""
    column = each.columns[name]
    if value is None:
        return None if column.nullable else "is null"
    if column.type.python_type is int:
        return None if _is_integer(value) else f"is no whole number: {_shown(value)}"
    if not isinstance(value, str):
        return f"is no text: {_shown(value)}"
    if (kind := _JSON.get(each.name, {}).get(name)) is not None and not _holds(value, kind):
        return f"is not the JSON that belongs there: {_shown(value)}"
    if (name == "timestamp" or name.endswith("_at")) and _TIME.fullmatch(value) is None:
        return f"is no time: {_shown(value)}"
    choices = _CHOICES.get(each.name, {}).get(name)
    if choices is not None and value not in choices:
        return f"is none of {', '.join(choices)}: {_shown(value)}"
    return None if value.isascii() or _is_unicode(value) else "holds half of a character"


def _is_integer(value: object) -> bool:
    return type(value) is int and abs(value) <= MAX_INTEGER


def _is_unicode(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _holds(value: str, kind: type) -> bool:
    try:
        return isinstance(json.loads(value, parse_constant=_refuse), kind)
    except (ValueError, RecursionError):
        return False


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _is_event(row: dict[str, Any]) -> bool:
    content = jsontext.decode(row["payload"])
    told = (content.get("topic"), content.get("eventType"), content.get("timestamp"))
    texts = (content.get("workspace"), content.get("actor"))
    return (
        told == (row["topic"], row["event_type"], row["timestamp"])
        and all(isinstance(text, str) for text in texts)
        and isinstance(content.get("data"), dict)
    )


def _shown(value: object) -> str:
    written = repr(value)
    return written if len(written) <= SHOWN_CHARACTERS else written[:SHOWN_CHARACTERS] + "…"
