"""HTTP and events over TLS, on real sockets."""

import asyncio
import contextlib
import json
import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from certificates import self_signed
from integration.test_websocket import LIMIT_SECONDS, MIB, Running, running
from task_copilot import entrance, protocols


@dataclass
class Encrypted:
    """A hub that serves with TLS, and what trusts it."""

    hub: Running
    trust: ssl.SSLContext

    @contextlib.asynccontextmanager
    async def listener(self, **payload: Any) -> AsyncIterator[ClientConnection]:
        async with connect(
            f"wss://127.0.0.1:{self.hub.port}/ws",
            ssl=self.trust,
            proxy=None,
            compression=None,
            max_size=None,
            close_timeout=1,
        ) as connection:
            await connection.send(json.dumps({"type": "subscribe", "payload": payload}))
            assert (await frame(connection))["type"] == "subscribed"
            yield connection

    @contextlib.asynccontextmanager
    async def opened(
        self, **given: Any
    ) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """A connection that has agreed on TLS."""
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.hub.port, ssl=self.trust, **given
        )
        try:
            yield reader, writer
        finally:
            writer.transport.abort()

    @contextlib.asynccontextmanager
    async def plain(self, data: bytes) -> AsyncIterator[asyncio.StreamReader]:
        """A connection that has only sent these bytes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.hub.port)
        writer.write(data)
        try:
            yield reader
        finally:
            writer.transport.abort()

    async def health(self) -> int:
        async with self.opened() as (reader, writer):
            writer.write(self.request())
            answer = await asyncio.wait_for(reader.readuntil(b"\r\n"), LIMIT_SECONDS)
            return int(answer.split()[1])

    def request(self) -> bytes:
        return f"GET /health HTTP/1.1\r\nHost: 127.0.0.1:{self.hub.port}\r\n\r\n".encode()


async def frame(connection: ClientConnection) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(await asyncio.wait_for(connection.recv(), LIMIT_SECONDS))
    return found


async def seqs(connection: ClientConnection, count: int) -> list[int]:
    found: list[int] = []
    while len(found) < count:
        message = await frame(connection)
        if message["type"] == "event":
            found.append(message["payload"]["seq"])
    return found


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return self_signed(tmp_path_factory.mktemp("tls"))


@contextlib.asynccontextmanager
async def encrypted(
    folder: Path, files: tuple[Path, Path], **settings: Any
) -> AsyncIterator[Encrypted]:
    certificate, key = map(str, files)
    trust = ssl.create_default_context(cafile=certificate)
    async with running(folder, tls_certificate=certificate, tls_key=key, **settings) as hub:
        yield Encrypted(hub, trust)


@pytest.fixture
async def server(tmp_path: Path, files: tuple[Path, Path]) -> AsyncIterator[Encrypted]:
    async with encrypted(tmp_path, files) as found:
        yield found


async def test_requests_are_answered_also_several_of_a_connection(server: Encrypted) -> None:
    async with server.opened() as (reader, writer):
        for _ in range(3):
            writer.write(server.request())
            answer = await asyncio.wait_for(reader.readuntil(b"}"), LIMIT_SECONDS)
            assert answer.startswith(b"HTTP/1.1 200 ")


async def test_a_request_that_comes_with_the_end_of_the_handshake_is_not_lost(
    server: Encrypted,
) -> None:
    """The client's last flight and its request, in one piece."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = server.trust.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    reader, writer = await asyncio.open_connection("127.0.0.1", server.hub.port)
    while True:
        try:
            client.do_handshake()
            break
        except ssl.SSLWantReadError:
            writer.write(outgoing.read())
            incoming.write(await asyncio.wait_for(reader.read(65_536), LIMIT_SECONDS))
    client.write(server.request())
    writer.write(outgoing.read())
    content = b""
    while b"task-copilot" not in content:
        try:
            content += client.read(65_536)
        except ssl.SSLWantReadError:
            incoming.write(await asyncio.wait_for(reader.read(65_536), LIMIT_SECONDS))
    assert content.startswith(b"HTTP/1.1 200 ")
    writer.transport.abort()


async def test_a_listener_gets_the_log_and_live_events_in_order(server: Encrypted) -> None:
    await server.hub.create_many(50)
    async with server.listener(topics=["*"], since=0) as connection:
        assert await seqs(connection, 50) == list(range(1, 51))
        await server.hub.create_many(50)
        assert await seqs(connection, 50) == list(range(51, 101))


