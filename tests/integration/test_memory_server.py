"""The server in memory: what its users' tests can rely on, and that nothing is left of it."""

import asyncio
import gc
import json
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK

from client_support import LIMIT_SECONDS, MODES, Log, tasks_of, until
from task_copilot.client.errors import NoWebSocket
from task_copilot.client.options import Connection, Options
from task_copilot.testing import MemoryServer, ToolRefused
from task_copilot.testing.connections import MAX_UNREAD, ClientEnd
from task_copilot_client import Gap, HubUnavailable, TaskCopilotClient
from validation import valid_frame, validated

QUICK: dict[str, Any] = {"websocket_retry": 0.1}


@pytest.fixture
def server() -> Iterator[MemoryServer]:
    with MemoryServer() as found:
        yield found


@pytest.fixture(params=MODES)
def options(request: pytest.FixtureRequest) -> dict[str, Any]:
    return MODES[str(request.param)]


def create(server: MemoryServer, count: int) -> None:
    for _ in range(count):
        server.call("task_create", title="A task")


# --- tools ---


def test_a_tool_answers_as_an_agent_gets_it(server: MemoryServer) -> None:
    made = server.call("task_create", title="Pay by card", streamId="Stream-A")
    assert made | {"createdAt": ""} == {
        "id": "TASK-1",
        "status": "pending",
        "streamId": "Stream-A",
        "createdAt": "",
    }
    assert server.call("task_get", id="TASK-1")["title"] == "Pay by card"


def test_lists_are_objects_and_text_where_that_is_asked_for(server: MemoryServer) -> None:
    create(server, 1)
    assert [row["id"] for row in server.call("task_list")["tasks"]] == ["TASK-1"]
    assert "TASK-1 pending" in server.call("task_list", format="text")["text"]


@pytest.mark.parametrize(
    ("tool", "given", "sentence"),
    [
        ("task_get", {"id": "TASK-9"}, "TASK-9"),
        ("task_create", {"titel": "x"}, "'titel' is no argument of task_create"),
        ("nonsense", {}, "There is no tool 'nonsense'"),
    ],
)
def test_a_refusal_is_raised_with_the_sentence_of_the_tool(
    server: MemoryServer, tool: str, given: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ToolRefused, match=sentence):
        server.call(tool, **given)


def test_events_say_who_acted_and_in_which_workspace(server: MemoryServer) -> None:
    every, shop = Log(), Log()
    server.client().subscribe("task:*", every)
    server.client(workspace="shop").subscribe("task:*", shop)
    made = server.call("task_create", title="One", agent="ada", workspace="shop")
    with pytest.raises(ToolRefused):
        server.call("task_get", id=made["id"], workspace="elsewhere")
    server.call("task_create", title="Two")
    until(lambda: len(every.events) == 2 and shop.events)
    assert shop.topics == tasks_of(1, 1)
    assert [data["workspace"] for _, _, data in every.events] == ["shop", "tests"]


async def test_the_actor_is_the_agent_that_was_named_or_tester() -> None:
    async with MemoryServer() as server:
        create(server, 1)
        server.call("task_update", id="1", notes="x", agent="ada")
        events = server.async_client().events("*", since=0)
        assert [(await anext(events)).actor for _ in range(2)] == ["tester", "ada"]
        await events.aclose()


def test_the_clock_that_is_given_tells_the_time() -> None:
    moment = datetime(2026, 1, 8, 12, tzinfo=UTC)
    with MemoryServer(clock=lambda: moment) as server:
        made = server.call("task_create", title="Early")
        server.call("checkpoint_create", taskId="1", trigger="manual", expiresIn=60)
        assert made["createdAt"] == "2026-01-08T12:00:00.000Z"
        assert server.call("checkpoint_list", taskId="1")["checkpoints"]
        moment += timedelta(hours=2)
        assert server.call("checkpoint_list", taskId="1")["checkpoints"] == []


# --- what goes wrong ---


