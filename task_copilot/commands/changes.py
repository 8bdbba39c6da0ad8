"""Events as changes: one call of a tool, which the log tells in up to half a dozen events."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from task_copilot.events.types import EVENT_TYPES

Payload = dict[str, Any]
"""An event as it is on the wire."""

ARCHIVED = "stream.archived"
_FIRST = {"task.created", "task.updated", "task.redacted"}
"""A change of a task begins with one of these, and has no second one."""

_RANKS = {event_type: rank for rank, event_type in enumerate(EVENT_TYPES)}
_COMMON = ("workspace", "actor", "timestamp")


@dataclass(frozen=True, slots=True)
class Change:
    """The events of one change, in their order; at least one."""

    events: tuple[Payload, ...]

    def of(self, kind: str) -> list[Payload]:
        """Those of ``task``, ``stream`` or ``checkpoint``."""
        return [event for event in self.events if kind_of(event) == kind]


class Grouper:
    """Takes events in the order of the log. A change is whole when the next one begins, or when
    its taker knows that nothing more of it can come."""

    def __init__(self) -> None:
        self._open: list[Payload] = []

    def add(self, event: Payload) -> Change | None:
        """Takes an event; the change that ended before it, if one did."""
        ended = None
        if self._open and not _continues(self._open, event):
            ended = self.end()
        self._open.append(event)
        return ended

    def end(self) -> Change | None:
        """The change that was begun, if there is one."""
        if not self._open:
            return None
        change = Change(tuple(self._open))
        self._open = []
        return change


def changes_of(events: Iterable[Payload]) -> list[Change]:
    """The changes that `events` tell of; each event is in exactly one."""
    grouper = Grouper()
    found = [grouper.add(event) for event in events]
    return [change for change in (*found, grouper.end()) if change is not None]


def kind_of(event: Payload) -> str:
    """``task``, ``stream`` or ``checkpoint``."""
    return str(event["eventType"]).partition(".")[0]


def _continues(change: list[Payload], event: Payload) -> bool:
    last = change[-1]
    if any(last[name] != event[name] for name in _COMMON):
        return False
    if ARCHIVED in {last["eventType"], event["eventType"]}:
        return False
    kinds = (kind_of(last), kind_of(event))
    if kinds == ("task", "task"):
        return event["eventType"] not in _FIRST and _is_next(last, event, "taskId")
    if kinds == ("task", "stream"):
        return True
    if kinds == ("stream", "stream"):
        return _is_next(last, event, "streamId") or _moves_on(change, event)
    return False  # a checkpoint is a change of its own


def _is_next(last: Payload, event: Payload, name: str) -> bool:
    """Whether both are of one object, in the order in which a change tells of it."""
    same = last["data"][name] == event["data"][name]
    return same and _rank(last) < _rank(event)


def _moves_on(change: list[Payload], event: Payload) -> bool:
    """Whether a task left one stream for another: only a task's event holds two together."""
    known = {each["data"]["streamId"] for each in change if kind_of(each) == "stream"}
    return kind_of(change[0]) == "task" and event["data"]["streamId"] not in known


def _rank(event: Payload) -> int:
    return _RANKS.get(event["eventType"], len(_RANKS))
