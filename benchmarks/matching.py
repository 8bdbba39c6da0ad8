"""How the hub finds out who wants an event: the one place to change with that code."""

from collections.abc import Callable, Sequence

from benchmarks.peers.event import EVENT_TYPE, TIMESTAMP
from task_copilot.events.filters import Subscriptions
from task_copilot.events.log import LogRow
from task_copilot.events.matching import MatchIndex

CountsWanting = Callable[[LogRow], int]
"""How many listeners want an event, found as the hub finds it."""


def matcher(listeners: Sequence[Sequence[str]]) -> CountsWanting:
    """For listeners with these patterns each."""
    index: MatchIndex[int] = MatchIndex()
    for number, patterns in enumerate(listeners):
        subscriptions = Subscriptions()
        subscriptions.add(patterns)
        index.add(subscriptions.selection, number)

    def count(row: LogRow) -> int:
        return len(index.wanting(row))

    return count


def row(seq: int, topic: str) -> LogRow:
    """An event of `topic`."""
    return LogRow(seq, topic, EVENT_TYPE, TIMESTAMP, "{}")
