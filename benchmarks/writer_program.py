"""A process that writes as fast as it is let: ``python -m benchmarks.writer_program URL``.

It opens the database as a server does, and says ``ready`` once it has made its tasks. Each line
of its input, ``IN_FLIGHT SECONDS``, is an order to keep so many changes of tasks under way for so
long; each is a `task_update` with its events, through the thread that writes. The answer is a
line with the milliseconds that each took, as JSON. With IN_FLIGHT 0 it commits bare rows instead,
one after the other on a connection of the driver's own, which is as fast as the database can.
"""

import asyncio
import json
import sys
import time

from benchmarks.postgres import connected
from benchmarks.sandbox import WORKSPACE
from task_copilot import task_updates, tasks, workspaces
from task_copilot.application import open_blocking
from task_copilot.clock import system_clock
from task_copilot.database.store import Database
from task_copilot.database.transaction import Transaction
from task_copilot.events.log import LogRow
from task_copilot.events.types import TaskStatus
from task_copilot.location import Location
from task_copilot.settings import Settings
from task_copilot.streams import StreamChange
from task_copilot.task_updates import TaskChange
from task_copilot.workspaces import Scope

MOST_IN_FLIGHT = 16
STATUSES: tuple[TaskStatus, ...] = ("in_progress", "pending")


class _Writer:
    def __init__(self, database: Database[LogRow]) -> None:
        self._database = database
        self._scope: Scope | None = None
        self._tasks: list[int] = []

    async def prepare(self) -> None:
        """Makes as many tasks as can be changed at the same time."""
        self._database.start(lambda _rows: None)
        place = Location(name=WORKSPACE, path=None)
        workspace = await self._database.write(lambda tx: workspaces.ensure(tx, place))
        self._scope = scope = Scope(workspace, "bench")
        new = tasks.NewTask(title="Implement", stream=StreamChange(stream_id="Stream-A"))
        for _ in range(MOST_IN_FLIGHT):
            made = await self._database.write(lambda tx: tasks.create(tx, scope, new))
            self._tasks.append(made.id)

    async def write(self, in_flight: int, seconds: float) -> list[float]:
        """Keeps so many changes under way; the milliseconds of each."""
        waits: list[float] = []
        deadline = time.perf_counter() + seconds
        lanes = [self._lane(number, deadline, waits) for number in self._tasks[:in_flight]]
        await asyncio.gather(*lanes)
        return waits

    async def _lane(self, number: int, deadline: float, waits: list[float]) -> None:
        """Flips the status of a task, again and again."""
        assert self._scope is not None
        scope, place = self._scope, 0
        while time.perf_counter() < deadline:
            place += 1
            change = TaskChange(status=STATUSES[place % 2])

            def update(tx: Transaction, change: TaskChange = change) -> None:
                task_updates.update_task(tx, scope, number, change)

            start = time.perf_counter()
            await self._database.write(update)
            waits.append((time.perf_counter() - start) * 1000)


def _commit_bare(url: str, seconds: float) -> list[float]:
    waits: list[float] = []
    with connected(url) as driver:
        driver.execute("CREATE TABLE IF NOT EXISTS bare (id int)")
        deadline = time.perf_counter() + seconds
        while (start := time.perf_counter()) < deadline:
            driver.execute("INSERT INTO bare VALUES (1)")
            waits.append((time.perf_counter() - start) * 1000)
    return waits


async def main(url: str) -> None:
    """Obeys until the input ends."""
    settings = Settings(database_url=url, workspace=WORKSPACE)
    database = await asyncio.to_thread(open_blocking, settings, system_clock)
    writer = _Writer(database)
    await writer.prepare()
    print("ready", flush=True)
    while order := await asyncio.to_thread(sys.stdin.readline):
        in_flight, seconds = order.split()
        if int(in_flight):
            waits = await writer.write(int(in_flight), float(seconds))
        else:
            waits = await asyncio.to_thread(_commit_bare, url, float(seconds))
        print(json.dumps([round(wait, 3) for wait in waits]), flush=True)
    await database.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
