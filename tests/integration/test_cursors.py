"""Cursors, filters and gaps over a real hub: on every transport the same."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import text

from frames import parsed
from integration.test_websocket import (
    LIMIT_SECONDS,
    AsgiClient,
    Client,
    MemoryLog,
    RawClient,
    Running,
    running,
)
from listening import TRANSPORTS, Transport, items, over_websocket, places, websocket
from support import World
from task_copilot import tasks, workspaces
from task_copilot.events.log import LogPage
from task_copilot.location import Location
from task_copilot.streams import StreamChange
from task_copilot.task_updates import TaskChange, update_task
from task_copilot.workspaces import Scope
from validation import valid_frame

each_transport = pytest.mark.parametrize("transport", TRANSPORTS.values(), ids=TRANSPORTS)


async def delete_events(hub: Running, where: str) -> None:
    statement = text(f"DELETE FROM events WHERE {where}")  # noqa: S608 - from the tests themselves
    await hub.database.write(lambda tx: tx.connection.execute(statement))


async def fill(hub: Running) -> list[dict[str, Any]]:
    """Events of two workspaces, streams, agents and actors; returns all of them."""
    blog = await hub.database.write(lambda tx: workspaces.ensure(tx, Location("blog", None)))
    for number in range(12):
        actor = "me" if number % 2 else "you"
        scope = Scope(hub.scope.workspace if number % 3 else blog, actor)
        new = tasks.NewTask(
            title=f"T{number}",
            stream=StreamChange(stream_id="AB"[number % 2]),
            assigned_agent=("me", "qa")[number // 2 % 2],
        )
        saved = await hub.database.write(lambda tx, s=scope, n=new: tasks.create(tx, s, n))  # type: ignore[misc]
        change = TaskChange(status="completed" if number % 4 else "blocked")
        await hub.database.write(
            lambda tx, s=scope, i=saved.id, c=change: update_task(tx, s, i, c)  # type: ignore[misc]
        )
    found = await items(over_websocket, hub, hub.bus.head, since=0)
    return [payload for _, payload in found]


def is_wanted(event: dict[str, Any], asked: dict[str, Any]) -> bool:
    def selected(patterns: list[str], name: str) -> bool:
        return any(
            name.startswith(each[:-1]) if each.endswith("*") else name == each for each in patterns
        )

    return (
        selected(asked.get("topics", ["*"]), event["topic"])
        and selected(asked.get("eventTypes", ["*"]), event["eventType"])
        and event["data"]["streamId"] in asked.get("streams", [event["data"]["streamId"]])
        and ("agents" not in asked or event["data"].get("assignedAgent") in asked["agents"])
        and event["actor"] not in asked.get("notActors", [])
        and event["workspace"] == asked.get("workspace", event["workspace"])
    )


ASKED: list[dict[str, Any]] = [
    {},
    {"topics": ["stream:A", "task:TASK-1*"]},
    {"eventTypes": ["task.completed", "stream.*"]},
    {"streams": ["B"], "notActors": ["you"]},
    {"agents": ["qa"]},
    {"workspace": "blog", "topics": ["task:*"]},
    {"workspace": "here", "eventTypes": ["stream.completed"], "streams": ["A", "B"]},
]


async def test_every_transport_gives_the_same_events_for_the_same_wishes(database_url: str) -> None:
    async with running(database_url) as hub:
        everything = await fill(hub)
        last = {"since": len(everything)}
        for asked in ASKED:
            expected = [event for event in everything if is_wanted(event, asked)]
            assert expected, asked
            for transport in TRANSPORTS.values():
                found = await items(transport, hub, len(expected), since=0, **asked)
                assert [payload for _, payload in found] == expected, asked
                newest = await items(transport, hub, 2, replay=2, **asked)
                assert [payload for _, payload in newest] == expected[-2:], asked
        for transport in TRANSPORTS.values():  # and nothing more comes
            waiting = asyncio.create_task(items(transport, hub, 1, **last))
            await hub.clients_are(1)
            await hub.create("A")
            [(_, event)] = await waiting
            assert event["seq"] == last["since"] + 1
            last = {"since": hub.bus.head}


@each_transport
async def test_who_comes_back_with_its_cursor_misses_and_doubles_nothing(
    database_url: str, transport: Transport
) -> None:
    async with running(database_url) as hub:
        total = 300

        async def write() -> None:
            for _ in range(total // 10):
                await hub.create_many(10)

        writing = asyncio.create_task(write())
        got: list[Any] = []
        since = 0
        for count in (1, 7, 20, 64, 3, 50, 100, 55):
            got += places(await items(transport, hub, count, since=since, epoch=hub.bus.epoch))
            since = got[-1]
        await writing
        assert got == [*range(1, total + 1)]


@each_transport
async def test_a_gap_says_exactly_what_was_deleted_and_the_rest_follows(
    database_url: str, transport: Transport
) -> None:
    async with running(database_url) as hub:
        await hub.create_many(40)
        hub.bus.window = type(hub.bus.window)(40)  # nothing in memory
        await delete_events(hub, "seq <= 30 OR seq IN (33, 34, 36)")
        expected = [(3, 30), 31, 32, (33, 34), 35, (36, 36), 37, 38, 39, 40]
        assert places(await items(transport, hub, 10, since=2)) == expected
        assert places(await items(transport, hub, 4, since=33)) == [(34, 34), 35, (36, 36), 37]
        assert places(await items(transport, hub, 2, since=38)) == [39, 40]
        assert places(await items(transport, hub, 1, since=0)) == [(1, 30)]
        assert places(await items(transport, hub, 2, replay=100)) == [31, 32]
        await delete_events(hub, "seq > 0")
        assert places(await items(transport, hub, 1, since=5)) == [(6, 40)]
        waiting = asyncio.create_task(items(transport, hub, 1, since=40))
        await hub.clients_are(1)
        await hub.create()
        assert places(await waiting) == [41]


@each_transport
async def test_what_other_processes_have_just_written_can_be_named_as_since(
    database_url: str, transport: Transport
) -> None:
    async with running(database_url) as hub:
        other = World(hub.database)
        hub.database.start(lambda rows: None)  # the hub is not told of what is written
        for _ in range(5):
            other.task()
        assert hub.bus.head == 0
        assert places(await items(transport, hub, 1, since=4)) == [5]


@each_transport
async def test_a_replay_longer_than_a_page_comes_whole_and_then_the_live_events(
    database_url: str, transport: Transport
) -> None:
    async with running(database_url) as hub:
        await hub.create_many(1_300)
        listening = asyncio.create_task(items(transport, hub, 1_230, replay=1_200))
        while not listening.done():
            await hub.create_many(5)
        found = places(await listening)
        first = found[0]
        assert isinstance(first, int)
        assert first > 100
        assert found == [*range(first, first + 1_230)]


# --- WebSocket alone ---


async def test_a_first_subscribe_may_ask_for_several_topics_each_with_its_filter(
    database_url: str,
) -> None:
    async with running(database_url) as hub, websocket(hub) as client:
        everything = await fill(hub)
        asked: list[dict[str, Any]] = [
            {"topics": ["task:*"], "filter": {"agents": ["qa"]}},
            {"topics": ["stream:*"], "filter": {"streams": ["A"], "notActors": ["me"]}},
        ]
        answer = await client.ask("subscribe", subscriptions=asked, since=0)
        assert answer["payload"]["topics"] == ["task:*", "stream:*"]
        expected = [
            event
            for event in everything
            if any(is_wanted(event, {"topics": each["topics"], **each["filter"]}) for each in asked)
        ]
        assert await client.events(len(expected)) == expected
        assert (await client.ask("ping"))["type"] == "pong"


async def test_batches_hold_so_many_events_and_come_in_order(database_url: str) -> None:
    async with running(database_url) as hub, websocket(hub) as client:
        await hub.create_many(50)
        await client.ask("subscribe", topics=["*"], since=0, batch={"maxEvents": 20})
        sizes: list[int] = []
        got: list[int] = []
        while len(got) < 50:
            message = await client.receive()
            assert message["type"] == "events"
            sizes.append(len(message["payload"]["events"]))
            got += [event["seq"] for event in message["payload"]["events"]]
        assert got == [*range(1, 51)]
        assert sizes == [20, 20, 10]


async def test_a_batch_lingers_for_more_but_leaves_at_once_when_it_is_full(
    database_url: str,
) -> None:
    loop = asyncio.get_running_loop()
    async with running(database_url) as hub, websocket(hub) as client:
        batch = {"maxEvents": 5, "maxDelayMs": 10_000}
        await client.ask("subscribe", topics=["*"], batch=batch)
        begun = loop.time()
        for _ in range(3):
            await hub.create()
        assert (await client.ask("ping"))["type"] == "pong", "answers do not wait for the batch"
        for _ in range(2):
            await hub.create()
        message = await client.receive()
        assert loop.time() - begun < 5
        assert [event["seq"] for event in message["payload"]["events"]] == [1, 2, 3, 4, 5]
        await client.ask("subscribe", topics=["*"], batch={"maxEvents": 5, "maxDelayMs": 200})
        begun = loop.time()
        await hub.create()
        message = await client.receive()
        assert 0.15 < loop.time() - begun < 5
        assert [event["seq"] for event in message["payload"]["events"]] == [6]


async def test_a_batch_of_long_texts_ends_before_a_quarter_of_a_mebibyte_is_passed_by_far(
    database_url: str,
) -> None:
    async with running(database_url) as hub, websocket(hub) as client:
        await hub.create(title="\U0001f600" * 500)
        await hub.update_with_long_texts(1, 60)
        await client.ask("subscribe", topics=["*"], since=0, batch={"maxEvents": 1_000})
        got: list[int] = []
        while len(got) < 61:
            raw = await asyncio.wait_for(client.connection.recv(decode=False), LIMIT_SECONDS)
            assert len(raw) < 256 * 1024 + 32 * 1024 + 100
            message = valid_frame(json.loads(raw))
            got += [event["seq"] for event in message["payload"]["events"]]
        assert got == [*range(1, 62)]


async def test_a_batch_that_comes_at_once_takes_no_more_bytes_than_one_that_is_caught_up(
    database_url: str,
) -> None:
    async with running(database_url) as hub, websocket(hub) as client:
        await hub.create()
        await client.ask("subscribe", topics=["*"], batch={"maxEvents": 1_000})
        text = "\U0001f600" * 500

        async def update(number: int) -> None:
            change = TaskChange(description=f"{number}{text}", notes=f"{number}{text}")
            await hub.database.write(lambda tx: update_task(tx, hub.scope, 1, change))

        await asyncio.gather(*map(update, range(100)))
        got: list[int] = []
        while len(got) < 100:
            raw = await asyncio.wait_for(client.connection.recv(decode=False), LIMIT_SECONDS)
            assert len(raw) < 256 * 1024 + 32 * 1024 + 100
            message = valid_frame(json.loads(raw))
            got += [event["seq"] for event in message["payload"]["events"]]
        assert got == [*range(2, 102)]


async def test_batches_of_long_texts_that_are_read_of_the_log_leave_nothing_out(
    database_url: str,
) -> None:
    async with running(database_url) as hub:
        await asyncio.gather(*(hub.create(title="\U0001f600" * 500) for _ in range(300)))
    async with running(database_url) as hub, websocket(hub) as client:
        await client.ask("subscribe", topics=["*"], since=0, batch={"maxEvents": 200})
        got: list[int] = []
        while len(got) < 300:
            message = await client.receive()
            assert message["type"] == "events"
            got += [event["seq"] for event in message["payload"]["events"]]
        assert got == [*range(1, 301)]


async def test_subscribing_and_unsubscribing_in_a_loop_loses_nothing_of_what_stays(
    database_url: str,
) -> None:
    async with running(database_url) as hub, Client.to(hub, "task:*") as client:
        writing = asyncio.create_task(hub.create_many(200, "S"))
        got: list[int] = []
        for number in range(200):
            kind = "unsubscribe" if number % 2 else "subscribe"
            await client.send({"type": kind, "id": number, "payload": {"topics": ["stream:S"]}})
            while (message := await client.receive()).get("id") != number:
                got.append(message["payload"]["seq"])
            assert message["type"] == f"{kind}d"
        await writing
        while len([seq for seq in got if seq % 2]) < 200:
            got += await client.seqs(1)
        assert got == sorted(set(got))
        assert [seq for seq in got if seq % 2] == [*range(1, 400, 2)]


@pytest.mark.sqlite_only
async def test_a_reader_that_makes_no_progress_is_closed_although_it_answers_pings(
    database_url: str,
) -> None:
    limits: dict[str, Any] = {"ping_interval": 0.1, "listener_timeout": 0.6}
    async with running(database_url, **limits) as hub, RawClient.to(hub, takes=4096) as stuck:
        await hub.create()
        stuck.writer.transport.pause_reading()  # type: ignore[attr-defined]
        stuck.send({"type": "subscribe", "payload": {"topics": ["*"]}})
        await hub.clients_are(1)
        reading = asyncio.create_task(items(over_websocket, hub, 1_000, since=1))
        await hub.update_with_long_texts(1, 1_000)
        assert places(await reading) == [*range(2, 1_002)]
        async with asyncio.timeout(LIMIT_SECONDS):
            while (await hub.health())["clients"]:
                stuck.send({"type": "pong"})


@pytest.mark.parametrize(
    "query", ["workspace=", "workspace=a&workspace=b", "since=1", "workspace=a&x=1", "x"]
)
async def test_the_address_of_the_websocket_takes_one_workspace_and_nothing_else(
    database_url: str, query: str
) -> None:
    async with running(database_url) as hub:
        headers = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
        key = {"Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="}
        answer = await hub.http.get(f"/ws?{query}", headers=headers | key)
        assert answer.status_code == 422
        assert "workspace=NAME" in answer.json()["error"]
        assert (await hub.health())["clients"] == 0


async def test_with_websockets_turned_off_the_upgrade_is_403_and_http_serves(
    database_url: str,
) -> None:
    async with running(database_url, no_websocket=True) as hub:
        headers = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
        key = {"Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="}
        answer = await hub.http.get("/ws", headers=headers | key)
        assert answer.status_code == 403
        assert "/api/events" in answer.json()["error"]
        await hub.create_many(2)
        for name in ("http", "sse"):
            assert places(await items(TRANSPORTS[name], hub, 2, since=0)) == [1, 2]


# --- plain ASGI against the server's own connection ---

CONVERSATION: list[dict[str, Any]] = [
    {"topics": ["task:*"], "since": 3, "epoch": "nope"},
    {"topics": ["task:*"], "filter": {"eventTypes": ["nope"]}},
    {"topics": ["task:*"], "since": 3},
    {"topics": ["stream:*"], "since": 4},
    {"topics": ["task:TASK-1*"], "batch": {"maxEvents": 4}},
]


class Own:
    """What `protocols.PatientWebSocket` offers, writing to the same queue."""

    last_pong = 0.0
    begun = None

    def __init__(self, *, takes_frames: bool) -> None:
        self.client: AsgiClient | None = None
        self.put = self._take if takes_frames else None

    def ping(self) -> None: ...
    def abort(self) -> None: ...

    def sent(self) -> int:
        return 0

    async def send_texts(self, texts: Sequence[str]) -> None:
        for each in texts:
            self._bring(each)

    def _take(self, data: bytes) -> bool:
        for frame in parsed(data):
            self._bring(bytes(frame.data).decode())
        return True

    def _bring(self, text: str) -> None:
        assert self.client is not None
        self.client._from_app.put_nowait({"type": "websocket.send", "text": text})


@pytest.mark.sqlite_only
async def test_plain_asgi_gives_the_same_frames_as_the_servers_own_connection(
    database_url: str,
) -> None:
    async def frames(own: Own | None) -> list[dict[str, Any]]:
        memory = MemoryLog()
        memory.commit(1_200)  # more than memory holds
        endpoint = memory.endpoint()

        async def serve(scope: Any, receive: Any, send: Any) -> None:
            extensions = {} if own is None else {"task_copilot.connection": own}
            await endpoint({**scope, "extensions": extensions}, receive, send)

        async with AsgiClient(serve) as client:  # type: ignore[arg-type]
            if own is not None:
                own.client = client
            found = []
            for payload in CONVERSATION[:3]:
                client.send({"type": "subscribe", "id": "x", "payload": payload})
                found.append(await client.receive())
            found += [await client.receive() for _ in range(1_197)]
            for payload in CONVERSATION[3:]:
                client.send({"type": "subscribe", "id": "x", "payload": payload})
                found.append(await client.receive())
            memory.commit(10)
            found += [await client.receive() for _ in range(3)]
        return [{**frame, "timestamp": None} for frame in found]

    plain = await frames(None)
    assert plain == await frames(Own(takes_frames=True))
    assert plain == await frames(Own(takes_frames=False))
    assert [frame["type"] for frame in plain[-3:]] == ["events"] * 3


async def test_a_listener_that_lingers_gets_nothing_of_the_log_that_replaced_its_own() -> None:
    memory = MemoryLog()
    async with AsgiClient(memory.endpoint()) as client:
        batch = {"maxEvents": 3, "maxDelayMs": 10_000}
        client.send({"type": "subscribe", "payload": {"topics": ["*"], "batch": batch}})
        assert (await client.receive())["type"] == "subscribed"
        memory.commit(2)
        client.send({"type": "ping"})
        assert (await client.receive())["type"] == "pong"
        memory.epoch, memory.head, memory.rows = "epoch-2", 0, []
        memory.bus.restart(memory.state)
        memory.commit(3)
        closing = await client.next()
        assert (closing["type"], closing.get("code")) == ("websocket.close", 1012)


async def test_while_a_replay_is_looked_for_no_ping_says_that_the_client_has_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    memory = MemoryLog()
    memory.commit(5)
    memory.bus.window = type(memory.bus.window)(5)
    may_read, read = asyncio.Event(), memory.up_to

    async def later(position: int) -> LogPage:
        await may_read.wait()
        return await read(position)

    monkeypatch.setattr(memory, "up_to", later)
    async with AsgiClient(memory.endpoint(ping_interval=0.05)) as client:
        client.send({"type": "subscribe", "payload": {"topics": ["*"], "replay": 3}})
        assert (await client.receive())["payload"]["seq"] == 5
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.next(), 0.3)
        may_read.set()
        assert [(await client.receive())["payload"]["seq"] for _ in range(3)] == [3, 4, 5]
        ping = await client.receive()
        assert (ping["type"], ping["payload"]) == ("ping", {"seq": 5})


async def test_while_a_request_waits_for_the_log_no_ping_says_that_the_client_has_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    memory = MemoryLog()
    memory.commit(5)
    asked, may_read, read = asyncio.Event(), asyncio.Event(), memory.up_to

    async def later(position: int) -> LogPage:
        asked.set()
        await may_read.wait()
        return await read(position)

    monkeypatch.setattr(memory, "up_to", later)
    async with AsgiClient(memory.endpoint(ping_interval=0.05)) as client:
        client.send({"type": "subscribe", "payload": {"topics": ["*"], "since": 6}})
        await asyncio.wait_for(asked.wait(), 10)
        memory.commit(3)  # the hub hears of them; what it is asked for still waits
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.next(), 0.3)
        may_read.set()
        assert (await client.receive())["type"] == "subscribed"
        assert [(await client.receive())["payload"]["seq"] for _ in range(2)] == [7, 8]
        ping = await client.receive()
        assert (ping["type"], ping["payload"]) == ("ping", {"seq": 8})