def test_a_restart_drops_connections_and_loses_nothing(
    server: MemoryServer, options: dict[str, Any]
) -> None:
    log = Log()
    client = server.client(**options)
    client.subscribe("task:*", log)
    for _ in range(5):
        create(server, 2)
        server.restart()
        create(server, 1)
    until(lambda: len(log.events) == 15)
    assert log.topics == tasks_of(1, 15)


def test_without_websockets_a_client_takes_http_and_comes_back(server: MemoryServer) -> None:
    log = Log()
    client = server.client(**QUICK)
    client.subscribe("task:*", log)
    assert (server.websocket, client.get_mode()) == (True, "websocket")
    server.websocket = False
    create(server, 1)
    server.restart()
    until(lambda: client.get_mode() == "http")
    create(server, 1)
    until(lambda: len(log.events) == 2)
    server.websocket = True
    until(lambda: client.get_mode() == "websocket")
    create(server, 1)
    until(lambda: len(log.events) == 3)
    assert log.topics == tasks_of(1, 3)


def test_events_that_were_pruned_are_told_as_a_gap(
    server: MemoryServer, options: dict[str, Any]
) -> None:
    create(server, 20)
    server.prune(5)
    gaps: list[Gap] = []
    log = Log()
    server.client(since=3, on_gap=gaps.append, **options).subscribe("task:*", log)
    until(lambda: len(log.events) == 5)
    assert [(gap.from_, gap.to, gap.reason) for gap in gaps] == [(4, 15, "pruned")]
    assert log.topics == tasks_of(16, 20)
    with pytest.raises(ValueError, match="keep"):
        server.prune(-1)


# --- the wire ---


async def test_every_message_has_the_shape_of_the_contract() -> None:
    async with MemoryServer() as server:
        listener = await opened(server)
        for wrong in ("nonsense", "[]", '{"type": "subscribe", "payload": {"topics": ["x"]}}'):
            await listener.send(wrong)
            assert (await said(listener))["type"] == "error"
        await subscribe(listener)
        server.call("task_create", title="One", streamId="Stream-A")
        assert [(await event(listener))["seq"] for _ in range(2)] == [1, 2]
        assert (await message(listener))["type"] == "ping"  # by itself, after half a second
        await listener.close()
        await listener.close()
        with pytest.raises(ConnectionClosedOK):
            await listener.recv()
        with pytest.raises(ConnectionClosedOK):
            await listener.send("{}")


async def test_a_restart_closes_with_1012_behind_what_was_sent() -> None:
    async with MemoryServer() as server:
        listener = await opened(server)
        await subscribe(listener)
        create(server, 3)
        await asyncio.to_thread(server.restart)
        assert [(await event(listener))["seq"] for _ in range(3)] == [1, 2, 3]
        with pytest.raises(ConnectionClosedError) as end:
            await listener.recv()
        assert end.value.rcvd is not None
        assert end.value.rcvd.code == 1012


async def test_who_does_not_read_holds_little_and_gets_everything_later() -> None:
    total = 10 * MAX_UNREAD
    async with MemoryServer() as server:
        listener = await opened(server)
        await subscribe(listener)
        await asyncio.to_thread(create, server, total)
        assert isinstance(listener, ClientEnd)
        assert MAX_UNREAD <= len(listener._texts) <= 2 * MAX_UNREAD
        assert [(await event(listener))["seq"] for _ in range(total)] == [*range(1, total + 1)]
        await listener.close()


async def test_handshakes_are_refused_as_a_hub_refuses_them() -> None:
    async with MemoryServer() as server:
        for path, status in (("/ws?nonsense=1", 422), ("/nowhere", 404)):
            with pytest.raises(NoWebSocket, match=str(status)):
                await opened(server, path)
        server.websocket = False
        with pytest.raises(NoWebSocket, match="403"):
            await opened(server)


async def test_listeners_that_leave_are_forgotten(options: dict[str, Any]) -> None:
    async with MemoryServer() as server:
        client = server.client(**options)
        client.subscribe("task:*", print)
        if options.get("wait", 1):
            await until_async(server, lambda health: health["clients"] == 1)
        await asyncio.to_thread(client.disconnect)
        await until_async(server, lambda health: health["clients"] == 0)


