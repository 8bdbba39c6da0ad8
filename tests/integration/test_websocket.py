"""Events over real sockets, and over plain ASGI where a server offers no more than that."""

import asyncio
import contextlib
import errno
import gc
import json
import logging
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx2
import psutil
import pytest
from starlette.types import Message
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Frame, Opcode

from memory import MemoryPages
from task_copilot import protocols, tasks, workspaces
from task_copilot.application import open_blocking
from task_copilot.clock import system_clock
from task_copilot.database.store import Database
from task_copilot.errors import StorageError
from task_copilot.events import log, session
from task_copilot.events.bus import Bus
from task_copilot.events.connection import WebSocketLimits
from task_copilot.events.listeners import Listeners
from task_copilot.events.log import LogPage, LogRow
from task_copilot.events.pages import LogPages
from task_copilot.events.types import TaskCreated, numbered, payload
from task_copilot.events.websocket import WebSocketEndpoint
from task_copilot.hub import Hub
from task_copilot.location import Location
from task_copilot.settings import Settings
from task_copilot.streams import StreamChange
from task_copilot.task_updates import TaskChange, update_task
from task_copilot.workspaces import Scope
from validation import valid_frame, validated

LIMIT_SECONDS = 10.0
"""How long anything here may take before a test gives up."""

LOOK_SECONDS = 0.005
"""Between two looks at what nobody tells of: to look without a pause would take the processor from
what is waited for, and from the other tests."""

MIB = 1024 * 1024
COMMITTED = "2026-01-08T12:00:00.000Z"
NO_CODE = 1006
"""What RFC 6455 calls a connection that ended without a close frame."""


# --- a hub in the test's own event loop ---


@dataclass
class Running:
    """A hub with its database; `do` methods write as the tools do."""

    database: Database[LogRow]
    bus: Bus
    hub: Hub
    scope: Scope
    http: httpx2.AsyncClient
    failing_reads: list[Exception] = field(default_factory=list)
    trust: ssl.SSLContext | None = None
    """What trusts its certificate, where it has one."""

    @property
    def port(self) -> int:
        assert self.hub.port is not None
        return self.hub.port

    async def create(self, stream: str | None = None, title: str = "a task") -> int:
        change = None if stream is None else StreamChange(stream_id=stream)
        new = tasks.NewTask(title=title, stream=change)
        saved = await self.database.write(lambda t: tasks.create(t, self.scope, new))
        return saved.id

    async def create_many(self, count: int, stream: str | None = None) -> None:
        await asyncio.gather(*(self.create(stream) for _ in range(count)))

    async def update_with_long_texts(self, task: int, times: int) -> None:
        """Each is one event of some 16 KB."""

        async def update(number: int) -> None:
            text = f"{number:06}" + "x" * 2030
            change = TaskChange(notes=text, description=text, metadata={"a": text})
            await self.database.write(lambda t: update_task(t, self.scope, task, change))

        await asyncio.gather(*(update(number) for number in range(times)))

    async def health(self) -> dict[str, Any]:
        answer = await self.http.get("/health")
        found: dict[str, Any] = validated("GET", "/health", answer.status_code, answer.json())
        return found

    async def clients_are(self, count: int) -> None:
        async with asyncio.timeout(LIMIT_SECONDS):
            while (await self.health())["clients"] != count:  # noqa: ASYNC110 - nobody tells of it
                await asyncio.sleep(LOOK_SECONDS)

    def transports(self) -> list[asyncio.Transport]:
        assert self.hub._server is not None
        return [connection.transport for connection in self.hub._server.server_state.connections]


@contextlib.asynccontextmanager
async def running(
    place: Path | str, *, trust: ssl.SSLContext | None = None, **changes: Any
) -> AsyncIterator[Running]:
    settings = Settings(
        **{
            "database_url": place if isinstance(place, str) else f"sqlite:///{place / 'tasks.db'}",
            "port": 0,
            "durability": "normal",
            # Tests ask again and again until something is so.
            "max_request_rate": 1_000_000,
            "max_message_rate": 1_000,
            **changes,
        }
    )
    database = await asyncio.to_thread(open_blocking, settings, system_clock)
    failing_reads: list[Exception] = []

    class SometimesFailing(LogPages):
        async def after(self, position: int) -> LogPage:
            if failing_reads:
                raise failing_reads.pop()
            return await super().after(position)

    bus = Bus(await database.read(log.state), SometimesFailing(database))
    database.start(bus.publish)
    hub = Hub(settings, bus, system_clock, database)
    assert await hub.start()
    workspace = await database.write(lambda t: workspaces.ensure(t, Location("here", None)))
    known: Any = trust or False  # without TLS there is nothing to know
    async with httpx2.AsyncClient(base_url=hub.address, trust_env=False, verify=known) as http:
        try:
            scope = Scope(workspace, "me")
            yield Running(database, bus, hub, scope, http, failing_reads, trust)
        finally:
            await hub.stop()
            await bus.close()
            await database.close()


