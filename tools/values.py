"""The kinds of values that tools take, each with its limits and what it refuses.

Types are strict, except that an object or a list may come as a JSON text, as some clients
send it. A text argument is never parsed.
"""

import json
import math
import re
from collections.abc import Callable, Iterator
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from task_copilot import jsontext
from task_copilot.events.topics import STREAM_ID
from task_copilot.schema import NOT_JSON

MAX_DEPTH = 32
"""Levels that a free object may be nested."""

MAX_JSON_TEXT = 512 * 1024
"""Characters of an object or a list that comes as a JSON text: 64 KiB may take six times that
with escapes, and what is longer would only take long to read."""

LONG_TEXT_BYTES = 64 * 1024
DRAFT_BYTES = 1024 * 1024
MAX_INTEGER = 2**63 - 1
MAX_FILES = 200
MAX_FILES_BYTES = 32 * 1024
MAX_DEPENDENCIES = 100


_SURROGATE = re.compile("[\ud800-\udfff]")


def _refuse_unstorable(text: str) -> str:
    if "\0" in text:
        raise ValueError("holds a NUL character, which cannot be stored; leave it out")
    if _SURROGATE.search(text):
        raise ValueError("holds half of a UTF-16 surrogate pair, which is no character")
    return text


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("is blank; it takes at least one visible character")
    return text


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("holds a character that cannot be printed; leave it out")
    return text


def _at_most(limit: int) -> Callable[[str], str]:
    def check(text: str) -> str:
        size = len(text.encode())
        if size > limit:
            raise ValueError(f"got {size:,} bytes of UTF-8; takes at most {limit:,}")
        return text

    return check


def from_json_text(value: Any) -> Any:
    """The value of a JSON text; anything but a text as it is."""
    if not isinstance(value, str):
        return value
    if len(value) > MAX_JSON_TEXT:
        raise ValueError(f"got {len(value):,} characters of JSON; takes at most {MAX_JSON_TEXT:,}")
    try:
        return json.loads(value)
    except RecursionError:
        raise ValueError(f"is nested deeper than {MAX_DEPTH} levels") from None
    except ValueError:
        raise ValueError(NOT_JSON) from None


def _walk(value: Any, depth: int) -> Iterator[tuple[Any, int]]:
    # A list of what is left instead of recursion: the input decides how deep it goes.
    left = [(value, depth)]
    while left:
        item, level = left.pop()
        yield item, level
        if isinstance(item, dict):
            left += [(part, level + 1) for pair in item.items() for part in pair]
        elif isinstance(item, list):
            left += [(part, level + 1) for part in item]


def _storable(value: Any) -> Any:
    for item, level in _walk(value, 1):
        if isinstance(item, dict | list) and level > MAX_DEPTH:
            raise ValueError(f"is nested deeper than {MAX_DEPTH} levels")
        if isinstance(item, str):
            _refuse_unstorable(item)
        elif isinstance(item, float) and not math.isfinite(item):
            raise ValueError("holds NaN or an infinity, which JSON does not have")
        elif isinstance(item, int) and abs(item) > MAX_INTEGER:
            raise ValueError("holds a whole number of more than 64 bits; send it as a text")
    return value


def json_at_most(limit: int) -> Callable[[Any], Any]:
    """A check that the compact JSON of a value has at most `limit` bytes."""

    def check(value: Any) -> Any:
        size = jsontext.size(value)
        if size > limit:
            raise ValueError(f"got {size:,} bytes of JSON; takes at most {limit:,}")
        return value

    return check


Title = Annotated[
    str,
    Field(min_length=1, max_length=500),
    AfterValidator(_refuse_unstorable),
    AfterValidator(_not_blank),
]
Name = Annotated[str, Field(max_length=200), AfterValidator(_refuse_unstorable)]
Agent = Annotated[str, Field(max_length=100), AfterValidator(_refuse_unstorable)]
Reason = Annotated[str, Field(max_length=2000), AfterValidator(_refuse_unstorable)]
LongText = Annotated[
    str, AfterValidator(_refuse_unstorable), AfterValidator(_at_most(LONG_TEXT_BYTES))
]
Draft = Annotated[str, AfterValidator(_refuse_unstorable), AfterValidator(_at_most(DRAFT_BYTES))]
Id = Annotated[str, Field(max_length=100), AfterValidator(_refuse_unstorable)]
RequestId = Annotated[
    str,
    Field(min_length=1, max_length=100),
    AfterValidator(_printable),
    AfterValidator(_not_blank),
]
Step = Annotated[int, Field(ge=0, le=1_000_000_000)] | Name


def _stream_id(text: str) -> str:
    if STREAM_ID.fullmatch(text) is None:
        raise ValueError(f"{text[:80]!r} is not a stream id; it takes 1 to 64 of A-Z a-z 0-9 . _ -")
    return text


def _stream_id_or_none(text: str) -> str:
    return _stream_id(text) if text else text


StreamId = Annotated[str, AfterValidator(_stream_id)]
StreamIdOrEmpty = Annotated[str, AfterValidator(_stream_id_or_none)]
StreamIds = Annotated[
    list[StreamId], BeforeValidator(from_json_text), Field(max_length=MAX_DEPENDENCIES)
]
Files = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(_refuse_unstorable)]],
    BeforeValidator(from_json_text),
    Field(max_length=MAX_FILES),
    AfterValidator(json_at_most(MAX_FILES_BYTES)),
]


FreeObject = Annotated[
    dict[str, Any],
    BeforeValidator(from_json_text),
    AfterValidator(_storable),
    AfterValidator(json_at_most(LONG_TEXT_BYTES)),
]
"""An object whose keys are the caller's own."""
