"""``task-copilot serve``: events and HTTP without an agent."""

import asyncio
import signal
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from e2e.servers import COMMAND, Server, after, free_port, server, start_server
from e2e.test_hub_life import ENDS_WITHIN_SECONDS, closed, event, listening, places
from task_copilot import runtime

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals")

TRIES_AGAIN_SOON = """
from task_copilot import patience
patience.AGAIN_SECONDS = 0.2
"""


def hub(tmp_path: Path, **settings: Any) -> Server:
    """``task-copilot serve``, not started yet. It reads nothing, so it is no MCP server."""
    return server(tmp_path, command=(*COMMAND, "serve"), **settings)


async def says(process: Server, *words: str) -> None:
    await process.wait_until(lambda: all(word in process.stderr_text() for word in words))


@pytest.mark.parametrize("last", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_it_says_its_address_serves_and_ends_in_order(
    tmp_path: Path, last: signal.Signals
) -> None:
    async with hub(tmp_path) as serving, AsyncExitStack() as stack:
        await says(serving, f"Events: ws://127.0.0.1:{serving.port}/ws")
        listeners = [await stack.enter_async_context(listening(serving.port)) for _ in range(20)]
        async with start_server(tmp_path, port=serving.port) as mcp:
            await mcp.ok("task_create", title="One")
            assert (await event(listeners[0]))["seq"] == 1
        serving.close_stdin()  # says nothing to it
        started = time.monotonic()
        serving.signal(last)
        assert await serving.wait_exit() == 0
        assert time.monotonic() - started < ENDS_WITHIN_SECONDS
        assert [await closed(listener) for listener in listeners] == [1012] * 20
        assert serving.stdout_lines == []
        assert "Traceback" not in serving.stderr_text()
        assert (record := runtime.read(places(serving).runtime)) is not None
        assert record.pid is None


async def test_it_says_who_serves_and_takes_its_place(tmp_path: Path) -> None:
    port = free_port()
    async with start_server(tmp_path, port=port, log_level="info") as mcp:
        await mcp.served()
        async with hub(tmp_path, port=port) as waiting:
            await says(waiting, f"process {mcp.process.pid} on http://127.0.0.1:{port}", "waits")
            mcp.close_stdin()
            await mcp.wait_exit()
            await says(waiting, f"Events: ws://127.0.0.1:{port}/ws")
            waiting.signal(signal.SIGTERM)
            assert await waiting.wait_exit() == 0


async def test_one_that_waits_ends_at_once(tmp_path: Path) -> None:
    port = free_port()
    async with start_server(tmp_path, port=port, log_level="info") as mcp:
        await mcp.served()
        async with hub(tmp_path, port=port) as waiting:
            await says(waiting, "waits")
            started = time.monotonic()
            waiting.signal(signal.SIGTERM)
            assert await waiting.wait_exit() == 0
            assert time.monotonic() - started < ENDS_WITHIN_SECONDS


async def test_a_database_that_cannot_be_opened_is_said_and_tried_again(tmp_path: Path) -> None:
    database = tmp_path / "tasks.db"
    database.write_bytes(b"no database" * 1000)
    soon = (*after(TRIES_AGAIN_SOON), "serve")
    async with server(tmp_path, command=soon, database=database) as serving:
        await says(serving, "Events are not served yet", "not a database")
        database.unlink()
        await says(serving, "Events: ws://")
        serving.signal(signal.SIGINT)
        assert await serving.wait_exit() == 0


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"database_url": "postgresql://localhost/x"}, "TASK_COPILOT_DATABASE_URL"),
        ({"host": "0.0.0.0"}, "--auth required"),  # noqa: S104
        ({"port": "many"}, "TASK_COPILOT_PORT"),
    ],
    ids=["database", "host", "port"],
)
async def test_nonsense_is_refused(tmp_path: Path, settings: dict[str, str], words: str) -> None:
    async with hub(tmp_path, **settings) as serving:
        assert await serving.wait_exit() in {1, 2}
        assert words in serving.stderr_text()
        assert "Traceback" not in serving.stderr_text()


async def test_where_it_can_never_serve_it_ends_and_says_why(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where the folder should be")
    async with hub(tmp_path) as serving:
        assert await serving.wait_exit() == 1
        assert "Events are not served" in serving.stderr_text()
        assert "data directory" in serving.stderr_text()


async def test_sessions_that_come_and_go_beside_it_leave_it_the_hub(tmp_path: Path) -> None:
    async with hub(tmp_path) as serving:
        await says(serving, "Events: ws://")
        async with listening(serving.port) as listener:
            for number in range(1, 4):
                async with start_server(tmp_path, port=serving.port) as mcp:
                    await mcp.ok("task_create", title="One")
                assert (await event(listener))["seq"] == number
            listener.transport.abort()
        serving.signal(signal.SIGTERM)
        await asyncio.wait_for(serving.wait_exit(), 10)
