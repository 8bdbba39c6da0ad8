"""The newest events in memory, as one contiguous stretch of the log."""

from collections import deque
from collections.abc import Sequence
from itertools import islice

from task_copilot.events.log import LogRow, tells_of_redaction

WINDOW_ROWS = 1_000
"""Events kept in memory. A listener that is further behind reads from the log."""


class Window:
    """Holds the events after `start` up to `head`; `start` moves when it is full."""

    def __init__(self, head: int, *, rows: int = WINDOW_ROWS) -> None:
        self.head = head
        self._rows: deque[LogRow] = deque(maxlen=rows)

    @property
    def start(self) -> int:
        """The position from which on the window has every event."""
        return self.head - len(self._rows)

    def extend(self, rows: Sequence[LogRow]) -> bool:
        """Adds the next events of the log, and says whether they were the next.

        Rows that are held already are passed over; after a hole nothing is added. A
        redaction empties the window: the log has the events as they are now.
        """
        new = [row for row in rows if row.seq > self.head]
        if not new:
            return True
        if new[0].seq != self.head + 1 or new[-1].seq != self.head + len(new):
            return False
        self._rows.extend(new)
        self.head = new[-1].seq
        if any(map(tells_of_redaction, new)):
            self._rows.clear()
        return True

    def after(self, position: int, limit: int) -> list[LogRow] | None:
        """The next events after `position`; None if the window begins later than that."""
        if position < self.start:
            return None
        skipped = position - self.start
        wanted = max(0, self.head - position)
        if wanted > skipped:
            return list(islice(self._rows, skipped, skipped + limit))
        newest = list(islice(reversed(self._rows), wanted))  # who is near the head is so
        return newest[: -limit - 1 : -1]

    def newest_first(self) -> list[LogRow]:
        """Every event that it holds."""
        return list(reversed(self._rows))
