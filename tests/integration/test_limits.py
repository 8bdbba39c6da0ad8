"""Limits of what may be sent, on real sockets: each is answered, and disturbs nobody else."""

import asyncio
import contextlib
import json
import resource
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from websockets.frames import Frame, Opcode

from integration.test_websocket import LIMIT_SECONDS, MIB, Client, RawClient, Running, running
from task_copilot import protocols
from task_copilot.access import bodies, rates
from task_copilot.events import connection


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Running]:
    """A hub with the limits that it has by itself."""
    async with running(tmp_path, max_request_rate=100, max_message_rate=20) as found:
        yield found


@contextlib.asynccontextmanager
async def opened(hub: Running, data: bytes = b"") -> AsyncIterator["Plain"]:
    reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
    writer.write(data)
    try:
        yield Plain(reader, writer)
    finally:
        writer.transport.abort()


class Plain:
    """A connection that sends what it is told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def answer(self) -> tuple[int, dict[str, str], Any]:
        """Status, headers and content of the next answer."""
        async with asyncio.timeout(LIMIT_SECONDS):
            first, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in lines if line)
            body = await self.reader.readexactly(int(headers["content-length"]))
        return int(first.split()[1]), headers, json.loads(body)

    async def send_for_ever(self) -> None:
        while True:
            self.writer.write(b" ")
            await self.writer.drain()
            await asyncio.sleep(0)

    async def ends(self) -> None:
        """The server closes, in order."""
        assert await asyncio.wait_for(self.reader.read(), LIMIT_SECONDS) == b""


def request(hub: Running, method: str, path: str, *headers: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{hub.port}", *headers, "", ""]
    return "\r\n".join(lines).encode()


def post(hub: Running, path: str, *headers: str) -> bytes:
    return request(hub, "POST", path, "Content-Type: application/json", *headers)


CHECKPOINT = "/api/streams/Stream-A/checkpoint"
OTHER = "/api/anything"


# --- messages and frames of a listener ---


async def test_a_flood_of_messages_is_closed_with_1008_and_others_are_not_disturbed(
    hub: Running,
) -> None:
    async with Client.to(hub, "*") as other, RawClient.to(hub) as flood:
        flood.send(*({"type": "ping", "id": number} for number in range(300)))
        answered = 0
        while (found := await flood.frame())[0] != Opcode.CLOSE:
            assert json.loads(found[1])["id"] == answered
            answered += 1
        assert 100 <= answered < 300
        content = found[1]
        assert int.from_bytes(content[:2], "big") == 1008
        assert b"more than 20 messages" in content
        assert b"TASK_COPILOT_MAX_MESSAGE_RATE" in content
        await hub.create()
        assert await other.seqs(1) == [1]
    await hub.clients_are(0)


async def test_50_patterns_may_be_taken_one_by_one_and_let_go_of(hub: Running) -> None:
    async with Client.to(hub) as client:
        for number in range(50):
            assert (await client.ask("subscribe", topics=[f"task:{number}"]))[
                "type"
            ] == "subscribed"
        for number in range(49):
            answer = await client.ask("unsubscribe", topics=[f"task:{number}"])
            assert answer["type"] == "unsubscribed"


@pytest.mark.parametrize(
    "kind", [Frame(Opcode.PING, b"x"), Frame(Opcode.PONG, b"x"), Frame(Opcode.CONT, b"", fin=False)]
)
async def test_a_flood_of_frames_that_are_no_messages_is_closed_with_1008(
    hub: Running, kind: Frame
) -> None:
    async with Client.to(hub, "*") as other, RawClient.to(hub) as flood:
        first = [Frame(Opcode.TEXT, b"", fin=False)] if kind.opcode == Opcode.CONT else []
        flood.send_frames(*first, *[kind] * 5_000)
        assert await flood.closed() == 1008
        await hub.create()
        assert await other.seqs(1) == [1]
    await hub.clients_are(0)


async def test_answers_to_pings_do_not_pile_up_for_who_does_not_read(tmp_path: Path) -> None:
    async with running(tmp_path, max_message_rate=100_000) as hub, RawClient.to(hub) as flood:
        [transport] = [each for each in hub.transports() if not each.is_closing()]
        pings = Frame(Opcode.PING, b"x" * 125).serialize(mask=True) * 500
        flood.writer.transport.pause_reading()  # type: ignore[attr-defined]
        largest = 0
        for _ in range(200):
            flood.writer.write(pings)
            await flood.writer.drain()
            largest = max(largest, transport.get_write_buffer_size())
        assert largest < MIB


async def test_a_message_that_is_begun_and_never_finished_ends_with_the_listeners_timeout(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, ping_interval=0.05, listener_timeout=0.4) as hub:
        async with RawClient.to(hub) as slow:
            slow.send_frames(Frame(Opcode.TEXT, b'{"type":', fin=False))
            while True:
                opcode, content = await slow.frame()
                if opcode == Opcode.CLOSE:
                    break
                slow.send_frames(Frame(Opcode.PONG, b""))
            assert int.from_bytes(content[:2], "big") == 1008
            assert b"not finished" in content
        await hub.clients_are(0)


async def test_a_listener_that_closes_and_reads_no_more_does_not_keep_its_socket(
    hub: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocols, "END_SECONDS", 0.1)
    await hub.create()
    async with RawClient.to(hub, takes=4096) as stuck:
        stuck.writer.transport.pause_reading()  # type: ignore[attr-defined]
        stuck.send({"type": "subscribe", "payload": {"topics": ["*"]}})
        [transport] = hub.transports()
        async with asyncio.timeout(LIMIT_SECONDS):
            while transport.get_write_buffer_size() < 30_000:
                await hub.update_with_long_texts(1, 20)
            stuck.send_frames(Frame(Opcode.CLOSE, b"\x03\xe8"))
            while transport in hub.transports():
                await hub.health()


async def test_a_listener_too_many_gets_503_on_every_transport_and_the_others_go_on(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, max_listeners=1) as hub, Client.to(hub, "*") as one:
        for path in ("/api/events/stream", "/api/events?wait=5"):
            answer = await hub.http.get(path)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
            assert "TASK_COPILOT_MAX_LISTENERS" in answer.json()["error"]
        with pytest.raises(Exception, match="503"):
            await Client.to(hub).__aenter__()
        await hub.create()
        assert await one.seqs(1) == [1]


# --- bodies ---


@pytest.mark.parametrize(
    ("path", "limit"), [(OTHER, 2 * MIB), (CHECKPOINT, 8 * MIB), ("/mcp", 8 * MIB)]
)
async def test_a_body_that_says_it_is_too_large_is_refused_unread(
    hub: Running, path: str, limit: int
) -> None:
    async with opened(hub, post(hub, path, f"Content-Length: {limit + 1}")) as client:
        status, headers, body = await client.answer()
        assert (status, headers["connection"]) == (413, "close")
        assert f"at most {limit:,} bytes" in body["error"]
        await client.ends()


async def test_a_body_in_chunks_is_counted_and_its_refusal_arrives(hub: Running) -> None:
    async with opened(hub, post(hub, OTHER, "Transfer-Encoding: chunked")) as client:
        chunk = b"10000\r\n" + b" " * 65_536 + b"\r\n"
        for _ in range(64):  # all of it, before the answer is read
            client.writer.write(chunk)
            await client.writer.drain()
        client.writer.write(b"0\r\n\r\n")
        status, _headers, body = await client.answer()
        assert status == 413
        assert "2,097,152 bytes" in body["error"]
        await client.ends()


async def test_a_large_body_that_is_allowed_reaches_what_is_inside_whole(hub: Running) -> None:
    content = json.dumps({"trigger": "manual", "reason": "x", "more": " " * (7 * MIB)})
    headers = {"content-type": "application/json"}
    answer = await hub.http.post(CHECKPOINT, content=content, headers=headers)
    assert answer.status_code == 422
    assert "'more'" in answer.json()["error"]


@pytest.mark.parametrize("sent", ["Content-Length: 9", "Transfer-Encoding: chunked"])
async def test_a_body_that_does_not_come_gets_408_and_the_connection_is_closed(
    hub: Running, monkeypatch: pytest.MonkeyPatch, sent: str
) -> None:
    monkeypatch.setattr(bodies, "FIRST_SECONDS", 0.1)
    async with opened(hub, post(hub, CHECKPOINT, sent)) as client:
        status, _headers, body = await client.answer()
        assert status == 408
        assert "262,144 bytes" in body["error"]
        await client.ends()


async def test_who_goes_on_sending_after_a_refusal_is_cut_off(
    hub: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocols, "LINGER_SECONDS", 0.1)
    async with opened(hub, post(hub, OTHER, "Content-Length: 3000000")) as client:
        assert (await client.answer())[0] == 413
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(client.send_for_ever(), LIMIT_SECONDS)


@pytest.mark.parametrize("method", ["GET", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("sent", ["Content-Length: 9", "Transfer-Encoding: chunked"])
async def test_a_body_where_none_belongs_is_not_waited_for(
    hub: Running, monkeypatch: pytest.MonkeyPatch, method: str, sent: str
) -> None:
    monkeypatch.setattr(protocols, "LINGER_SECONDS", 0.1)
    async with opened(hub, request(hub, method, "/health", sent)) as client:
        status, _headers, _body = await client.answer()
        assert status == (200 if method == "GET" else 405)
        await client.ends()


async def test_all_bodies_together_are_bounded_and_the_next_gets_503(
    hub: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "MAX_BODIES_BYTES", MIB)
    async with contextlib.AsyncExitStack() as stack:
        half = post(hub, OTHER, f"Content-Length: {MIB}") + b" " * 600_000
        first = await stack.enter_async_context(opened(hub, half))
        second = await stack.enter_async_context(opened(hub, half))
        refused, kept = first, second
        done, _ = await asyncio.wait(
            answers := [asyncio.create_task(each.answer()) for each in (first, second)],
            return_when=asyncio.FIRST_COMPLETED,
            timeout=LIMIT_SECONDS,
        )
        if answers[1] in done:
            refused, kept = second, first
        status, headers, body = await answers[(first, second).index(refused)]
        assert (status, headers["retry-after"]) == (503, "1")
        assert "of all requests" in body["error"]
        kept.writer.write(b" " * (MIB - 600_000))
        assert (await answers[(first, second).index(kept)])[0] == 404
        again = await stack.enter_async_context(opened(hub, half + b" " * (MIB - 600_000)))
        assert (await again.answer())[0] == 404


# --- requests ---


async def test_more_requests_of_a_connection_than_its_rate_get_429_late_and_others_are_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rates, "REFUSAL_SECONDS", 0.05)
    async with (
        running(tmp_path, max_request_rate=5) as hub,
        opened(hub, request(hub, "GET", "/health") * 12) as flood,
    ):
        answers = [await flood.answer() for _ in range(11)]
        assert [status for status, _, _ in answers[:10]] == [200] * 10
        status, headers, body = answers[10]
        assert (status, headers["retry-after"]) == (429, "1")
        assert "TASK_COPILOT_MAX_REQUEST_RATE" in body["error"]
        await flood.ends()  # what waits behind it is refused too
        assert (await hub.http.get("/health")).status_code == 200


async def test_a_client_cannot_call_itself_another_to_be_served_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rates, "REFUSAL_SECONDS", 0.0)
    async with running(tmp_path, max_request_rate=1) as hub:
        statuses = [
            (await hub.http.get("/health", headers={"X-Forwarded-For": f"10.0.0.{n}"})).status_code
            for n in range(4)
        ]
        assert 429 in statuses


# --- connections ---


async def test_a_thousand_half_open_connections_do_not_keep_others_out(hub: Running) -> None:
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    beginnings = (b"", b"GET /hea", request(hub, "GET", "/health")[:-2])
    async with Client.to(hub, "*") as listener, contextlib.AsyncExitStack() as stack:
        for number in range(min(1_000, hard // 3)):
            await stack.enter_async_context(opened(hub, beginnings[number % 3]))
            if number % 100 == 99:
                async with opened(hub, request(hub, "GET", "/health")) as client:
                    assert (await client.answer())[0] == 200
        assert len(hub.transports()) < 350
        await hub.create()
        assert await listener.seqs(1) == [1]


async def test_invalid_requests_leave_no_word_in_the_log(
    hub: Running, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(hub, b"\x16\x03\x01 this is no HTTP\r\n\r\n") as client:
        assert (await client.reader.readline()).startswith(b"HTTP/1.1 400 ")
    assert caplog.records == []


def test_the_reason_of_a_close_fits_a_close_frame() -> None:
    assert len(connection.too_many(100_000).encode()) <= 123
