"""What tools answer: compact, within what a client passes on, and never silently cut."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from task_copilot import jsontext

MAX_ANSWER_BYTES = 60_000
"""The largest answer; Claude Code cuts results off at about 25,000 tokens."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The text of a tool's answer, and the same as an object where there is one."""

    text: str
    structured: dict[str, Any] | None = None


def of_object(found: Mapping[str, Any]) -> Answer:
    """The answer that is one object; what has no value is left out."""
    structured = {name: value for name, value in found.items() if value is not None}
    return Answer(jsontext.encode(structured), structured)


def of_lines(header: str, lines: Iterable[str], *, more: str | None) -> Answer:
    """The answer of one line a row; `more` says how the next page is had."""
    return Answer("\n".join([header, *lines, *([more] if more else [])]))


def one_line(text: str, limit: int | None = None) -> str:
    """`text` without line breaks, at most `limit` characters of it."""
    flat = " ".join(text.split())
    return flat if limit is None or len(flat) <= limit else flat[: limit - 1] + "…"


def rows_that_fit(rows: Iterable[str], *, reserved: int) -> int:
    """How many of `rows` fit into one answer beside `reserved` bytes; at least one."""
    left = MAX_ANSWER_BYTES - reserved
    count = 0
    for row in rows:
        left -= len(row.encode()) + 1
        if left < 0:
            break
        count += 1
    return max(count, 1)


def prefix_that_fits(text: str, *, characters: int, size: int) -> str:
    """The longest start of `text` with at most `characters` and `size` bytes of JSON."""
    low, high = 0, min(len(text), characters)
    while low < high:
        middle = (low + high + 1) // 2
        if jsontext.size(text[:middle]) <= size:
            low = middle
        else:
            high = middle - 1
    return text[:low]


def piece(name: str, text: str, offset: int, *, characters: int, size: int) -> dict[str, Any]:
    """`text` from `offset` as far as it fits, with how many characters remain."""
    shown = prefix_that_fits(text[offset:], characters=characters, size=size)
    remaining = max(0, len(text) - offset - len(shown))
    return {name: shown, **({f"{name}Remaining": remaining} if remaining else {})}
