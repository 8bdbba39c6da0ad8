"""The database layer alone, without tools and transport, beside what the disk can do.

What is committed is a status change with its events, each of a task of its own, as an agent
makes it. Changes that wait at the same time share a transaction.
"""

import asyncio
import os
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

from benchmarks.measures import Measure, Suite, Target, spread
from benchmarks.sandbox import WORKSPACE, Sandbox, sandbox
from benchmarks.seeding import add_stream, seeding
from task_copilot.application import open_blocking
from task_copilot.clock import system_clock
from task_copilot.database.store import Database
from task_copilot.database.transaction import Operation
from task_copilot.events.log import LogRow
from task_copilot.task_updates import TaskChange, update_task
from task_copilot.workspaces import Scope, Workspace

IN_FLIGHT = 64
BLOCK_BYTES = 4096
STATUSES = ("in_progress", "pending")
ALONE = "one after the other"


def run(*, quick: bool) -> list[Measure]:
    """Disk and database take turns, on the same disk."""
    rounds, changes = (1, 128) if quick else (9, 3_200)
    with sandbox() as box:
        _seed(box)
        rates = asyncio.run(_rates(box, rounds, changes))
    disk = median(rates["fsync"])
    taken = f"{rounds} rounds in turns"
    together = f"{IN_FLIGHT} at the same time"
    return [
        Measure(
            f"status changes a second, {together} ÷ fsyncs a second",
            median(rates[together]) / disk,
            "",
            taken,
            Target(">=", 2),
        ),
        Measure(
            f"status changes a second, {ALONE} ÷ fsyncs a second",
            median(rates[ALONE]) / disk,
            "",
            taken,
        ),
        *(
            Measure(name, median(each), "/s", taken, note=spread(each))
            for name, each in (
                (f"status changes, {together}", rates[together]),
                (f"status changes, {ALONE}", rates[ALONE]),
                ("4 KiB appended and fsync", rates["fsync"]),
            )
        ),
    ]


def _seed(box: Sandbox) -> None:
    with seeding(box) as connection:
        add_stream(
            connection, "Stream-A", ["Implement the types"] * IN_FLIGHT, statuses=("pending",)
        )


async def _rates(box: Sandbox, rounds: int, changes: int) -> dict[str, list[float]]:
    """Of each way, without its first round, which warms up."""
    found: dict[str, list[float]] = {"fsync": [], ALONE: [], f"{IN_FLIGHT} at the same time": []}
    database = await asyncio.to_thread(open_blocking, box.settings, system_clock)
    database.start(lambda _rows: None)
    with _syncing(box) as sync:
        for _ in range(1 + rounds):
            few = changes // 4
            found["fsync"].append(await asyncio.to_thread(sync, few))
            found[ALONE].append(await _timed(few, _lane(database, 0, few)))
            each = changes // IN_FLIGHT
            lanes = [_lane(database, lane, each) for lane in range(IN_FLIGHT)]
            found[f"{IN_FLIGHT} at the same time"].append(await _timed(changes, *lanes))
    await database.close()
    return {name: rates[1:] for name, rates in found.items()}


@contextmanager
def _syncing(box: Sandbox) -> Iterator[Callable[[int], float]]:
    """The rate at which blocks get onto the disk that the database is on."""
    with tempfile.TemporaryFile(dir=box.folder, buffering=0) as file:

        def rate(count: int) -> float:
            begin = time.perf_counter()
            for _ in range(count):
                file.write(bytes(BLOCK_BYTES))
                os.fsync(file.fileno())
            return count / (time.perf_counter() - begin)

        yield rate


async def _timed(changes: int, *lanes: Coroutine[Any, Any, None]) -> float:
    begin = time.perf_counter()
    await asyncio.gather(*lanes)
    return changes / (time.perf_counter() - begin)


async def _lane(database: Database[LogRow], lane: int, changes: int) -> None:
    """One change of its task after the other; it is on the disk before the next."""
    for place in range(changes):
        await database.write(_change(lane + 1, STATUSES[place % len(STATUSES)]))


def _change(number: int, status: Any) -> Operation[Any]:
    scope = Scope(Workspace(1, WORKSPACE), "bench")
    return lambda transaction: update_task(transaction, scope, number, TaskChange(status=status))


SUITE = Suite("commits", "the database layer alone, beside the disk", run)
