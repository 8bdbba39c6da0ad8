"""The client sends no faster than a hub takes."""

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from integration.test_websocket import LIMIT_SECONDS, Running, running
from task_copilot.client import over_http, over_websocket
from task_copilot_client import AsyncTaskCopilotClient, TaskCopilotClient


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Running]:
    """A hub with the limit that it has by itself."""
    async with running(tmp_path, max_message_rate=20) as found:
        yield found


async def test_a_program_that_changes_its_topics_without_end_is_never_closed_for_it(
    hub: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(over_websocket, "MESSAGES_AT_ONCE", 90)  # so that it takes less time
    caplog.set_level(logging.INFO, "task_copilot_client")
    got = asyncio.Event()
    loop = asyncio.get_running_loop()

    def listen() -> None:
        client = TaskCopilotClient(f"http://127.0.0.1:{hub.port}")
        try:
            assert client.connect()
            client.subscribe(["stream:*"], lambda *_: loop.call_soon_threadsafe(got.set))
            for number in range(55):
                client.subscribe([f"task:{number}"], lambda *_: None)
                client.unsubscribe([f"task:{number}"])
            asyncio.run_coroutine_threadsafe(hub.create("Stream-A"), loop).result(LIMIT_SECONDS)
            asyncio.run_coroutine_threadsafe(got.wait(), loop).result(LIMIT_SECONDS)
        finally:
            client.disconnect()

    async with asyncio.timeout(2 * LIMIT_SECONDS):
        await asyncio.to_thread(listen)
    assert [entry for entry in caplog.messages if "1008" in entry] == []


async def test_a_client_over_http_is_never_refused_however_much_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "task_copilot_client")
    monkeypatch.setattr(over_http, "REQUESTS_A_SECOND", 3)
    monkeypatch.setattr(over_http, "REQUESTS_AT_ONCE", 4)
    count = 120
    async with running(tmp_path, max_request_rate=5) as hub, asyncio.timeout(2 * LIMIT_SECONDS):
        url = f"http://127.0.0.1:{hub.port}"
        client = AsyncTaskCopilotClient(url, use_websocket=False)
        events = client.events(["task:*"], since=0)

        async def write() -> None:
            for _ in range(count):
                await hub.create()

        writing = asyncio.create_task(write())
        seqs = [(await anext(events)).seq for _ in range(count)]
        await writing
        await events.aclose()
    assert seqs == list(range(1, count + 1))
    assert [entry for entry in caplog.messages if "429" in entry] == []
