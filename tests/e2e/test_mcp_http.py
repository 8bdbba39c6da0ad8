"""The tools over HTTP against the tools over stdio, and from hub to hub, in real processes."""

import asyncio
import json
import re
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from mcp import Client

from e2e.servers import events, start_server
from integration.test_websocket import running

TIMES = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
LIMIT_SECONDS = 30

SCENARIO: list[tuple[str, dict[str, Any]]] = [
    ("task_create", {"title": "Types", "streamId": "Stream-A", "streamPhase": "foundation"}),
    ("task_create", {"title": "Parser", "parentId": "TASK-1", "metadata": '{"a":[1]}'}),
    ("task_update", {"id": "task-1", "status": "in_progress", "requestId": "r-1"}),
    ("task_update", {"id": "task-1", "status": "in_progress", "requestId": "r-1"}),
    ("task_update", {"id": "TASK-1", "status": "blocked", "requestId": "r-1"}),
    ("task_update", {"id": "TASK-9", "status": "blocked"}),
    ("task_create", {"title": "", "surprise": 1}),
    ("task_create", {}),
    ("no_such_tool", {}),
    ("checkpoint_create", {"taskId": "TASK-1", "draftContent": "é\U0001f600", "agent": "bob"}),
    ("checkpoint_list", {"taskId": "1"}),
    ("checkpoint_resume", {"taskId": "TASK-1"}),
    ("task_get", {"id": "TASK-1"}),
    ("task_list", {}),
    ("task_list", {"format": "json", "limit": 1}),
    ("stream_list", {}),
]

Call = Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]]


async def answers(call: Call) -> list[Any]:
    found = []
    for tool, arguments in SCENARIO:
        result = await call(tool, arguments)
        text = json.dumps([result["content"][0]["text"], result.get("structuredContent")])
        found.append((tool, bool(result.get("isError")), TIMES.sub("TIME", text)))
    return found


@asynccontextmanager
async def over_http(port: int, mode: str, query: str) -> AsyncIterator[Call]:
    address = f"http://127.0.0.1:{port}/mcp?{query}"
    async with Client(address, mode=mode, read_timeout_seconds=LIMIT_SECONDS) as client:

        async def call(tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
            result = await client.call_tool(tool, arguments)
            return result.model_dump(by_alias=True, mode="json", exclude_none=True)

        yield call


def shown(database: Path) -> str:
    return TIMES.sub("TIME", json.dumps(events(database)))


async def test_the_same_calls_get_the_same_answers_and_events_over_stdio_and_http(
    tmp_path: Path,
) -> None:
    async with start_server(tmp_path, workspace="shop", agent="ada") as server:
        wanted = await answers(server.call)
        logged = shown(server.database)
    for mode in ("legacy", "auto"):
        folder = tmp_path / mode
        folder.mkdir()
        async with (
            running(folder, agent="hub") as hub,
            over_http(hub.port, mode, "workspace=shop&agent=ada") as call,
        ):
            found = await answers(call)
            for over_http_, over_stdio in zip(found, wanted, strict=True):
                assert over_http_ == over_stdio, mode
            assert shown(folder / "tasks.db") == logged, mode


async def test_the_next_call_works_at_the_next_hub_and_knows_what_stdio_was_told(
    tmp_path: Path,
) -> None:
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(start_server(tmp_path, log_level="info"))
        await first.served()
        second = await stack.enter_async_context(
            start_server(tmp_path, port=first.port, log_level="info")
        )
        call = await stack.enter_async_context(over_http(first.port, "legacy", "workspace=project"))
        made = await second.ok("task_create", title="Pay", requestId="once")
        again = await call("task_create", {"title": "Pay", "requestId": "once"})
        assert again["structuredContent"] == made
        first.close_stdin()
        assert await first.wait_exit() == 0
        await second.served()
        assert await call("task_create", {"title": "Pay", "requestId": "once"}) == again
        assert len(events(first.database)) == 1


async def test_a_hub_without_an_agent_imports_the_sdk_at_the_first_request_only() -> None:
    code = (
        "import sys, task_copilot.standalone, task_copilot.web\n"
        "print([name for name in sys.modules if name.startswith('mcp')])"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=PIPE)
    printed, _ = await process.communicate()
    assert printed.strip() == b"[]"
