"""Which of many selections want an event, without asking each of them.

A selection is what `filters.Subscriptions` holds; the answers are those of its `match`.
"""

from collections.abc import Hashable, Iterator
from collections.abc import Set as AbstractSet
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

from task_copilot.events.filters import EventFilter, Selection
from task_copilot.events.log import LogRow

T = TypeVar("T", bound=Hashable)

TOPICS_KNOWN = 4_096
"""Topics whose answers are kept. They are forgotten together when there are more, and when a
selection comes or goes."""


class Policy:
    """What an event has to be beside its topic; there is one for each workspace and filter."""

    def __init__(self, workspace: str | None, wanted: EventFilter) -> None:
        self._workspace = workspace
        self._wanted = wanted

    def accepts(self, row: LogRow) -> bool:
        """Whether the event of `row` is so."""
        if self._workspace is not None and row.about.workspace != self._workspace:
            return False
        return self._wanted.accepts(row)


class MatchIndex(Generic[T]):
    """Selections by their patterns; each stands for somebody."""

    def __init__(self) -> None:
        self._exact: dict[str, dict[Policy, set[T]]] = {}
        self._prefixes: dict[int, dict[str, dict[Policy, set[T]]]] = {}
        self._known: dict[str, tuple[tuple[Policy, AbstractSet[T]], ...]] = {}
        self._policies: WeakValueDictionary[tuple[str | None, EventFilter], Policy] = (
            WeakValueDictionary()
        )

    def add(self, selection: Selection, who: T) -> None:
        """From now on `who` wants what `selection` selects."""
        for place, key, policy in self._places(selection):
            place.setdefault(key, {}).setdefault(policy, set()).add(who)
        self._known.clear()

    def remove(self, selection: Selection, who: T) -> None:
        """Takes back an `add` of the same."""
        for place, key, policy in self._places(selection):
            place[key][policy].discard(who)
            if not place[key][policy]:
                del place[key][policy]
            if not place[key]:
                del place[key]
        self._prefixes = {size: place for size, place in self._prefixes.items() if place}
        self._known.clear()

    def _places(
        self, selection: Selection
    ) -> Iterator[tuple[dict[str, dict[Policy, set[T]]], str, Policy]]:
        for pattern, wanted in selection.held:
            policy = self._policy(selection.workspace, wanted)
            if pattern.endswith("*"):
                prefix = pattern[:-1]
                yield self._prefixes.setdefault(len(prefix), {}), prefix, policy
            else:
                yield self._exact, pattern, policy

    def _policy(self, workspace: str | None, wanted: EventFilter) -> Policy:
        found = self._policies.get((workspace, wanted))
        if found is None:
            found = self._policies[workspace, wanted] = Policy(workspace, wanted)
        return found

    def wanting(self, row: LogRow) -> AbstractSet[T]:
        """Everybody whose selection selects the event of `row`, each once; good until the next
        change of the index.

        A filter is asked once however many share it.
        """
        known = self._known.get(row.topic)
        if known is None:
            known = self._learn(row.topic)
        found: AbstractSet[T] = frozenset()
        for policy, who in known:
            if policy.accepts(row):
                found = found | who if found else who
        return found

    def _learn(self, topic: str) -> tuple[tuple[Policy, AbstractSet[T]], ...]:
        by_policy: dict[Policy, AbstractSet[T]] = dict(self._exact.get(topic, {}))
        for size, prefixes in self._prefixes.items():
            for policy, who in prefixes.get(topic[:size], {}).items():
                others = by_policy.get(policy)
                by_policy[policy] = who if others is None else others | who
        if len(self._known) >= TOPICS_KNOWN:
            self._known.clear()
        known = self._known[topic] = tuple(by_policy.items())
        return known
