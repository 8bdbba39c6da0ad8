"""What is asked for: patterns of topics with filters, matched here as on the hub."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from task_copilot.client.model import Event, Json
from task_copilot.client.shapes import Batch, Filter
from task_copilot.events.topics import ALLOWED, KINDS, PatternSet, is_pattern
from task_copilot.events.types import EVENT_TYPES

MAX_FILTER_ITEMS = 100
MAX_NAME_CHARACTERS = 200
FILTER_NAMES = ("eventTypes", "streams", "agents", "notActors")
BATCH_LIMITS = {"maxEvents": (1, 1_000), "maxDelayMs": (0, 10_000)}


@dataclass(frozen=True)
class Condition:
    """A filter that was checked; what is empty always holds."""

    event_types: tuple[str, ...] = ()
    streams: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    not_actors: tuple[str, ...] = ()

    @cached_property
    def _prefixes(self) -> tuple[str, ...]:
        return tuple(item[:-1] for item in self.event_types if item.endswith("*"))

    def accepts(self, event: Event) -> bool:
        """Whether every condition holds for `event`."""
        return (
            (not self.event_types or self._is_of_types(event.event_type))
            and (not self.streams or event.data.get("streamId") in self.streams)
            and (not self.agents or event.data.get("assignedAgent") in self.agents)
            and event.actor not in self.not_actors
        )

    def _is_of_types(self, event_type: str) -> bool:
        return event_type in self.event_types or event_type.startswith(self._prefixes)

    def wire(self) -> dict[str, tuple[str, ...]]:
        """The filter of the wire; empty where there are no conditions."""
        values = (self.event_types, self.streams, self.agents, self.not_actors)
        return {name: value for name, value in zip(FILTER_NAMES, values, strict=True) if value}


EVERYTHING = Condition()


@dataclass(frozen=True)
class Wish:
    """Patterns that were asked for together, with their filter."""

    patterns: tuple[str, ...]
    condition: Condition = EVERYTHING

    @cached_property
    def _set(self) -> PatternSet:
        return PatternSet(self.patterns)

    def matches(self, event: Event) -> bool:
        """Whether `event` was asked for with this."""
        return self._set.matches(event.topic) and self.condition.accepts(event)


def wish(topics: Sequence[str] | str, given: Filter | None) -> Wish:
    """A checked wish; raises ValueError and TypeError, which say what is wrong."""
    return Wish(checked_patterns(topics), condition(given))


def checked_patterns(topics: Sequence[str] | str) -> tuple[str, ...]:
    """Each pattern once; raises ValueError for none and for what is no pattern."""
    names: tuple[object, ...] = (topics,) if isinstance(topics, str) else tuple(topics)
    if not names:
        raise ValueError(f"topics: at least one is needed; {ALLOWED}")
    found: dict[str, None] = {}
    for name in names:
        if not isinstance(name, str) or not is_pattern(name):
            raise ValueError(f"topics: {name!a} is no topic; {ALLOWED}")
        found[name] = None
    return tuple(found)


def condition(given: Filter | None) -> Condition:
    """The filter to match with; raises ValueError and TypeError."""
    if given is None:
        return EVERYTHING
    if unknown := sorted(set(given) - set(FILTER_NAMES)):
        raise ValueError(f"filter: takes {', '.join(FILTER_NAMES)}, not {unknown[0]!a}")
    values = {name: _names(name, given.get(name)) for name in FILTER_NAMES}
    for pattern in values["eventTypes"]:
        prefix = pattern.removesuffix("*")
        if not any(
            known.startswith(prefix) if prefix != pattern else known == pattern
            for known in EVENT_TYPES
        ):
            raise ValueError(f"filter: eventTypes: {pattern!a} selects no type of event")
    return Condition(*values.values())


def _names(name: str, given: object) -> tuple[str, ...]:
    if given is None:
        return ()
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise TypeError(f"filter: {name} is a list of texts")
    found = tuple(dict.fromkeys(given))
    if not 1 <= len(found) <= MAX_FILTER_ITEMS:
        raise ValueError(f"filter: {name} has 1 to {MAX_FILTER_ITEMS} texts")
    if not all(isinstance(item, str) and 1 <= len(item) <= MAX_NAME_CHARACTERS for item in found):
        raise ValueError(f"filter: {name}: each is a text of 1 to {MAX_NAME_CHARACTERS} characters")
    return found


def checked_batch(given: Batch | None) -> Json | None:
    """The batch to ask for; raises ValueError."""
    if given is None:
        return None
    found: Json = dict(given)
    for name, value in found.items():
        low, high = BATCH_LIMITS.get(name, (1, 0))
        if type(value) is not int or not low <= value <= high:
            raise ValueError(f"batch: takes {BATCH_LIMITS}, not {name}={value!a}")
    return found


def merged(wishes: Iterable[Wish]) -> dict[str, Condition]:
    """What to ask the hub for: a pattern that is wanted with several filters, without one."""
    found: dict[str, Condition] = {}
    for each in wishes:
        for pattern in each.patterns:
            same = found.setdefault(pattern, each.condition) == each.condition
            found[pattern] = each.condition if same else EVERYTHING
    return found


def coarse(wanted: Mapping[str, Condition]) -> dict[str, Condition]:
    """The same and more with very few patterns, for a hub that takes no more."""
    kinds = {
        f"{kind}:*"
        for kind in KINDS
        for pattern in wanted
        if pattern.startswith(f"{kind}:") or f"{kind}:".startswith(pattern.removesuffix("*"))
    }
    return dict.fromkeys(sorted(kinds), EVERYTHING)
