"""Real processes with a network between them and PostgreSQL that delays and stands still."""

import asyncio
import time
from pathlib import Path
from typing import Any

from sqlalchemy import make_url

import postgres
from e2e.faults import all_reach, assert_has_all, everyone, health, running
from e2e.servers import Server, after, free_port, server, start_server
from postgres_relay import relaying

IMPATIENT = """
from task_copilot.database import outage, postgres_answers
outage.WAIT_SECONDS = 0.5
postgres_answers.ANSWER_SECONDS = 2.5
"""
DELAY_SECONDS = 0.02
PROMPT_SECONDS = 2.0
"""Less than a server that does not answer is waited for."""
LIMIT_SECONDS = 20.0


async def ends_while_the_others_answer(call: "asyncio.Task[Any]", mcp: Server, hub: int) -> Any:
    """The result of `call`; neither the event loop of its process nor the hub's waits for it."""
    async with asyncio.timeout(LIMIT_SECONDS):
        while not call.done():
            await health(hub, PROMPT_SECONDS)
            await mcp.request("ping", timeout=PROMPT_SECONDS)
            await asyncio.wait([call], timeout=0.05)
    return call.result()


async def test_a_network_that_stands_still_blocks_nobody_and_loses_and_doubles_nothing(
    tmp_path: Path, postgres_server: postgres.Server
) -> None:
    with postgres_server.database() as url, relaying(postgres_server) as relay:
        given: dict[str, Any] = {"database_url": relay.url(make_url(url).database or "")}
        port, command = free_port(), after(IMPATIENT)
        hub = server(tmp_path, port=port, command=(*command, "serve"), ping_interval=0.5, **given)
        listeners = everyone(port)
        relay.delay = DELAY_SECONDS
        async with hub, start_server(tmp_path, command=command, **given) as mcp, running(listeners):
            for number in range(5):
                await mcp.ok("task_create", title=f"T{number}")
            await all_reach(listeners, 5)
            relay.stall()
            again = {"title": "Stalled", "requestId": "r"}
            call = asyncio.create_task(mcp.call("task_create", again, timeout=LIMIT_SECONDS))
            found = await ends_while_the_others_answer(call, mcp, port)
            assert found["isError"], found
            assert "does not answer" in found["content"][0]["text"], found
            started = time.monotonic()
            async with start_server(tmp_path, command=command, **given):  # is greeted, and ends
                pass
            assert time.monotonic() - started < LIMIT_SECONDS / 2
            relay.go_on()
            assert (await mcp.ok("task_create", **again))["id"] == "TASK-6"
            assert (await mcp.ok("task_create", **again))["id"] == "TASK-6"
            relay.cut()
            await mcp.ok("task_create", title="After")
            await all_reach(listeners, 7)
            for listener in listeners:
                assert_has_all(listener, 7)
            hub.process.terminate()
            await hub.wait_exit()
        assert "Traceback" not in hub.stderr_text(), hub.stderr_text()
