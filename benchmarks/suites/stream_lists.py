"""The list of many streams, which no task is read for."""

import asyncio
from collections.abc import Awaitable, Callable
from statistics import median
from typing import Any

from benchmarks.mcp_process import McpProcess, call_line, each_alone
from benchmarks.measures import Measure, Suite, Target, spread
from benchmarks.sandbox import SERVER, WORKSPACE, Sandbox, sandbox
from benchmarks.seeding import add_stream, seeding
from benchmarks.tracing import Trace, traced
from task_copilot.application import Application, open_blocking
from task_copilot.clock import system_clock
from task_copilot.location import Location
from task_copilot.tools import arguments as args
from task_copilot.tools import operations
from task_copilot.tools.session import ToolSession

TASKS_EACH = 10


def run(*, quick: bool) -> list[Measure]:
    """Timed over stdio; what is read is seen in this process, on the same database."""
    count = 50 if quick else 1000
    calls = 5 if quick else 100
    with sandbox() as box:
        with seeding(box) as connection:
            for number in range(count):
                titles = [f"Task {number}" for number in range(TASKS_EACH)]
                add_stream(connection, f"Stream-{number}", titles)
        taken, text = _time(box, calls)
        lists, updates = asyncio.run(_trace(box))
    milliseconds = [one * 1000 for one in taken]
    return [
        Measure(
            f"stream_list of {count:,} streams",
            median(milliseconds),
            "ms",
            f"{calls} calls",
            note=spread(milliseconds),
        ),
        Measure("its first page", len(text.encode()), "bytes", "1"),
        *lists,
        *updates,
    ]


def _time(box: Sandbox, calls: int) -> tuple[list[float], str]:
    with McpProcess(SERVER, box.environment, box.folder) as server:
        server.initialize()
        box.wait_for_hub()
        requests = [call_line(number, "stream_list", {}) for number in range(calls + 5)]
        return each_alone(server, requests)[5:], server.text("stream_list", {})


async def _trace(box: Sandbox) -> tuple[list[Measure], list[Measure]]:
    database = open_blocking(box.settings, system_clock)
    application = Application(database, box.settings, system_clock)

    async def opened() -> Any:
        return database

    session = ToolSession(opened, Location(WORKSPACE, None), 5, system_clock)

    async def trace(call: Callable[[], Awaitable[object]]) -> Trace:
        # Connections that are opened meanwhile are the ones that are watched.
        database.read_engine.dispose()
        with traced(database.write_engine, database.read_engine) as found:
            await call()
        return found

    try:
        update = args.TaskUpdate(id="TASK-1", status="blocked")
        updates = await trace(lambda: operations.task_update(session, "bench", update))
        lists = await trace(lambda: operations.stream_list(session, "bench", args.StreamList()))
        tasks = await trace(lambda: operations.task_list(session, "bench", args.TaskList()))
        with database.read_engine.connect() as connection:
            return _read(connection.connection.driver_connection, lists, tasks, updates)
    finally:
        await application.close()


def _read(
    driver: Any, lists: Trace, tasks: Trace, updates: Trace
) -> tuple[list[Measure], list[Measure]]:
    # That a list of tasks is caught shows that the trace would see what it looks for.
    assert tasks.touching(driver, "tasks")
    assert lists.touching(driver, "streams")
    assert updates.touching(driver, "tasks")
    streams, changes = len(lists.statements()), len(updates.statements())
    return [
        Measure(
            "statements of stream_list touching tasks",
            len(lists.touching(driver, "tasks")),
            "",
            "1",
            Target("==", 0),
            f"of {streams} statements, by their bytecode",
        ),
    ], [
        Measure(
            "statements of a status change that scan tasks",
            len(updates.scanning(driver, "tasks")),
            "",
            "1",
            Target("==", 0),
            f"of {changes} statements, by their query plan",
        ),
    ]


SUITE = Suite("streams", "the list of 1,000 streams", run)
