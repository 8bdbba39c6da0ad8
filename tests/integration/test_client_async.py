"""The client for programs with an event loop, on a hub in a process and on a
server in memory."""

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from client_support import KINDS, MODES, AnyHub, Hub, Relay, a_hub, hub, tasks_of
from task_copilot.client.buffers import MAX_ITEMS
from task_copilot_client import (
    AsyncTaskCopilotClient,
    Event,
    Gap,
    HubUnavailable,
    NotFound,
    RequestRefused,
)

LIMIT_SECONDS = 20


@pytest.fixture(scope="module", params=KINDS)
def serving(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[AnyHub]:
    with a_hub(request.param, tmp_path_factory.mktemp("hub")) as found:
        yield found


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    with hub(tmp_path_factory.mktemp("process")) as found:
        yield found


@pytest.fixture(params=MODES)
def client(serving: AnyHub, request: pytest.FixtureRequest) -> AsyncTaskCopilotClient:
    return serving.async_client(**MODES[request.param])


@pytest.fixture(autouse=True)
def no_error_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    assert [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR] == []


async def some(client: AsyncTaskCopilotClient, count: int, **given: Any) -> list[Event]:
    """The first events of an own connection."""
    found = []
    async with asyncio.timeout(LIMIT_SECONDS):
        events = client.events(**{"topics": ["task:*"], **given})
        async for event in events:
            found.append(event)
            if len(found) == count:
                break
        await events.aclose()
    return found


async def test_events_come_from_since_on_once_and_in_order(
    client: AsyncTaskCopilotClient, serving: AnyHub
) -> None:
    serving.tasks(3)
    found = await some(client, serving.newest, since=0)
    assert [event.topic for event in found] == tasks_of(1, serving.newest)
    again = await some(client, 1, since=found[-2].seq, epoch=found[-2].epoch)
    assert again == found[-1:]


async def test_the_newest_come_first_with_replay(
    client: AsyncTaskCopilotClient, serving: AnyHub
) -> None:
    serving.tasks(3)
    serving.settle()
    found = await some(client, 2, replay=2, filter={"eventTypes": ["task.created"]})
    assert [event.topic for event in found] == tasks_of(serving.newest - 1, serving.newest)


async def test_live_events_come_and_several_listeners_get_all(
    client: AsyncTaskCopilotClient, serving: AnyHub
) -> None:
    first = serving.newest + 1
    listening = [
        asyncio.create_task(some(client, 3, since=serving.head, batch={"maxEvents": 2}))
        for _ in range(3)
    ]
    await asyncio.sleep(0)
    serving.tasks(3)
    for events in await asyncio.gather(*listening):
        assert [event.topic for event in events] == tasks_of(first, serving.newest)


async def test_a_slow_consumer_stops_the_reading_and_loses_nothing(
    serving: AnyHub,
) -> None:
    client = serving.async_client()
    serving.tasks(MAX_ITEMS + 300)
    events = client.events("task:*", since=0)
    async with asyncio.timeout(LIMIT_SECONDS):
        found = [await anext(events)]
        [buffer] = client._open
        async with buffer._changed:
            await buffer._changed.wait_for(lambda: len(buffer._items) >= MAX_ITEMS)
        assert len(buffer._items) == MAX_ITEMS
        while len(found) < serving.newest:
            found.append(await anext(events))
    await events.aclose()
    assert [event.topic for event in found] == tasks_of(1, serving.newest)


async def test_closing_the_client_ends_its_loops(client: AsyncTaskCopilotClient) -> None:
    async def listen() -> int:
        return len([event async for event in client.events("stream:Nobody")])

    before = len(asyncio.all_tasks())
    async with client:
        loops = [asyncio.create_task(listen()) for _ in range(2)]
        await asyncio.sleep(0.05)
    async with asyncio.timeout(LIMIT_SECONDS):
        assert await asyncio.gather(*loops) == [0, 0]
    assert len(asyncio.all_tasks()) == before


async def test_a_gap_is_told_to_functions_and_coroutines(serving: AnyHub) -> None:
    client = serving.async_client()
    gaps: asyncio.Queue[Gap] = asyncio.Queue()
    for on_gap in (gaps.put_nowait, gaps.put):
        events = client.events("*", since=1, epoch="older", on_gap=on_gap)
        step = asyncio.create_task(anext(events))
        assert (await asyncio.wait_for(gaps.get(), LIMIT_SECONDS)).reason == "replaced"
        serving.tasks(1)
        assert (await asyncio.wait_for(step, LIMIT_SECONDS)).topic == f"task:TASK-{serving.newest}"
        await events.aclose()


async def test_what_the_hub_refuses_for_good_is_raised(process: Hub) -> None:
    with Relay(process.port) as relay:
        relay.bad = 401
        client = AsyncTaskCopilotClient(relay.address, use_websocket=False)
        with pytest.raises(RequestRefused, match="401"):
            await some(client, 1)


async def test_nonsense_is_refused_before_anything_is_asked() -> None:
    client = AsyncTaskCopilotClient()
    for topics in ([], ["nonsense"]):
        with pytest.raises(ValueError, match="topic"):
            client.events(topics)


async def test_a_hub_that_comes_late_is_waited_for(tmp_path: Path) -> None:
    later = Hub(tmp_path)
    later.tasks(1)
    listening = asyncio.create_task(some(AsyncTaskCopilotClient(later.address), 1, since=0))
    try:
        await asyncio.to_thread(later.start)
        [event] = await listening
    finally:
        later.close()
    assert event.topic == "task:TASK-1"


async def test_the_state_is_read(serving: AnyHub) -> None:
    serving.tasks(2, "Read")
    async with serving.async_client() as client:
        listed = await client.tasks(stream_id="Read")
        assert [row["streamId"] for row in listed["tasks"]] == ["Read", "Read"]
        assert (await client.task(listed["tasks"][0]["id"]))["subtasks"] == []
        assert (await client.stream("Read"))["totalTasks"] == 2
        assert (await client.streams("shop"))["totalStreams"] >= 1
        with pytest.raises(NotFound):
            await client.stream("Nowhere")
    with pytest.raises(HubUnavailable):
        await AsyncTaskCopilotClient("http://127.0.0.1:9").streams()
