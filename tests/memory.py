"""A log in memory, for tests of what reads it; it passes the same tests as the database's."""

import json
from collections.abc import Callable, Sequence

from task_copilot.events.log import PAGE_ROWS, LogPage, LogRow, LogState
from task_copilot.events.types import numbered

COMMITTED = "2026-01-08T12:00:30.125Z"


def event_row(
    seq: int,
    topic: str = "task:TASK-1",
    event_type: str = "task.created",
    *,
    workspace: str = "here",
    actor: str = "me",
    **data: object,
) -> LogRow:
    """An event as the log gives it, with just the fields that filters look at."""
    content = {
        "topic": topic,
        "eventType": event_type,
        "workspace": workspace,
        "actor": actor,
        "timestamp": COMMITTED,
        "data": {"workspace": workspace, **data},
    }
    return LogRow(seq, topic, event_type, COMMITTED, numbered(seq, json.dumps(content)))


class MemoryPages:
    """The `Pages` of a list of rows; `row` makes the ones that `commit` adds."""

    def __init__(
        self,
        *,
        epoch: str = "epoch-1",
        page: int = PAGE_ROWS,
        row: Callable[[int], LogRow] = event_row,
    ) -> None:
        self.epoch = epoch
        self.page = page
        self.head = 0
        self.rows: list[LogRow] = []
        self._row = row

    @property
    def state(self) -> LogState:
        return LogState(self.epoch, self.head)

    def commit(self, count: int = 1) -> list[LogRow]:
        """Adds the next `count` events and returns them."""
        new = [self._row(self.head + number) for number in range(1, count + 1)]
        return self.add(new)

    def add(self, rows: Sequence[LogRow]) -> list[LogRow]:
        """Adds `rows`, which have to be the next."""
        assert [row.seq for row in rows] == [*range(self.head + 1, self.head + len(rows) + 1)]
        self.rows.extend(rows)
        self.head += len(rows)
        return list(rows)

    def prune(self, upto: int) -> None:
        """Removes the events up to `upto`."""
        self.rows = [row for row in self.rows if row.seq > upto]

    async def after(self, position: int) -> LogPage:
        found = [row for row in self.rows if row.seq > position]
        return LogPage(self.state, found[: self.page])

    async def up_to(self, position: int) -> LogPage:
        found = [row for row in reversed(self.rows) if row.seq <= position]
        return LogPage(self.state, found[: self.page])
