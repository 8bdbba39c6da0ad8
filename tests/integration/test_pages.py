"""The log in memory that tests use answers as the database's does."""

from collections.abc import Iterator

import pytest
from sqlalchemy import text

from memory import MemoryPages
from support import World, close, database_at
from task_copilot.database.store import Database
from task_copilot.events import log
from task_copilot.events.log import PAGE_ROWS, LogPage, LogRow
from task_copilot.events.pages import LogPages

COUNT = PAGE_ROWS + 20


class Both:
    """The same events in a database and in memory."""

    def __init__(self, database: Database[LogRow]) -> None:
        self.database = database
        self.stored = LogPages(database)
        self.memory = MemoryPages(epoch=database.read_now(log.state).epoch)

    def copy(self) -> None:
        rows = self.database.read_now(lambda c: log.rows_after(c, self.memory.head, 10**6, 10**9))
        self.memory.add(rows)

    def prune(self, upto: int) -> None:
        self.memory.prune(upto)
        statement = text("DELETE FROM events WHERE seq <= :upto")
        self.database.write_now(lambda tx: tx.connection.execute(statement, {"upto": upto}))

    async def agree_at(self, position: int) -> None:
        for direction in ("after", "up_to"):
            stored = await getattr(self.stored, direction)(position)
            memory = await getattr(self.memory, direction)(position)
            assert comparable(stored) == comparable(memory), (direction, position)


def comparable(page: LogPage) -> tuple[object, ...]:
    rows = [(row.seq, row.topic, row.event_type, row.timestamp, row.payload) for row in page.rows]
    return page.state, rows, [row.about for row in page.rows]


@pytest.fixture
def both(database_url: str) -> Iterator[Both]:
    database = database_at(database_url)
    yield Both(database)
    close(database)


async def test_both_logs_answer_alike_empty_full_and_pruned(both: Both) -> None:
    for position in (0, 1, 2**63 - 1):
        await both.agree_at(position)
    world = World(both.database)
    for number in range(COUNT):
        world.task(f"T{number}", assigned_agent="me" if number % 2 else None)
    both.copy()
    assert both.memory.head == COUNT
    positions = (0, 1, 19, 20, 21, PAGE_ROWS, PAGE_ROWS + 1, COUNT - 1, COUNT, COUNT + 1, 2**63 - 1)
    for upto in (0, 10, 20, COUNT - 1, COUNT):
        both.prune(upto)
        for position in positions:
            await both.agree_at(position)
    world.task("the next after all are gone")
    both.copy()
    for position in (0, COUNT, COUNT + 1):
        await both.agree_at(position)
