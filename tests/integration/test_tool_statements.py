"""Every statement that reaches the database: of each tool, and of each delivery.

A change of these tables is a change of what a call costs; it is made on purpose.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from integration.test_websocket import AsgiClient
from support import World, database_at, ticking
from task_copilot.clock import system_clock
from task_copilot.database.store import Database
from task_copilot.events import log
from task_copilot.events.bus import Bus
from task_copilot.events.connection import WebSocketLimits
from task_copilot.events.listeners import Listeners
from task_copilot.events.log import LogPage, LogRow
from task_copilot.events.pages import LogPages
from task_copilot.events.websocket import WebSocketEndpoint
from task_copilot.location import Location
from task_copilot.tail import Standing, Tail
from task_copilot.tools import adapter
from task_copilot.tools.registry import TOOLS, TOOLS_BY_NAME
from task_copilot.tools.session import ToolSession

WRITE = ["begin immediate", "pragma user_version"]
"""How a transaction that writes begins: the second is whether the tables are still ours."""

NUMBER = ["update log"]
"""Gives the events their numbers; an insert for each follows, of one prepared statement."""

BEGIN_READ = ["begin", "pragma user_version"]
"""With a look at whether the database was moved elsewhere."""

PAGE = [*BEGIN_READ, "select log", "select events", "commit"]
"""A page of the log with the state of the log, in one transaction."""


def events(count: int) -> list[str]:
    return [*NUMBER, *["insert events"] * count, "commit"]


def short(statement: str) -> str:
    """What it does, and to which table."""
    text = statement.lower().replace('"', "")
    verb = text.split()[0]
    table = re.search({"select": r"\bfrom (\w+)", "insert": r"\binto (\w+)"}.get(verb, "$^"), text)
    if table is not None:
        return f"{verb} {table[1]}"
    return " ".join(text.split()[:2])


class Traced:
    """A database whose statements are noted."""

    def __init__(self, database: Database[LogRow]) -> None:
        self.database = database
        self._seen: list[tuple[Any, str]] = []
        self._session = ToolSession(
            self._opened, Location("shop", "/work/shop"), 5, database.committer._clock
        )
        event.listen(
            database.read_engine, "checkout", lambda connection, *_: self._trace(connection)
        )
        self._trace(database.committer.connection.connection.driver_connection)

    def _trace(self, connection: Any) -> None:
        connection.set_trace_callback(lambda text: self._seen.append((connection, text)))

    async def _opened(self) -> Database[LogRow]:
        return self.database

    async def _present(self) -> ToolSession:
        return self._session

    async def call(self, tool: str, **arguments: Any) -> None:
        answer = await adapter.call(TOOLS_BY_NAME[tool], arguments, self._present, "me")
        assert not answer.is_error, answer

    @contextlib.contextmanager
    def noting(self) -> Iterator[list[str]]:
        """What runs in the context, in short: one connection after the other, however their
        statements alternated."""
        self._seen.clear()
        found: list[str] = []
        yield found
        each: dict[int, list[str]] = {}
        for connection, text in self._seen:
            each.setdefault(id(connection), []).append(short(text))
        found += chain.from_iterable(each.values())


@pytest.fixture
async def traced(tmp_path: Path) -> AsyncIterator[Traced]:
    """A workspace with a task in a stream, and with a checkpoint."""
    database = database_at(tmp_path, clock=ticking())
    World(database)
    database.start(lambda _rows: None)
    found = Traced(database)
    try:
        await found.call("task_create", title="first", streamId="Stream-A", requestId="known")
        await found.call("checkpoint_create", taskId="TASK-1")
        yield found
    finally:
        await database.close(wait_for_readers=True)


FIND_TASK = ["select tasks"]  # with its stream, by a join
READ = [*BEGIN_READ, "select workspaces"]

CALLS: list[tuple[str, dict[str, Any], list[str]]] = [
    ("task_create", {"title": "t"}, [*WRITE, "insert tasks", *events(1)]),
    (
        "task_create",
        {"title": "t", "streamId": "Stream-A"},
        [*WRITE, "select streams", "update streams", "insert tasks", *events(2)],
    ),
    (
        "task_create",
        {"title": "t", "requestId": "new"},
        [*WRITE, "select requests", "insert tasks", "insert requests", *events(1)],
    ),
    (
        "task_create",
        {"title": "first", "streamId": "Stream-A", "requestId": "known"},
        [*WRITE, "select requests", "commit"],
    ),
    (
        "task_update",
        {"id": "TASK-1", "title": "t"},
        [*WRITE, *FIND_TASK, "update tasks", *events(1)],
    ),
    (
        "task_update",
        {"id": "TASK-1", "notes": "n"},
        [*WRITE, *FIND_TASK, "select tasks", "update tasks", *events(1)],
    ),
    (
        "task_update",
        {"id": "TASK-1", "status": "in_progress"},
        [*WRITE, *FIND_TASK, "update streams", "update tasks", *events(4)],
    ),
    (
        "task_get",
        {"id": "TASK-1"},
        # its long texts, its subtasks, how many there are, and its newest checkpoint
        [*READ, *FIND_TASK, *["select tasks"] * 3, "select checkpoints", "commit"],
    ),
    # a page, how many in each status, and how many are archived
    ("task_list", {}, [*READ, *["select tasks"] * 3, "commit"]),
    ("stream_list", {}, [*READ, "select streams", "commit"]),
    (
        "checkpoint_create",
        {"taskId": "TASK-1"},
        [
            *(*WRITE, *FIND_TASK, "update tasks", "select tasks", "select tasks"),
            *("insert checkpoints", "select checkpoints", *events(1)),
        ],
    ),
    (
        "checkpoint_resume",
        {"taskId": "TASK-1"},
        [*WRITE, *FIND_TASK, "select checkpoints", *["select tasks"] * 3, *events(1)],
    ),
    ("checkpoint_list", {"taskId": "TASK-1"}, [*READ, *FIND_TASK, "select checkpoints", "commit"]),
]


@pytest.mark.parametrize(
    ("tool", "arguments", "expected"), CALLS, ids=[f"{tool} {given}" for tool, given, _ in CALLS]
)
async def test_a_tool_sends_these_statements_and_no_others(
    traced: Traced, tool: str, arguments: dict[str, Any], expected: list[str]
) -> None:
    with traced.noting() as seen:
        await traced.call(tool, **arguments)
    assert seen == expected


def test_every_tool_is_counted() -> None:
    assert {tool for tool, _, _ in CALLS} == {tool.name for tool in TOOLS}


# --- deliveries ---


@contextlib.asynccontextmanager
async def listening(bus: Bus, count: int, **wanted: Any) -> AsyncIterator[list[AsgiClient]]:
    """So many listeners, each subscribed."""
    limits = WebSocketLimits(50, 30.0, 60.0, 1_000)
    endpoint = WebSocketEndpoint(bus, Listeners(1_000), limits, system_clock)
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(AsgiClient(endpoint)) for _ in range(count)]
        for client in clients:
            client.send({"type": "subscribe", "payload": {"topics": ["*"], **wanted}})
            assert (await client.receive())["type"] == "subscribed"
        yield clients


async def bus_of(database: Database[LogRow]) -> Bus:
    return Bus(await database.read(log.state), LogPages(database))


@pytest.mark.parametrize("count", [1, 50])
async def test_a_refresh_reads_one_page_however_many_listen(traced: Traced, count: int) -> None:
    bus = await bus_of(traced.database)
    async with listening(bus, count) as clients:
        await traced.call("task_update", id="TASK-1", status="in_progress")
        with traced.noting() as seen:
            bus.refresh()
            for client in clients:
                assert [(await client.receive())["type"] for _ in range(4)] == ["event"] * 4
        assert seen == PAGE
    await bus.close()


async def test_a_wake_up_is_one_statement(traced: Traced) -> None:
    told = traced.database.read_now(log.state)
    pages: asyncio.Queue[LogPage | None] = asyncio.Queue()
    tail = Tail(
        traced.database.kept_reader(),
        lambda: Standing(told, traced.database.generation),
        lambda _before, page: pages.put_nowait(page),
    )
    await traced.call("task_update", id="TASK-1", status="in_progress")
    tail.look()  # takes a connection, which it keeps
    with traced.noting() as seen:
        tail.look()
    assert seen == ["select log"]
    first, second = await pages.get(), await pages.get()
    assert first is not None
    assert second is not None
    assert len(second.rows) == len(first.rows) == 4
    tail.close()


async def test_what_this_process_wrote_is_delivered_without_a_statement(tmp_path: Path) -> None:
    database = database_at(tmp_path, clock=ticking())
    World(database)
    bus = await bus_of(database)
    database.start(bus.publish)
    traced = Traced(database)
    await traced.call("task_create", title="the first call of a session finds its workspace")
    async with listening(bus, 20) as clients:
        with traced.noting() as seen:
            await traced.call("task_create", title="t")
            for client in clients:
                assert (await client.receive())["type"] == "event"
        assert seen == [*WRITE, "insert tasks", *events(1)]
    await bus.close()
    await database.close(wait_for_readers=True)


@pytest.mark.parametrize("count", [1, 3])
async def test_a_replay_reads_a_page_at_a_time_for_each_who_asks(
    traced: Traced, count: int
) -> None:
    bus = await bus_of(traced.database)
    with traced.noting() as seen:
        async with listening(bus, count, since=0) as clients:
            for client in clients:
                while (await client.receive())["payload"]["seq"] < bus.head:
                    pass
    assert seen == PAGE * count
    await bus.close()
