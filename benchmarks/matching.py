"""How the hub finds out who wants an event: the one place to change with that code."""

from collections.abc import Callable, Sequence

from benchmarks.peers.event import EVENT_TYPE, TIMESTAMP
from task_copilot.events.filters import Subscriptions
from task_copilot.events.log import LogRow

CountsWanting = Callable[[LogRow], int]
"""How many listeners want an event, found as the hub finds it."""


def matcher(listeners: Sequence[Sequence[str]]) -> CountsWanting:
    """For listeners with these patterns each."""
    everyone = []
    for patterns in listeners:
        subscriptions = Subscriptions()
        subscriptions.add(patterns)
        everyone.append(subscriptions)

    def count(row: LogRow) -> int:
        return sum(subscriptions.match(row) for subscriptions in everyone)

    return count


def row(seq: int, topic: str) -> LogRow:
    """An event of `topic`."""
    return LogRow(seq, topic, EVENT_TYPE, TIMESTAMP, "{}")
