"""Which of many selections want an event, without asking each of them.

A selection is what `filters.Subscriptions` holds; the answers are those of its `match`.
"""

from collections import defaultdict
from collections.abc import Collection, Hashable, Iterator
from typing import Generic, NamedTuple, TypeVar

from task_copilot.events.filters import EventFilter, Selection
from task_copilot.events.log import LogRow

T = TypeVar("T", bound=Hashable)

TOPICS_KNOWN = 1_024
"""Topics whose answers are kept. They are forgotten together when there are more, and when a
selection comes or goes."""


class Policy(NamedTuple):
    """What an event has to be beside its topic."""

    workspace: str | None
    wanted: EventFilter

    def accepts(self, row: LogRow) -> bool:
        """Whether the event of `row` is so."""
        if self.workspace is not None and row.about.workspace != self.workspace:
            return False
        return self.wanted.accepts(row)


class MatchIndex(Generic[T]):
    """Selections by their patterns; each stands for somebody."""

    def __init__(self) -> None:
        self._exact: dict[str, set[tuple[Policy, T]]] = {}
        self._prefixes: dict[int, dict[str, set[tuple[Policy, T]]]] = {}
        self._known: dict[str, tuple[tuple[Policy, frozenset[T]], ...]] = {}

    def add(self, selection: Selection, who: T) -> None:
        """From now on `who` wants what `selection` selects."""
        for place, key, policy in self._places(selection):
            place.setdefault(key, set()).add((policy, who))
        self._known.clear()

    def remove(self, selection: Selection, who: T) -> None:
        """Takes back an `add` of the same."""
        for place, key, policy in self._places(selection):
            place[key].discard((policy, who))
            if not place[key]:
                del place[key]
        self._prefixes = {size: place for size, place in self._prefixes.items() if place}
        self._known.clear()

    def _places(
        self, selection: Selection
    ) -> Iterator[tuple[dict[str, set[tuple[Policy, T]]], str, Policy]]:
        for pattern, wanted in selection.held:
            policy = Policy(selection.workspace, wanted)
            if pattern.endswith("*"):
                prefix = pattern[:-1]
                yield self._prefixes.setdefault(len(prefix), {}), prefix, policy
            else:
                yield self._exact, pattern, policy

    def wanting(self, row: LogRow) -> Collection[T]:
        """Everybody whose selection selects the event of `row`, each once.

        A filter is asked once however many share it.
        """
        known = self._known.get(row.topic)
        if known is None:
            known = self._learn(row.topic)
        found: frozenset[T] = frozenset()
        for policy, who in known:
            if policy.accepts(row):
                found = found | who if found else who
        return found

    def _learn(self, topic: str) -> tuple[tuple[Policy, frozenset[T]], ...]:
        by_policy: defaultdict[Policy, set[T]] = defaultdict(set)
        for entries in self._selecting(topic):
            for policy, who in entries:
                by_policy[policy].add(who)
        if len(self._known) >= TOPICS_KNOWN:
            self._known.clear()
        known = tuple((policy, frozenset(who)) for policy, who in by_policy.items())
        self._known[topic] = known
        return known

    def _selecting(self, topic: str) -> Iterator[set[tuple[Policy, T]]]:
        if (found := self._exact.get(topic)) is not None:
            yield found
        for size, prefixes in self._prefixes.items():
            if (found := prefixes.get(topic[:size])) is not None:
                yield found
