"""One hub at a time, whatever happens to its process: listeners find the next one at once."""

import asyncio
import json
import os
import signal
import socket
import stat
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from e2e.servers import Server, after, events, free_port, start_server
from task_copilot import runtime
from task_copilot.places import Places

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals")

LIMIT_SECONDS = 20.0
ENDS_WITHIN_SECONDS = 1.0
"""It is 0.3 s on a quiet machine; a test must not depend on how busy this one is."""


def places(mcp: Server) -> Places:
    """Where the processes of the server's database find each other."""
    found = Places.of(mcp.database)
    folder = Path(mcp.environment["XDG_DATA_HOME"]) / "task-copilot"
    return Places(
        found.name,
        *(
            folder / path.name
            for path in (found.lock, found.runtime, found.announced, found.opening)
        ),
    )


@asynccontextmanager
async def listening(port: int) -> AsyncIterator[ClientConnection]:
    """A listener of everything, connected as soon as anybody serves the port."""
    async with asyncio.timeout(LIMIT_SECONDS):
        connection = await _connected(port)
    async with connection:
        await connection.send(json.dumps({"type": "subscribe", "payload": {"topics": ["*"]}}))
        assert json.loads(await connection.recv())["type"] == "subscribed"
        yield connection


async def _connected(port: int) -> ClientConnection:
    while True:
        try:
            return await connect(f"ws://127.0.0.1:{port}/ws", proxy=None)
        except OSError:
            await asyncio.sleep(0.005)


async def event(connection: ClientConnection) -> dict[str, Any]:
    async with asyncio.timeout(LIMIT_SECONDS):
        message: dict[str, Any] = json.loads(await connection.recv())
    assert message["type"] == "event", message
    payload: dict[str, Any] = message["payload"]
    return payload


async def closed(connection: ClientConnection) -> int | None:
    """The code with which the hub closes the connection; None where it just ends."""
    async with asyncio.timeout(LIMIT_SECONDS):
        while True:
            try:
                await connection.recv()
            except ConnectionClosed as end:
                return end.rcvd.code if end.rcvd else None


@asynccontextmanager
async def session(
    tmp_path: Path, port: int, count: int, **settings: Any
) -> AsyncIterator[list[Server]]:
    """A hub and those that wait to take its place."""
    async with AsyncExitStack() as stack:
        servers = []
        for place in range(count):
            mcp = await stack.enter_async_context(
                start_server(tmp_path, port=port, log_level="info", **settings)
            )
            servers.append(mcp)
            if place:
                await mcp.wait_until(lambda mcp=mcp: "waits to take its place" in mcp.stderr_text())  # type: ignore[misc]
            else:
                await mcp.served()
        yield servers


