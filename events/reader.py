"""A position in the log with what is wanted of it: what every transport's listener is made of."""

from collections.abc import Iterator
from dataclasses import dataclass

from task_copilot.events.bus import Stretch
from task_copilot.events.filters import Subscriptions
from task_copilot.events.log import LogRow
from task_copilot.events.messages import GapReason


@dataclass(frozen=True, slots=True)
class Gap:
    """Events that the log no longer has, from `first` to `last`."""

    first: int
    last: int
    reason: GapReason = "pruned"


class Reader:
    """`position` is the last event that it has, or did not ask for; it only moves forward."""

    def __init__(self, position: int, subscriptions: Subscriptions) -> None:
        self.position = position
        self.subscriptions = subscriptions
        self.delivered = 0
        self.gaps = 0

    def items(self, stretch: Stretch) -> Iterator[LogRow | Gap]:
        """The events that are wanted, and the gaps, in order.

        The position moves on with each item, so that a caller may stop after any of them.
        """
        match = self.subscriptions.match
        for row in stretch.rows:
            if row.seq <= self.position:
                continue
            if row.seq > self.position + 1:
                yield self._gap_to(row.seq - 1)
            self.position = row.seq
            if match(row):
                self.delivered += 1
                yield row
        if stretch.upto > self.position:
            yield self._gap_to(stretch.upto)

    def put_back(self, gap: Gap) -> None:
        """Makes the gap that came last the next to come."""
        self.position = gap.first - 1
        self.gaps -= 1

    def _gap_to(self, last: int) -> Gap:
        gap = Gap(self.position + 1, last)
        self.position = last
        self.gaps += 1
        return gap
