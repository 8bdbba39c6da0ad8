"""A position in the log with what is wanted of it: what every transport's listener is made of."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

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


class Place(Protocol):
    """What has a position of its own, which others share."""

    position: int


class Reader:
    """What was asked for, and where."""

    def __init__(self, position: int, subscriptions: Subscriptions) -> None:
        self._own = position
        self._shared: Place | None = None
        self.subscriptions = subscriptions
        self.delivered = 0
        self.gaps = 0

    @property
    def position(self) -> int:
        """The last event that it has, or did not ask for; it only moves forward."""
        return self._own if self._shared is None else self._shared.position

    @position.setter
    def position(self, position: int) -> None:
        self._own = position

    def go_with(self, place: Place) -> None:
        """Shares the position of `place`, however that moves."""
        self._shared = place

    def go_alone(self, position: int) -> None:
        """Has a position of its own again."""
        self._own, self._shared = position, None

    def items(self, stretch: Stretch) -> Iterator[LogRow | Gap]:
        """The events that are wanted, and the gaps, in order.

        The position moves on with each item, so that a caller may stop after any of them.
        """
        match = self.subscriptions.match
        for row in stretch.rows:
            seq, position = row.seq, self._own
            if seq <= position:
                continue
            if seq > position + 1:
                yield self._gap_to(seq - 1)
            self._own = seq
            if match(row):
                self.delivered += 1
                yield row
        if stretch.upto > self._own:
            yield self._gap_to(stretch.upto)

    def put_back(self, gap: Gap) -> None:
        """Makes the gap that came last the next to come."""
        self._own = gap.first - 1
        self.gaps -= 1

    def _gap_to(self, last: int) -> Gap:
        gap = Gap(self._own + 1, last)
        self._own = last
        self.gaps += 1
        return gap