async def next_hub(servers: Sequence[Server]) -> Server:
    """The one of `servers` that has become the hub."""
    serving = [asyncio.create_task(mcp.served()) for mcp in servers]
    await asyncio.wait(serving, timeout=LIMIT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    [found] = [mcp for mcp, task in zip(servers, serving, strict=True) if task.done()]
    for task in serving:
        task.cancel()
    return found


@pytest.mark.parametrize("last", [signal.SIGKILL, signal.SIGTERM])
async def test_the_next_process_serves_the_same_port_and_the_events_of_all(
    tmp_path: Path, last: signal.Signals
) -> None:
    port = free_port()
    async with session(tmp_path, port, 3) as servers:
        hub, *others = servers
        for takeovers in (1, 2):
            async with listening(port) as listener:
                for mcp in (hub, *others):
                    await mcp.ok("task_create", title="One")
                    assert (await event(listener))["eventType"] == "task.created"
                record = runtime.read(places(hub).runtime)
                assert record is not None
                assert (record.pid, record.port) == (hub.process.pid, port)
                assert (record.takeovers, record.wakeup_port != port) == (takeovers, True)
                hub.signal(last)
                assert await closed(listener) == (1012 if last == signal.SIGTERM else None)
                await hub.wait_exit()
            if others:
                hub = await next_hub(others)
                others.remove(hub)
        async with listening(port) as listener:
            await hub.ok("task_create", title="Last")
            assert (await event(listener))["seq"] == len(events(hub.database))


async def test_after_the_last_hub_the_file_says_that_nobody_serves(tmp_path: Path) -> None:
    port = free_port()
    async with session(tmp_path, port, 1) as [hub]:
        path = places(hub).runtime
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        found = json.loads(path.read_text())
        assert found["url"] == f"http://127.0.0.1:{port}"
    record = runtime.read(path)
    assert record is not None
    assert (record.pid, record.port, record.url, record.wakeup_port) == (None, None, None, None)
    path.write_text("{ damaged")
    async with session(tmp_path, port, 1):
        assert (record := runtime.read(path)) is not None
        assert record.takeovers == 1


async def test_a_hub_that_is_only_stopped_stays_the_hub(tmp_path: Path) -> None:
    port = free_port()
    async with session(tmp_path, port, 2) as [hub, other], listening(port) as listener:
        hub.signal(signal.SIGSTOP)
        try:
            for _ in range(20):
                await other.ok("task_create", title="Meanwhile")
            lines = psutil.Process(other.process.pid).net_connections("tcp")
            assert [line for line in lines if line.status == psutil.CONN_LISTEN] == []
        finally:
            hub.signal(signal.SIGCONT)
        assert [(await event(listener))["seq"] for _ in range(20)] == list(range(1, 21))
        assert "Events: ws" not in other.stderr_text()


async def test_processes_in_several_data_directories_do_not_serve_one_database_twice(
    tmp_path: Path,
) -> None:
    port = free_port()
    elsewhere = {"XDG_DATA_HOME": str(tmp_path / "elsewhere")}
    async with (
        session(tmp_path, port, 1) as [hub],
        start_server(tmp_path, port=port, environment=elsewhere) as other,
    ):
        words = (f"Events on port {port}", "another data directory")
        await other.wait_until(lambda: all(word in other.stderr_text() for word in words))
        async with listening(port) as listener:
            await other.ok("task_create", title="Seen")
            assert (await event(listener))["seq"] == 1
        assert hub.process.returncode is None


async def test_a_silent_program_on_the_port_is_passed_by(tmp_path: Path) -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        async with start_server(tmp_path, port=port, log_level="info") as mcp:
            await mcp.served()
            assert f"events are served on port {port + 1}" in mcp.stderr_text()
            record = runtime.read(places(mcp).runtime)
            assert record is not None
            assert record.url == f"http://127.0.0.1:{port + 1}"


DEAF = """
from task_copilot import wakeup
wakeup.WakeUpSender.send = lambda self: None
"""


async def test_events_of_others_come_also_without_a_datagram(tmp_path: Path) -> None:
    port = free_port()
    async with (
        session(tmp_path, port, 1),
        start_server(tmp_path, port=port, command=after(DEAF)) as other,
        listening(port) as listener,
    ):
        for number in range(1, 6):
            await other.ok("task_create", title="Seen")
            assert (await event(listener))["seq"] == number


SLOW_NET = """
from task_copilot.database import writer
writer.LOOK_SECONDS = 3600.0
"""


async def test_a_datagram_alone_brings_the_events_of_others(tmp_path: Path) -> None:
    port = free_port()
    async with start_server(tmp_path, port=port, command=after(SLOW_NET), log_level="info") as hub:
        await hub.served()
        async with start_server(tmp_path, port=port) as other, listening(port) as listener:
            for number in range(1, 6):
                await other.ok("task_create", title="Seen")
                assert (await event(listener))["seq"] == number


async def test_without_a_data_directory_the_tools_work_and_it_says_so_once(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where the folder should be")
    async with start_server(tmp_path) as mcp:
        assert (await mcp.ok("task_create", title="Works"))["id"] == "TASK-1"
        words = ("Events are not served", "data directory", "The tools work")
        await mcp.wait_until(lambda: all(word in mcp.stderr_text() for word in words))
        assert (await mcp.ok("task_create", title="Works"))["id"] == "TASK-2"
        assert mcp.stderr_text().count("\n") == 1


@pytest.mark.parametrize("role", ["hub", "waiting"])
async def test_a_process_ends_soon_also_with_listeners(tmp_path: Path, role: str) -> None:
    port = free_port()
    async with session(tmp_path, port, 2) as servers, AsyncExitStack() as stack:
        listeners = [await stack.enter_async_context(listening(port)) for _ in range(20)]
        mcp = servers[0 if role == "hub" else 1]
        started = time.monotonic()
        mcp.signal(signal.SIGTERM)
        assert await mcp.wait_exit() == 0
        assert time.monotonic() - started < ENDS_WITHIN_SECONDS
        if role == "hub":
            assert [await closed(listener) for listener in listeners] == [1012] * 20


async def test_a_waiting_process_costs_nothing(tmp_path: Path) -> None:
    port = free_port()
    async with session(tmp_path, port, 2) as [hub, other]:
        waiting = psutil.Process(other.process.pid)
        before = waiting.num_ctx_switches().voluntary
        for _ in range(20):  # each takes a moment
            await hub.ok("task_create", title="Meanwhile")
        assert waiting.num_ctx_switches().voluntary - before < 5


def test_the_tests_do_not_touch_the_users_data_directory() -> None:
    assert "pytest" in os.environ["XDG_DATA_HOME"]
