"""What one listener asked for: patterns of topics, each with the filter it came with."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from task_copilot.errors import InvalidInput
from task_copilot.events.log import LogRow
from task_copilot.events.topics import PatternSet
from task_copilot.events.types import EVENT_TYPES


def check_event_types(patterns: Iterable[str]) -> None:
    """Raises InvalidInput for a pattern that selects no type of event."""
    for pattern in patterns:
        prefix = pattern.removesuffix("*")
        if not any(_selects(pattern, prefix, known) for known in EVENT_TYPES):
            raise InvalidInput(
                f"eventTypes: {pattern[:60]!a} selects no event; it is one of "
                f"{', '.join(EVENT_TYPES)}, or the start of one and '*', such as 'stream.*'."
            )


def _selects(pattern: str, prefix: str, event_type: str) -> bool:
    return event_type.startswith(prefix) if prefix != pattern else event_type == pattern


@dataclass(frozen=True)
class EventFilter:
    """Conditions that all have to hold; one that is empty always does.

    `event_types` are types or starts of types with a ``*`` behind; `streams` are of the
    event's stream; `agents` of the task's assigned agent, so that events of streams and
    checkpoints do not match; `not_actors` are those whose own changes are not wanted.
    """

    event_types: frozenset[str] = frozenset()
    streams: frozenset[str] = frozenset()
    agents: frozenset[str] = frozenset()
    not_actors: frozenset[str] = frozenset()

    @cached_property
    def _types(self) -> frozenset[str]:
        return frozenset(item for item in self.event_types if not item.endswith("*"))

    @cached_property
    def _prefixes(self) -> tuple[str, ...]:
        return tuple(item[:-1] for item in self.event_types if item.endswith("*"))

    @cached_property
    def _looks_inside(self) -> bool:
        return bool(self.streams or self.agents or self.not_actors)

    def accepts(self, row: LogRow) -> bool:
        """Whether every condition holds for the event of `row`."""
        if (
            self.event_types
            and row.event_type not in self._types
            and not row.event_type.startswith(self._prefixes)
        ):
            return False
        if not self._looks_inside:
            return True
        about = row.about
        return (
            (not self.streams or about.stream_id in self.streams)
            and (not self.agents or about.assigned_agent in self.agents)
            and about.actor not in self.not_actors
        )


EVERYTHING = EventFilter()


class Selection(NamedTuple):
    """Patterns with their filters, and the only workspace that is wanted, if any: what one
    listener asked for, as a value. Listeners with the same one get the same events."""

    workspace: str | None
    held: frozenset[tuple[str, EventFilter]]


class Subscriptions:
    """The patterns of one listener; `workspace` is the only one it wants to see, if any."""

    def __init__(self, workspace: str | None = None) -> None:
        self._workspace = workspace
        self._held: dict[str, EventFilter] = {}
        self._groups: tuple[tuple[PatternSet, EventFilter], ...] = ()
        self.selection = Selection(workspace, frozenset())

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, pattern: str) -> bool:
        return pattern in self._held

    def add(self, patterns: Sequence[str], wanted: EventFilter = EVERYTHING) -> None:
        """Holds `patterns` with a filter; one that is held already gets the new one."""
        self._held.update(dict.fromkeys(patterns, wanted))
        self._index()

    def remove(self, patterns: Sequence[str]) -> None:
        """Lets go of `patterns`; raises KeyError for one that is not held."""
        for pattern in dict.fromkeys(patterns):
            del self._held[pattern]
        self._index()

    def _index(self) -> None:
        groups: dict[EventFilter, list[str]] = {}
        for pattern, wanted in self._held.items():
            groups.setdefault(wanted, []).append(pattern)
        self._groups = tuple((PatternSet(found), wanted) for wanted, found in groups.items())
        self.selection = Selection(self._workspace, frozenset(self._held.items()))

    def match(self, row: LogRow) -> bool:
        """Whether any pattern with its filter selects the event of `row`."""
        if self._workspace is not None and row.about.workspace != self._workspace:
            return False
        for patterns, wanted in self._groups:
            if patterns.matches(row.topic) and wanted.accepts(row):
                return True
        return False