Start = Callable[..., Awaitable[Running]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Starts a hub with the given settings; it ends with the test."""
    async with contextlib.AsyncExitStack() as stack:

        async def begin(**changes: Any) -> Running:
            return await stack.enter_async_context(running(tmp_path, **changes))

        yield begin


# --- clients ---


class Client:
    """A listener with a real WebSocket library; it answers the protocol's pings."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    @classmethod
    @contextlib.asynccontextmanager
    async def to(cls, hub: Running, *topics: str) -> AsyncIterator[Self]:
        """A client, subscribed already if topics are given."""
        opening = connect(
            f"{hub.hub.address.replace('http', 'ws', 1)}/ws",
            ssl=hub.trust,
            proxy=None,
            compression=None,
            ping_interval=None,
            close_timeout=1,
            max_size=None,
        )
        async with opening as connection:
            client = cls(connection)
            if topics:
                await client.subscribe(*topics)
            yield client

    async def send(self, message: Any) -> None:
        is_raw = isinstance(message, str | bytes)
        await self.connection.send(message if is_raw else json.dumps(message))

    async def receive(self) -> dict[str, Any]:
        text = await asyncio.wait_for(self.connection.recv(), LIMIT_SECONDS)
        assert isinstance(text, str)
        return valid_frame(json.loads(text))

    async def ask(self, kind: str, **payload: Any) -> dict[str, Any]:
        await self.send({"type": kind, "id": "q", "payload": payload})
        answer = await self.receive()
        assert answer.get("id") == "q", answer
        return answer

    async def subscribe(self, *topics: str) -> dict[str, Any]:
        answer = await self.ask("subscribe", topics=list(topics))
        assert answer["type"] == "subscribed", answer
        found: dict[str, Any] = answer["payload"]
        return found

    async def events(self, count: int) -> list[dict[str, Any]]:
        """The next `count` messages, which have to be events."""
        found = []
        for _ in range(count):
            message = await self.receive()
            assert message["type"] == "event", message
            assert message["timestamp"] == message["payload"]["timestamp"]
            found.append(message["payload"])
        return found

    async def seqs(self, count: int) -> list[int]:
        return [event["seq"] for event in await self.events(count)]

    async def closed(self) -> int:
        """The code with which the server closes; whatever it sends until then is read."""
        while True:
            try:
                valid_frame(
                    json.loads(await asyncio.wait_for(self.connection.recv(), LIMIT_SECONDS))
                )
            except ConnectionClosed as closed:
                return NO_CODE if closed.rcvd is None else closed.rcvd.code


class RawClient:
    """A listener that does only what it is told to; it never answers by itself."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    @contextlib.asynccontextmanager
    async def to(cls, hub: Running, *, takes: int | None = None) -> AsyncIterator[Self]:
        """A raw client; `takes` is the size of its receive buffer, else what the system gives."""
        sock = socket.socket()
        sock.setblocking(False)
        if takes is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, takes)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", hub.port))
        reader, writer = await asyncio.open_connection(sock=sock)
        try:
            writer.write(
                f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{hub.port}\r\nUpgrade: websocket\r\n"
                "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
            )
            answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), LIMIT_SECONDS)
            assert b" 101 " in answer
            yield cls(reader, writer)
        finally:
            writer.transport.abort()

    def send(self, *messages: Any) -> None:
        """Sends messages in one piece, as text frames."""
        frames = [Frame(Opcode.TEXT, json.dumps(message).encode()) for message in messages]
        self.send_frames(*frames)

    def send_frames(self, *frames: Frame) -> None:
        self.writer.write(b"".join(frame.serialize(mask=True) for frame in frames))

    async def frame(self) -> tuple[int, bytes]:
        """The next frame: its opcode and content."""
        async with asyncio.timeout(LIMIT_SECONDS):
            first, length = await self.reader.readexactly(2)
            if length == 126:
                [length] = struct.unpack("!H", await self.reader.readexactly(2))
            elif length == 127:
                [length] = struct.unpack("!Q", await self.reader.readexactly(8))
            return first & 15, await self.reader.readexactly(length)

    async def message(self) -> dict[str, Any]:
        """The next text frame; the protocol's pings are passed over unanswered."""
        while True:
            opcode, content = await self.frame()
            if opcode == Opcode.TEXT:
                return valid_frame(json.loads(content))
            assert opcode == Opcode.PING, (opcode, content)

    async def closed(self) -> int:
        """The code with which the server closes."""
        while True:
            opcode, content = await self.frame()
            if opcode == Opcode.CLOSE:
                return int.from_bytes(content[:2], "big")

    def reset(self) -> None:
        """Ends the connection with a TCP reset."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


def seq_range(after: int, to: int) -> list[int]:
    return list(range(after + 1, to + 1))


# --- subscribing and receiving ---


async def test_a_listener_gets_an_event_as_soon_as_the_change_is_written(start: Start) -> None:
    hub = await start()
    async with Client.to(hub) as client:
        answer = await client.subscribe("stream:Stream-A", "task:*")
        health = await hub.health()
        assert answer == {
            "topics": ["stream:Stream-A", "task:*"],
            "activeSubscriptions": 2,
            "epoch": health["epoch"],
            "seq": health["seq"],
        }
        number = await hub.create("Stream-A", title="Implement \u00e4 \U0001f600")
        created, progress = await client.events(2)
    assert created["topic"] == f"task:TASK-{number}"
    assert created["eventType"] == "task.created"
    assert created["workspace"] == "here"
    assert created["actor"] == "me"
    assert created["data"]["taskTitle"] == "Implement \u00e4 \U0001f600"
    assert progress["topic"] == "stream:Stream-A"
    assert progress["eventType"] == "stream.progress"
    assert progress["data"]["totalTasks"] == 1
    assert [created["seq"], progress["seq"]] == seq_range(answer["seq"], answer["seq"] + 2)


async def test_all_listeners_of_a_stream_get_everything_in_order(start: Start) -> None:
    hub = await start()
    async with contextlib.AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(Client.to(hub, "stream:S", "task:*")) for _ in range(8)
        ]
        await hub.create_many(150, "S")
        received = await asyncio.gather(*(client.events(300) for client in clients))
    assert [event["seq"] for event in received[0]] == seq_range(0, 300)
    assert all(other == received[0] for other in received)
    totals = [event["data"]["totalTasks"] for event in received[0] if "stream:" in event["topic"]]
    assert totals == seq_range(0, 150)


async def test_a_listener_of_other_topics_gets_nothing(start: Start) -> None:
    hub = await start()
    async with Client.to(hub, "stream:Other", "task:TASK-99", "checkpoint:*") as client:
        await hub.create_many(50, "Stream-A")
        await hub.create("Other")
        [event] = await client.events(1)
        assert event["topic"] == "stream:Other"
        assert (await client.ask("ping"))["type"] == "pong"


async def test_the_server_says_nothing_before_it_is_asked(start: Start) -> None:
    hub = await start()
    async with Client.to(hub) as client:
        await hub.create_many(5, "Stream-A")
        await hub.health()
        assert (await client.ask("ping"))["type"] == "pong"
        await hub.create_many(5, "Stream-A")
        assert (await client.ask("ping"))["type"] == "pong"
        assert (await client.subscribe("*"))["seq"] == 20


async def test_after_an_unsubscribe_nothing_comes_until_the_next_subscribe(start: Start) -> None:
    hub = await start()
    async with Client.to(hub, "task:*") as client:
        answer = await client.ask("unsubscribe", topics=["task:*"])
        assert answer["type"] == "unsubscribed"
        assert answer["payload"] == {"topics": ["task:*"], "activeSubscriptions": 0}
        await hub.create_many(5)
        assert (await client.subscribe("task:*"))["seq"] == 5
        await hub.create()
        assert await client.seqs(1) == [6]


async def test_an_event_comes_once_however_many_patterns_select_it(start: Start) -> None:
    hub = await start()
    async with Client.to(hub, "*", "task:*", "t*", "task:TASK-*", "task:TASK-1") as client:
        await hub.create()
        await hub.create()
        assert await client.seqs(2) == [1, 2]


async def test_who_subscribes_during_a_burst_gets_every_event_after_seq_exactly_once(
    start: Start,
) -> None:
    hub = await start()
    total = 600

    async def join(after: int) -> None:
        async with Client.to(hub, "task:TASK-0") as first:
            async with asyncio.timeout(LIMIT_SECONDS):
                while hub.bus.head < after:
                    await first.ask("ping")
            await first.connection.send(
                json.dumps({"type": "subscribe", "payload": {"topics": ["task:*"]}})
            )
            seqs = []
            while (message := await first.receive())["type"] == "event":
                seqs.append(message["payload"]["seq"])
            at = message["payload"]["seq"]
            seqs += [event["seq"] for event in await first.events(total - max([at, *seqs]))]
            assert [seq for seq in seqs if seq > at] == seq_range(at, total)

    async def write() -> None:
        for _ in range(total // 20):
            await hub.create_many(20)

    await asyncio.gather(write(), *(join(after) for after in (1, 50, 150, 300, 450)))


async def test_a_newcomer_in_a_burst_starts_at_the_seq_that_the_answer_names(start: Start) -> None:
    hub = await start()
    total = 600

    async def join(after: int) -> None:
        async with Client.to(hub) as client:
            async with asyncio.timeout(LIMIT_SECONDS):
                while hub.bus.head < after:
                    await client.ask("ping")
            at = (await client.subscribe("task:*"))["seq"]
            assert at >= after
            assert await client.seqs(total - at) == seq_range(at, total)
            assert (await client.ask("ping"))["type"] == "pong"

    async def write() -> None:
        for _ in range(total // 20):
            await hub.create_many(20)

    await asyncio.gather(write(), *(join(after) for after in (0, 1, 50, 150, 300, 450)))


# --- what is refused ---


async def test_after_each_refusal_the_connection_stays_open(start: Start) -> None:
    hub = await start()
    wrong: list[tuple[Any, str]] = [
        ("no json", "WS_INVALID_MESSAGE"),
        (b"\x00\xff", "WS_INVALID_MESSAGE"),
        (b"", "WS_INVALID_MESSAGE"),
        ("", "WS_INVALID_MESSAGE"),
        ([], "WS_INVALID_MESSAGE"),
        ("[" * 60_000, "WS_INVALID_MESSAGE"),
        ({"type": "subscribe", "payload": {"topics": "*"}}, "WS_INVALID_MESSAGE"),
        ({"type": "hello", "payload": {}}, "WS_UNKNOWN_TYPE"),
        ({"type": "\x00\ud800"}, "WS_UNKNOWN_TYPE"),
        ({"type": "subscribe", "payload": {"topics": []}}, "WS_INVALID_TOPIC"),
        ({"type": "subscribe", "payload": {"topics": ["*", "\ud800"]}}, "WS_INVALID_TOPIC"),
        ({"type": "unsubscribe", "payload": {"topics": ["*"]}}, "WS_NOT_SUBSCRIBED"),
    ]
    async with Client.to(hub, "task:*") as client:
        for message, code in wrong:
            await client.send(message)
            answer = await client.receive()
            assert answer["type"] == "error", message
            assert answer["payload"]["code"] == code, message
        await hub.create()
        assert await client.seqs(1) == [1]


async def test_the_51st_pattern_is_refused_and_the_50_stay(start: Start) -> None:
    hub = await start()
    async with Client.to(hub, *(f"task:TASK-{number}" for number in range(1, 51))) as client:
        answer = await client.ask("subscribe", topics=["stream:*", "task:TASK-1"])
        assert answer["payload"]["code"] == "WS_SUBSCRIPTION_LIMIT"
        await hub.create("Stream-A")
        [event] = await client.events(1)
        assert event["topic"] == "task:TASK-1"
        await client.ask("unsubscribe", topics=["task:TASK-1"])
        assert (await client.subscribe("stream:*"))["activeSubscriptions"] == 50


async def test_a_message_of_64_kib_is_taken_and_a_longer_one_closes_with_1009(
    start: Start,
) -> None:
    hub = await start()
    message = json.dumps({"type": "ping", "id": "big", "payload": {"x": ""}})
    exact = message.replace('"x": ""', f'"x": "{"a" * (65_536 - len(message))}"')
    assert len(exact) == 65_536
    async with Client.to(hub) as client:
        await client.send(exact)
        assert (await client.receive())["id"] == "big"
        await client.send(exact + " ")
        assert await client.closed() == 1009
    await hub.clients_are(0)


async def test_a_message_in_fragments_counts_as_a_whole(start: Start) -> None:
    hub = await start()
    async with RawClient.to(hub) as client:
        client.send_frames(
            Frame(Opcode.TEXT, b'{"type":', fin=False),
            Frame(Opcode.CONT, b'"ping"', fin=False),
            Frame(Opcode.CONT, b"}"),
        )
        assert (await client.message())["type"] == "pong"
        part = b" " * 40_000
        client.send_frames(Frame(Opcode.TEXT, part, fin=False), Frame(Opcode.CONT, part))
        assert await client.closed() == 1009
    await hub.clients_are(0)


async def test_text_that_is_not_utf_8_ends_the_connection_and_no_other(start: Start) -> None:
    hub = await start()
    async with RawClient.to(hub) as client, Client.to(hub, "*") as other:
        client.send_frames(Frame(Opcode.TEXT, b'{"type":"\xff"}'))
        assert await client.closed() == 1007
        await hub.create()
        assert await other.seqs(1) == [1]
        await hub.clients_are(1)


async def test_one_listener_too_many_gets_503_and_the_others_go_on(start: Start) -> None:
    hub = await start(max_listeners=5)
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(Client.to(hub, "*")) for _ in range(5)]
        for _ in range(3):
            with pytest.raises(InvalidStatus) as caught:
                await stack.enter_async_context(Client.to(hub))
            response = caught.value.response
            assert response.status_code == 503
            assert response.headers["Content-Type"].startswith("application/json")
            assert "5" in json.loads(response.body)["error"]
        assert (await hub.health())["clients"] == 5
        await hub.create()
        for client in clients:
            assert await client.seqs(1) == [1]
        await clients[0].connection.close()
        await hub.clients_are(4)
        async with Client.to(hub, "*") as newcomer:
            await hub.create()
            assert await newcomer.seqs(1) == [2]


async def test_100_listeners_are_served_and_the_101st_gets_503(start: Start) -> None:
    hub = await start()
    async with contextlib.AsyncExitStack() as stack:
        opening = (stack.enter_async_context(Client.to(hub, "task:*")) for _ in range(100))
        clients = await asyncio.gather(*opening)
        with pytest.raises(InvalidStatus) as caught:
            await stack.enter_async_context(Client.to(hub))
        assert caught.value.response.status_code == 503
        await hub.create_many(20)
        received = await asyncio.gather(*(client.seqs(20) for client in clients))
        assert received == [seq_range(0, 20)] * 100
        assert (await hub.health())["clients"] == 100
    await hub.clients_are(0)


# --- liveness ---


async def test_a_ping_names_the_seq_up_to_which_the_client_has_everything(start: Start) -> None:
    hub = await start(ping_interval=0.05)
    async with Client.to(hub, "stream:Stream-A") as client:

        async def pings_reach(head: int) -> None:
            received = 0
            while True:
                message = await client.receive()
                if message["type"] == "ping":
                    assert set(message["payload"]) == {"seq"}
                    assert "id" not in message
                    if message["payload"]["seq"] >= head:
                        return
                    assert received <= message["payload"]["seq"]
                else:
                    received = message["payload"]["seq"]

        await pings_reach(0)
        await hub.create_many(10)  # of no interest to this client
        await pings_reach(10)
        await hub.create_many(10, "Stream-A")
        await pings_reach(30)


async def test_to_a_client_that_asked_for_nothing_pings_name_the_head(start: Start) -> None:
    hub = await start(ping_interval=0.05)
    async with Client.to(hub) as client:
        await hub.create_many(3)
        while (message := await client.receive())["payload"]["seq"] < 3:
            assert message["type"] == "ping"
        assert message["payload"] == {"seq": 3}


async def test_an_answer_to_the_protocols_ping_alone_keeps_a_connection_alive(
    start: Start,
) -> None:
    hub = await start(ping_interval=0.1, listener_timeout=0.4)
    async with Client.to(hub) as client:  # the library answers the protocol's pings
        for _ in range(12):
            assert (await client.receive())["type"] == "ping"
        assert (await hub.health())["clients"] == 1


async def test_an_answer_to_the_json_ping_alone_keeps_a_connection_alive(start: Start) -> None:
    hub = await start(ping_interval=0.1, listener_timeout=0.4)
    async with RawClient.to(hub) as client:
        for _ in range(12):
            assert (await client.message())["type"] == "ping"
            client.send({"type": "pong", "payload": {}})
        client.send({"type": "ping", "id": 1})
        while (message := await client.message())["type"] == "ping":
            pass
        assert message["type"] == "pong"


async def test_both_kinds_of_ping_are_sent(start: Start) -> None:
    hub = await start(ping_interval=0.05)
    async with RawClient.to(hub) as client:
        kinds = {(await client.frame())[0] for _ in range(6)}
        assert kinds == {Opcode.TEXT, Opcode.PING}


async def test_a_client_that_answers_nothing_is_disconnected_after_the_timeout(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    hub = await start(ping_interval=0.1, listener_timeout=0.4)
    loop = asyncio.get_running_loop()
    async with RawClient.to(hub) as silent, Client.to(hub) as lively:
        before = loop.time()
        assert await silent.closed() == 1013
        assert 0.35 < loop.time() - before < 2.0
        await hub.clients_are(1)
        assert (await lively.receive())["type"] == "ping"
    assert [entry for entry in caplog.records if entry.levelno >= logging.ERROR] == []


async def test_a_silent_client_in_a_burst_is_disconnected_without_an_error_in_the_log(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    hub = await start(ping_interval=0.1, listener_timeout=0.3)
    await hub.create()
    async with RawClient.to(hub) as silent:
        silent.send({"type": "subscribe", "payload": {"topics": ["*"]}})
        closing = asyncio.create_task(silent.closed())
        while not closing.done():
            await hub.update_with_long_texts(1, 20)
        assert await closing == 1013
    await hub.clients_are(0)
    assert [entry.getMessage() for entry in caplog.records if entry.levelno >= logging.ERROR] == []


# --- listeners that read slowly, or not at all ---


async def test_a_listener_that_does_not_read_disturbs_nobody_and_loses_nothing(
    start: Start,
) -> None:
    hub = await start()
    await hub.create()
    count = 1_500
    process = psutil.Process()
    async with contextlib.AsyncExitStack() as stack:
        slow = [await stack.enter_async_context(Client.to(hub, "*")) for _ in range(3)]
        quick = await stack.enter_async_context(Client.to(hub, "*"))
        before = process.memory_info().rss
        quick_reads = asyncio.create_task(quick.events(count))
        await hub.update_with_long_texts(1, count)
        received = await quick_reads
        assert [event["seq"] for event in received] == seq_range(1, count + 1)
        bytes_sent = sum(len(json.dumps(event)) for event in received)
        assert bytes_sent > 16 * MIB
        assert hub.bus.window.start > 1, "the slow ones have to be served from the log"
        assert process.memory_info().rss - before < 300 * MIB
        for client in slow:
            assert await client.events(count) == received
            assert (await client.ask("ping"))["type"] == "pong"


async def test_a_listener_that_reads_later_gets_everything_and_then_what_comes(
    start: Start,
) -> None:
    hub = await start()
    await hub.create()
    count = 500
    async with Client.to(hub, "*") as slow, Client.to(hub, "*") as quick:
        quick_reads = asyncio.create_task(quick.seqs(count))
        await hub.update_with_long_texts(1, count)
        assert await quick_reads == seq_range(1, count + 1)
        assert await slow.seqs(count) == seq_range(1, count + 1)
        await hub.create()
        assert await slow.seqs(1) == await quick.seqs(1) == [count + 2]


async def test_a_page_of_the_log_is_bounded_in_bytes_too(start: Start) -> None:
    hub = await start()
    await hub.create()
    await hub.update_with_long_texts(1, 100)
    page = await hub.database.read(lambda c: log.rows_after(c, 0))
    assert sum(len(row.payload) for row in page) <= (256 + 32) * 1024
    assert [row.seq for row in page] == seq_range(0, len(page))


async def test_a_listener_far_behind_survives_a_log_that_cannot_be_read_for_a_moment(
    start: Start,
) -> None:
    """It is served later, or told to come back later; it is not cut off without a word."""
    hub = await start()
    await hub.create()
    async with Client.to(hub, "*") as slow, Client.to(hub, "*") as quick:
        quick_reads = asyncio.create_task(quick.events(3_000))
        await hub.update_with_long_texts(1, 3_000)
        await quick_reads
        hub.failing_reads.append(StorageError("the disk is away"))
        received: list[int] = []
        code: int | None = None
        while len(received) < 3_000 and code is None:
            try:
                received += await slow.seqs(1)
            except ConnectionClosed:
                code = await slow.closed()
        assert code in {None, 1012, 1013}, f"closed after {len(received)} events"
        assert not hub.failing_reads, "the listener was not served from the log"
        assert received == seq_range(1, len(received) + 1)


async def test_a_client_that_reads_may_ask_many_things_at_once(start: Start) -> None:
    hub = await start()
    async with RawClient.to(hub) as client:
        client.send(*({"type": "ping", "id": number} for number in range(500)))
        for number in range(500):
            answer = await client.message()
            assert (answer["type"], answer["id"]) == ("pong", number)


async def test_a_client_that_asks_and_never_reads_the_answers_is_cut_off(start: Start) -> None:
    hub = await start()
    async with RawClient.to(hub) as flood, Client.to(hub, "*") as other:
        # Answers carry the long id back, so they fill all buffers in between.
        request = Frame(Opcode.TEXT, json.dumps({"type": "ping", "id": "x" * 200}).encode())
        block = request.serialize(mask=True) * 100

        async def ask_for_ever() -> None:
            while True:
                flood.writer.write(block)
                await flood.writer.drain()

        async with asyncio.timeout(LIMIT_SECONDS):
            asking = asyncio.create_task(ask_for_ever())
            await hub.clients_are(1)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await hub.create()
        assert await other.seqs(1) == [1]


# --- the ends of connections ---


async def test_a_listener_that_is_stuck_with_a_little_unread_does_not_keep_its_socket(
    start: Start,
) -> None:
    """What waits is less than the server may buffer, so it never finds the socket full."""
    hub = await start(ping_interval=0.1, listener_timeout=2.0)
    await hub.create()
    async with RawClient.to(hub, takes=4096) as stuck:
        stuck.writer.transport.pause_reading()  # type: ignore[attr-defined]
        [transport] = hub.transports()
        small = (socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        transport.get_extra_info("socket").setsockopt(*small)
        assert hub.hub._server is not None
        for connection in hub.hub._server.server_state.connections:
            connection.close_timeout = 0.1  # type: ignore[union-attr]
        stuck.send({"type": "subscribe", "payload": {"topics": ["*"]}})
        for _ in range(100):
            if transport.get_write_buffer_size() > 30_000:
                break
            await hub.update_with_long_texts(1, 1)
            await hub.health()  # meanwhile the kernel takes what it can
        assert 30_000 < transport.get_write_buffer_size() < 64 * 1024
        await hub.clients_are(0)
        async with asyncio.timeout(3.0):
            while transport in hub.transports():  # noqa: ASYNC110 - nobody tells of it
                await asyncio.sleep(LOOK_SECONDS)


@pytest.mark.parametrize("subscribed", [False, True])
async def test_a_client_that_vanishes_leaves_nothing_behind(
    start: Start, subscribed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    hub = await start()
    await hub.create()
    await hub.health()
    tasks_before = len(asyncio.all_tasks())
    wakers_before = len(hub.bus._wakers)
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(RawClient.to(hub)) for _ in range(10)]
        if subscribed:
            for client in clients:
                client.send({"type": "subscribe", "payload": {"topics": ["*"]}})
                assert (await client.message())["type"] == "subscribed"
            # More than the sockets take, so that the server is in the middle of sending.
            await hub.update_with_long_texts(1, 400)
        assert (await hub.health())["clients"] == 10
        for client in clients:
            client.reset()
        await hub.clients_are(0)
        async with asyncio.timeout(LIMIT_SECONDS):
            while len(asyncio.all_tasks()) > tasks_before:
                await hub.health()
    assert len(hub.bus._wakers) == wakers_before
    assert len(hub.transports()) <= 1  # that of the HTTP client
    await hub.create()
    assert [entry.getMessage() for entry in caplog.records if entry.levelno >= logging.ERROR] == []


async def test_a_client_that_closes_in_order_is_answered_and_forgotten(start: Start) -> None:
    hub = await start()
    async with Client.to(hub, "*") as client:
        await client.connection.close(1000)
        assert client.connection.close_code == 1000
    await hub.clients_are(0)


async def test_a_hub_that_stops_closes_every_listener_with_1012(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    hub = await start()
    loop = asyncio.get_running_loop()
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(Client.to(hub, "*")) for _ in range(20)]
        idle = await stack.enter_async_context(Client.to(hub))
        await hub.create_many(10)
        before = loop.time()
        await hub.hub.stop()
        assert loop.time() - before < 0.4
        for client in clients:
            assert await client.seqs(10) == seq_range(0, 10)
            assert await client.closed() == 1012
        assert await idle.closed() == 1012
    assert is_free(hub.port)
    assert [entry.getMessage() for entry in caplog.records if entry.levelno >= logging.ERROR] == []


async def test_a_hub_stops_in_time_and_quietly_also_when_a_listener_does_not_read(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    hub = await start()
    loop = asyncio.get_running_loop()
    await hub.create()
    async with RawClient.to(hub) as stuck, Client.to(hub) as other:
        stuck.send({"type": "subscribe", "payload": {"topics": ["*"]}})
        await hub.update_with_long_texts(1, 800)
        before = loop.time()
        await hub.hub.stop()
        assert loop.time() - before < 0.4
        assert await other.closed() == 1012
    assert [entry.getMessage() for entry in caplog.records if entry.levelno >= logging.ERROR] == []


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED


async def test_a_hub_that_is_stopped_twice_ends_quietly_and_its_port_serves_the_next(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    hub = await start()
    async with Client.to(hub, "*") as client:
        await hub.hub.stop()
        await hub.hub.stop()
        assert await client.closed() == 1012
    assert is_free(hub.port)
    hub.hub = Hub(Settings(port=hub.port), hub.bus, system_clock, hub.database)
    assert await hub.hub.start()
    async with Client.to(hub, "*") as client:
        await hub.create()
        assert await client.seqs(1) == [1]
    await hub.hub.stop()
    assert is_free(hub.port)
    assert [entry.getMessage() for entry in caplog.records if entry.levelno >= logging.ERROR] == []


async def test_a_hub_that_is_stopped_just_after_its_start_lets_go_of_the_port(
    start: Start,
) -> None:
    running_hub = await start()
    hub = Hub(Settings(port=0), running_hub.bus, system_clock, running_hub.database)
    assert await hub.start()
    assert hub.port is not None
    await hub.stop()
    let_go = is_free(hub.port)
    del hub
    gc.collect()  # a socket that was forgotten is found here and not in some later test
    assert let_go


async def test_small_frames_are_not_held_back_on_any_accepted_socket(start: Start) -> None:
    hub = await start()
    async with Client.to(hub), Client.to(hub):
        await hub.health()
        transports = hub.transports()
        assert len(transports) == 3
        for transport in transports:
            sock = transport.get_extra_info("socket")
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0


# --- requests that are not finished ---


@pytest.mark.parametrize(
    "beginning",
    [
        b"",
        b"G",
        b"GET /health HTTP/1.1\r\nHost:",
        b"GET /ws HTTP/1.1\r\nUpgrade: websocket\r\n",
        b"POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n",
    ],
    ids=ascii,
)
async def test_a_request_that_is_not_finished_in_time_is_closed(
    start: Start, monkeypatch: pytest.MonkeyPatch, beginning: bytes
) -> None:
    monkeypatch.setattr(protocols, "REQUEST_SECONDS", 0.2)
    hub = await start()
    async with Client.to(hub, "*") as listener:
        reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
        writer.write(beginning)
        assert await asyncio.wait_for(reader.read(), LIMIT_SECONDS) == b""
        writer.close()
        await hub.create()
        assert await listener.seqs(1) == [1], "a listener is not an unfinished request"


async def test_a_second_request_that_is_not_finished_in_time_is_closed_too(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocols, "REQUEST_SECONDS", 0.2)
    hub = await start()
    reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
    writer.write(f"GET /health HTTP/1.1\r\nHost: 127.0.0.1:{hub.port}\r\n\r\nGET /hea".encode())
    answer = await asyncio.wait_for(reader.readuntil(b"}"), LIMIT_SECONDS)
    assert answer.startswith(b"HTTP/1.1 200 ")
    try:
        assert await asyncio.wait_for(reader.read(), 2.0) == b""
    finally:
        writer.close()


# --- a server that offers plain ASGI only ---


class AsgiClient:
    """A WebSocket as any ASGI server would offer it, without our extension."""

    def __init__(self, endpoint: WebSocketEndpoint) -> None:
        self._to_app: asyncio.Queue[Message] = asyncio.Queue()
        self._from_app: asyncio.Queue[Message] = asyncio.Queue()
        self.may_send = asyncio.Event()
        self.may_send.set()
        self.closed_with: int | None = None
        scope = {"type": "websocket", "path": "/ws", "headers": [], "extensions": {}}
        self._to_app.put_nowait({"type": "websocket.connect"})
        self.task = asyncio.create_task(self._run(endpoint, scope))

    async def _run(self, endpoint: WebSocketEndpoint, scope: dict[str, Any]) -> None:
        await endpoint(scope, self._to_app.get, self._send)

    async def _send(self, message: Message) -> None:
        if self.closed_with is not None:
            raise RuntimeError(f"{message['type']} after the close")  # as servers do
        if message["type"] == "websocket.close":
            self.closed_with = message["code"]
        else:
            await self.may_send.wait()
        self._from_app.put_nowait(message)

    async def __aenter__(self) -> Self:
        assert await self.next() == {"type": "websocket.accept"}
        return self

    async def __aexit__(self, *_: object) -> None:
        self.may_send.set()
        self._to_app.put_nowait({"type": "websocket.disconnect", "code": 1000})
        await asyncio.wait_for(self.task, LIMIT_SECONDS)

    async def next(self) -> Message:
        return await asyncio.wait_for(self._from_app.get(), LIMIT_SECONDS)

    def send(self, message: Any) -> None:
        self._to_app.put_nowait({"type": "websocket.receive", "text": json.dumps(message)})

    def send_bytes(self, content: bytes) -> None:
        self._to_app.put_nowait({"type": "websocket.receive", "bytes": content, "text": None})

    async def receive(self) -> dict[str, Any]:
        message = await self.next()
        assert message["type"] == "websocket.send", message
        return valid_frame(json.loads(message["text"]))

    async def subscribe(self, *topics: str) -> dict[str, Any]:
        self.send({"type": "subscribe", "id": "s", "payload": {"topics": list(topics)}})
        answer = await self.receive()
        assert (answer["type"], answer["id"]) == ("subscribed", "s")
        found: dict[str, Any] = answer["payload"]
        return found


class MemoryLog(MemoryPages):
    """A log in memory and the bus that follows it."""

    def __init__(self) -> None:
        super().__init__(row=self.task_created)
        self.bus = Bus(self.state, self)
        self.listeners = Listeners(100)

    def task_created(self, seq: int) -> LogRow:
        task = f"TASK-{seq}"
        told = TaskCreated(
            workspace="here",
            task_id=task,
            task_title="a task",
            parent_id=None,
            stream_id=None,
            assigned_agent=None,
            old_status=None,
            new_status="pending",
            blocked_reason=None,
            created_at=COMMITTED,
        )
        stored = payload(told, actor="me", timestamp=COMMITTED)
        return LogRow(seq, told.topic, told.event_type, COMMITTED, numbered(seq, stored))

    def commit(self, count: int = 1) -> list[LogRow]:
        new = super().commit(count)
        self.bus.publish(new)
        return new

    def endpoint(self, *, max_listeners: int = 100, **changes: Any) -> WebSocketEndpoint:
        self.listeners = Listeners(max_listeners)
        limits: dict[str, Any] = {
            "max_patterns": 50,
            "ping_interval": 30.0,
            "listener_timeout": 60.0,
            "max_message_rate": 20,
            **changes,
        }
        return WebSocketEndpoint(self.bus, self.listeners, WebSocketLimits(**limits), system_clock)


async def test_plain_asgi_subscribes_and_brings_events_in_order() -> None:
    memory = MemoryLog()
    endpoint = memory.endpoint()
    async with AsgiClient(endpoint) as client, AsgiClient(endpoint) as other:
        assert memory.listeners.count == 2
        assert (await client.subscribe("task:*"))["epoch"] == "epoch-1"
        await other.subscribe("task:TASK-30", "stream:*")
        memory.commit(20)
        memory.commit(20)
        assert [(await client.receive())["payload"]["seq"] for _ in range(40)] == seq_range(0, 40)
        assert (await other.receive())["payload"]["seq"] == 30
        client.send({"type": "ping", "id": 3})
        assert await client.receive() | {"timestamp": ""} == {
            "type": "pong",
            "id": 3,
            "timestamp": "",
            "payload": {},
        }
    assert memory.listeners.count == 0


async def test_plain_asgi_answers_what_is_wrong_and_goes_on() -> None:
    memory = MemoryLog()
    async with AsgiClient(memory.endpoint()) as client:
        client.send_bytes(b"\x00")
        assert (await client.receive())["payload"]["code"] == "WS_INVALID_MESSAGE"
        client.send({"type": "subscribe", "payload": {"topics": ["nonsense"]}})
        assert (await client.receive())["payload"]["code"] == "WS_INVALID_TOPIC"
        await client.subscribe("*")
        memory.commit()
        assert (await client.receive())["payload"]["seq"] == 1


async def test_plain_asgi_pings_and_a_json_pong_keeps_the_connection() -> None:
    memory = MemoryLog()
    memory.commit(4)
    endpoint = memory.endpoint(ping_interval=0.05, listener_timeout=0.2)
    async with AsgiClient(endpoint) as client:
        for _ in range(10):
            ping = await client.receive()
            assert (ping["type"], ping["payload"]) == ("ping", {"seq": 4})
            client.send({"type": "pong"})
        assert memory.listeners.count == 1


async def test_plain_asgi_disconnects_who_answers_nothing() -> None:
    memory = MemoryLog()
    endpoint = memory.endpoint(ping_interval=0.05, listener_timeout=0.2)
    async with AsgiClient(endpoint) as client:
        await asyncio.wait_for(client.task, LIMIT_SECONDS)
        assert client.closed_with == 1013
    assert memory.listeners.count == 0


async def test_plain_asgi_refuses_one_listener_too_many() -> None:
    memory = MemoryLog()
    endpoint = memory.endpoint(max_listeners=1)
    async with AsgiClient(endpoint):
        second = AsgiClient(endpoint)
        answer = await second.next()
        assert (answer["type"], answer["status"]) == ("websocket.http.response.start", 503)
        body = await second.next()
        assert json.loads(body["body"])["error"]
        await asyncio.wait_for(second.task, LIMIT_SECONDS)
        assert memory.listeners.count == 1


async def test_plain_asgi_catches_up_when_the_socket_takes_data_again() -> None:
    memory = MemoryLog()
    async with AsgiClient(memory.endpoint()) as client:
        await client.subscribe("*")
        client.may_send.clear()
        for _ in range(30):
            memory.commit(100)
            await asyncio.sleep(0)
        client.may_send.set()
        seqs = [(await client.receive())["payload"]["seq"] for _ in range(3_000)]
        assert seqs == seq_range(0, 3_000)


async def test_too_many_unread_answers_are_closed_with_1013(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "UNREAD_SECONDS", 0.2)
    memory = MemoryLog()
    endpoint = memory.endpoint(max_message_rate=1_000)
    async with AsgiClient(endpoint) as client:
        client.may_send.clear()
        for number in range(1_000):
            client.send({"type": "ping", "id": number})
        await asyncio.wait_for(client.task, LIMIT_SECONDS)
        assert client.closed_with == 1013
    assert memory.listeners.count == 0
    assert [entry.getMessage() for entry in caplog.records if entry.levelno >= logging.ERROR] == []


async def test_a_close_in_the_middle_of_a_burst_leaves_no_error_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    memory = MemoryLog()
    memory.commit(100)
    endpoint = memory.endpoint(ping_interval=0.05, listener_timeout=0.1)
    async with AsgiClient(endpoint) as client:
        await client.subscribe("*")
        async with asyncio.timeout(LIMIT_SECONDS):
            while not client.task.done():
                memory.commit(10)
                await asyncio.sleep(0)
        assert client.closed_with == 1013
    assert [entry.getMessage() for entry in caplog.records if entry.levelno >= logging.ERROR] == []


async def test_a_server_that_reports_a_lost_connection_while_sending_leaves_no_error_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    memory = MemoryLog()
    endpoint = memory.endpoint()
    sent: list[Message] = []

    async def send(message: Message) -> None:
        if message["type"] == "websocket.send":
            raise ConnectionResetError("gone")
        sent.append(message)

    requests = iter([{"type": "websocket.connect"}, {"type": "websocket.receive", "text": "{}"}])
    silent = asyncio.Event()

    async def receive() -> Message:
        for message in requests:
            return message
        await silent.wait()
        raise AssertionError

    serving = endpoint({"type": "websocket", "extensions": {}}, receive, send)
    await asyncio.wait_for(serving, LIMIT_SECONDS)
    assert memory.listeners.count == 0
    assert [entry.getMessage() for entry in caplog.records if entry.levelno >= logging.ERROR] == []