async def test_a_handshake_that_is_given_up_at_any_moment_leaves_nobody_behind() -> None:
    async with MemoryServer() as server:
        for turns in range(20):
            opening = asyncio.create_task(opened(server))
            for _ in range(turns):
                await asyncio.sleep(0)
            opening.cancel()
            with suppress(asyncio.CancelledError):
                await (await opening).close()
        await until_async(server, lambda health: health["clients"] == 0)


def test_a_listener_whose_loop_has_ended_is_forgotten(server: MemoryServer) -> None:
    async def listen() -> None:
        await subscribe(await opened(server))

    asyncio.run(listen())
    create(server, 1)
    asyncio.run(until_async(server, lambda health: health["clients"] == 0))


async def opened(server: MemoryServer, path: str = "/ws") -> Connection:
    url = f"ws{server.address.removeprefix('http')}{path}"
    return await server.link.open_websocket(url, Options())


async def message(listener: Connection) -> dict[str, Any]:
    async with asyncio.timeout(LIMIT_SECONDS):
        return valid_frame(json.loads(await listener.recv()))


async def said(listener: Connection) -> dict[str, Any]:
    """The next message but for pings."""
    while (found := await message(listener))["type"] == "ping":
        pass
    return found


async def event(listener: Connection) -> dict[str, Any]:
    found = await said(listener)
    assert found["type"] == "event"
    payload: dict[str, Any] = found["payload"]
    return payload


async def subscribe(listener: Connection) -> None:
    await listener.send(json.dumps({"type": "subscribe", "payload": {"topics": ["*"]}}))
    assert (await said(listener))["type"] == "subscribed"


async def until_async(server: MemoryServer, holds: Callable[[dict[str, Any]], bool]) -> None:
    async with asyncio.timeout(LIMIT_SECONDS), server.link.http_client(Options()) as http:
        while True:
            answer = await http.get(f"{server.address}/health")
            if holds(validated("GET", "/health", answer.status_code, answer.json())):
                return


# --- its end ---


@pytest.fixture
def nothing_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever happens meanwhile leaves no thread and no file."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = set(threading.enumerate())
    yield
    gc.collect()
    assert set(threading.enumerate()) <= before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("nothing_left")
def test_nothing_is_left_of_it(options: dict[str, Any]) -> None:
    with MemoryServer() as server:
        server.client(**options).subscribe("task:*", print)
        create(server, 1)
        server.call("task_list")


@pytest.mark.usefixtures("nothing_left")
def test_nothing_is_left_of_it_in_an_event_loop(options: dict[str, Any]) -> None:
    async def use() -> None:
        async with MemoryServer() as server:
            server.client(**options)
            create(server, 1)
            events = server.async_client(**options).events("*", since=0)
            assert (await anext(events)).topic == "task:TASK-1"
            await events.aclose()

    asyncio.run(use())


@pytest.mark.usefixtures("nothing_left")
def test_nothing_is_left_of_it_when_a_test_fails() -> None:
    def fail() -> None:
        with MemoryServer() as server:
            server.client()
            server.call("nonsense")

    with pytest.raises(ToolRefused):
        fail()


def test_two_servers_know_nothing_of_each_other(server: MemoryServer) -> None:
    log = Log()
    with MemoryServer() as other:
        other.client().subscribe("*", log)
        create(server, 2)
        create(other, 1)
        until(lambda: log.events)
    assert log.topics == tasks_of(1, 1)
    assert len(server.call("task_list")["tasks"]) == 2


def test_a_server_that_has_ended_is_a_hub_that_is_not_there(options: dict[str, Any]) -> None:
    server = MemoryServer()
    with pytest.raises(RuntimeError, match="does not run"):
        server.call("task_list")
    with server:
        client = TaskCopilotClient(server.address, link=server.link, **options)
        client.subscribe("task:*", print)
        assert client.connect()
        with pytest.raises(RuntimeError, match="runs already"):
            server.__enter__()
    until(lambda: client.get_mode() == "disconnected")
    with pytest.raises(HubUnavailable, match="does not run"):
        client.streams()
    client.disconnect()
    with server:
        assert server.call("task_list")["tasks"] == []