async def test_a_listener_that_does_not_read_is_bounded_in_memory_and_disturbs_nobody(
    server: Encrypted,
) -> None:
    hub = server.hub
    await hub.create()
    async with (
        server.listener(topics=["*"]) as other,
        server.opened(limit=1024) as (reader, writer),
    ):
        sock: socket.socket = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        writer.write(
            f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{hub.port}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
        )
        assert b" 101 " in await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), LIMIT_SECONDS)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        text = json.dumps({"type": "subscribe", "payload": {"topics": ["*"], "since": 0}}).encode()
        writer.write(b"\x81" + bytes([0x80 | len(text)]) + bytes(4) + text)
        largest, head = 0, 1
        for _ in range(20):
            await hub.update_with_long_texts(1, 25)
            before, head = head, hub.bus.head
            assert await seqs(other, head - before) == list(range(before + 1, head + 1))
            sizes = [transport.get_write_buffer_size() for transport in hub.transports()]
            largest = max(largest, *sizes)
        assert head * 16_000 > 7 * MIB
        assert 16_000 < largest < 256 * 1024


async def test_a_hub_that_stops_closes_with_1012_and_ends_tls_in_order(server: Encrypted) -> None:
    async with server.listener(topics=["*"]) as connection:
        await server.hub.hub.stop()
        with pytest.raises(ConnectionClosed) as closed:
            await asyncio.wait_for(connection.recv(), LIMIT_SECONDS)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012


async def test_a_hub_stops_in_time_and_quietly_while_connections_agree_on_tls(
    server: Encrypted, caplog: pytest.LogCaptureFixture
) -> None:
    async with server.plain(b""), server.plain(b"\x16\x03\x01\x02"):
        assert await server.health() == 200
        async with asyncio.timeout(1.0):
            await server.hub.hub.stop()
    assert caplog.records == []


@pytest.mark.parametrize("beginning", [b"", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc"], ids=ascii)
async def test_a_connection_that_does_not_agree_on_tls_in_time_is_closed(
    tmp_path: Path,
    files: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    beginning: bytes,
) -> None:
    monkeypatch.setattr(entrance, "REQUEST_SECONDS", 0.2)
    async with encrypted(tmp_path, files) as server, server.plain(beginning) as reader:
        assert await asyncio.wait_for(reader.read(), LIMIT_SECONDS) == b""


async def test_a_connection_that_agrees_on_tls_and_asks_for_nothing_is_closed(
    server: Encrypted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocols, "REQUEST_SECONDS", 0.2)
    async with server.opened() as (reader, _writer):
        assert await asyncio.wait_for(reader.read(), LIMIT_SECONDS) == b""


async def test_plain_http_on_the_port_of_tls_is_cut_off_without_a_word_in_the_log(
    server: Encrypted, caplog: pytest.LogCaptureFixture
) -> None:
    async with server.plain(server.request()) as reader:
        with contextlib.suppress(ConnectionError):
            assert b"HTTP" not in await asyncio.wait_for(reader.read(), LIMIT_SECONDS)
    assert await server.health() == 200
    assert caplog.records == []


async def test_many_who_do_not_agree_on_tls_do_not_keep_others_out(server: Encrypted) -> None:
    async with server.listener(topics=["*"]) as listener, contextlib.AsyncExitStack() as stack:
        for number in range(400):
            beginning = (b"", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc")[number % 2]
            await stack.enter_async_context(server.plain(beginning))
        assert await server.health() == 200
        assert len(server.hub.transports()) < 350
        await server.hub.create()
        assert await seqs(listener, 1) == [1]


async def test_a_refusal_without_reading_arrives_over_tls_too(server: Encrypted) -> None:
    async with server.opened() as (reader, writer):
        writer.write(
            f"POST /api/x HTTP/1.1\r\nHost: 127.0.0.1:{server.hub.port}\r\n"
            "Content-Length: 3000000\r\n\r\n".encode()
        )
        for _ in range(30):
            writer.write(b" " * 100_000)
            await writer.drain()
        answer = await asyncio.wait_for(reader.readuntil(b"\r\n"), LIMIT_SECONDS)
        assert answer.startswith(b"HTTP/1.1 413 ")


async def test_a_listener_that_leaves_soon_leaves_no_error_behind(
    server: Encrypted, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(protocols, "REQUEST_SECONDS", 0.1)
    async with server.listener(topics=["*"]):
        pass
    deadline = asyncio.get_running_loop().time() + 0.3
    while asyncio.get_running_loop().time() < deadline:
        assert await server.health() == 200
    assert caplog.records == []
