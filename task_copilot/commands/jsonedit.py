"""Changes one member of a JSON text and leaves every other character as it is.

What was inserted can be taken out again so that the text is the one from before. Where an
empty object was there before, the first member stands right behind its brace; where the object
was inserted too, its members stand on lines of their own. That tells the two apart.
"""

import json
import re
from dataclasses import dataclass
from typing import Any

SPACE = re.compile(r"[ \t\n\r]*")
DEFAULT_INDENT = "  "
_DECODER = json.JSONDecoder()


class Unfit(ValueError):
    """The text is not JSON, or not of the shape that is needed; the message says where."""


@dataclass(frozen=True, slots=True)
class Member:
    """A member of an object: where its name begins, where its value begins and ends."""

    name: str
    start: int
    value_start: int
    end: int
    value: Any


@dataclass(frozen=True, slots=True)
class Object:
    """An object in a text, from its brace at `start` to behind the other one at `end`."""

    text: str
    start: int
    end: int
    members: tuple[Member, ...]

    def member(self, name: str) -> Member | None:
        """The member of a name, if there is one; raises Unfit for several."""
        found = [each for each in self.members if each.name == name]
        if len(found) > 1:
            raise Unfit(f"{_place(self.text, found[1].start)}: {name!r} is there twice")
        return found[0] if found else None

    def inner(self, member: Member) -> "Object":
        """The object that is the value of a member; raises Unfit where it is none."""
        if not isinstance(member.value, dict):
            place = _place(self.text, member.value_start)
            raise Unfit(f"{place}: {member.name!r} is no object")
        return _object(self.text, member.value_start)


def parse(text: str) -> Object:
    """The object that is the whole of `text`; raises Unfit."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise Unfit(f"line {error.lineno}, column {error.colno}: {error.msg}") from None
    except RecursionError:
        raise Unfit("line 1: it is nested too deep") from None
    if not isinstance(value, dict):
        raise Unfit("line 1: the whole is no object")
    return _object(text, _skip(text, 0))


def _place(text: str, position: int) -> str:
    line = text.count("\n", 0, position) + 1
    return f"line {line}, column {position - text.rfind(chr(10), 0, position)}"


def _skip(text: str, position: int) -> int:
    found = SPACE.match(text, position)
    return position if found is None else found.end()


def _object(text: str, start: int) -> Object:
    """The object at `start` of a text that is known to be JSON."""
    members = []
    position = _skip(text, start + 1)
    while text[position] != "}":
        name, after = _DECODER.raw_decode(text, position)
        value_start = _skip(text, _skip(text, after) + 1)
        value, end = _DECODER.raw_decode(text, value_start)
        members.append(Member(name, position, value_start, end, value))
        position = _skip(text, end)
        if text[position] == ",":
            position = _skip(text, position + 1)
    return Object(text, start, position + 1, tuple(members))


def with_member(text: str, outer: str, name: str, value: Any) -> str:
    """`text` with ``{outer: {name: value}}`` merged into it; raises Unfit.

    The member must not be there yet.
    """
    root = parse(text)
    found = root.member(outer)
    if found is None:
        return _inserted(root, outer, {name: value}, depth=1)
    return _inserted(root.inner(found), name, value, depth=2)


def _inserted(into: Object, name: str, value: Any, *, depth: int) -> str:
    text = into.text
    unit, newline = indent_of(text), newline_of(text)
    written = json.dumps(value, indent=unit, ensure_ascii=False)
    member = f"{json.dumps(name)}: " + written.replace("\n", newline + unit * depth)
    if not into.members:
        # What stood between the braces stays behind the member.
        return text[: into.start + 1] + member + text[into.start + 1 :]
    last = into.members[-1]
    before = text[into.start + 1 : into.members[0].start]
    return f"{text[: last.end]},{before}{member}{text[last.end :]}"


def without_member(text: str, outer: str, name: str) -> str:
    """`text` without the member ``name`` of the object ``outer``, and without that where it
    was inserted with it; raises Unfit."""
    root = parse(text)
    found = root.member(outer)
    inner = None if found is None else root.inner(found)
    member = None if inner is None else inner.member(name)
    if found is None or inner is None or member is None:
        return text
    alone = len(inner.members) == 1 and member.start != inner.start + 1
    return _removed(root, found) if alone else _removed(inner, member)


def _removed(from_: Object, member: Member) -> str:
    text = from_.text
    place = from_.members.index(member)
    if place:
        return text[: from_.members[place - 1].end] + text[member.end :]
    if len(from_.members) > 1:
        return text[: member.start] + text[from_.members[1].start :]
    return text[: member.start] + text[member.end :]


def indent_of(text: str) -> str:
    """What one level is indented with."""
    found = re.search(r"\{\r?\n([ \t]+)\"", text)
    return found[1] if found else DEFAULT_INDENT


def newline_of(text: str) -> str:
    """How lines end."""
    return "\r\n" if "\r\n" in text else "\n"
