"""``GET /api/events/stream`` over a real hub, read by a strict parser."""

import asyncio
import json
from pathlib import Path
from typing import Any

import psutil
import pytest

from integration.test_websocket import Client, Running, running
from listening import ServerSent, event_source
from task_copilot.events.log import LogState
from validation import valid_frame

MIB = 1024 * 1024


def seqs(found: list[ServerSent]) -> list[int]:
    for block in found:
        assert block.kind == "message"
        payload = json.loads(block.data or "")
        assert block.id == str(payload["seq"])
        valid_frame({"type": "event", "timestamp": payload["timestamp"], "payload": payload})
    return [int(block.id) for block in found]


async def test_a_stream_begins_with_where_the_log_stands_and_brings_events(tmp_path: Path) -> None:
    async with running(tmp_path) as hub:
        await hub.create_many(2)
        async with event_source(hub) as source:
            assert source.answer.headers["cache-control"] == "no-store"
            [first] = await source.take()
            assert (first.kind, first.retry) == ("subscribed", 1_000)
            assert json.loads(first.data or "") == {"epoch": hub.bus.epoch, "seq": 2}
            await hub.create(title="two\nlines\r\n\u2028 and more")
            assert seqs(await source.take()) == [3]


async def test_who_is_cut_off_before_the_first_event_goes_on_from_where_it_began(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as hub:
        await hub.create_many(2)
        begun: tuple[tuple[dict[str, Any], str], ...] = (
            ({}, "2"),
            ({"since": 1}, "1"),
            ({"replay": 2}, "0"),
        )
        for query, position in begun:
            async with event_source(hub, **query) as source:
                [first] = await source.take()
                assert first.id == position
        async with event_source(hub) as source:
            await source.take()
        await hub.create_many(3)
        async with event_source(hub, {"Last-Event-ID": source.last_id}) as source:
            assert seqs((await source.take(4))[1:]) == [3, 4, 5]


async def test_last_event_id_goes_on_after_it_whatever_the_address_says(tmp_path: Path) -> None:
    async with running(tmp_path) as hub:
        await hub.create_many(6)
        asked: list[dict[str, Any]] = [{}, {"since": 0}, {"replay": 6}, {"epoch": hub.bus.epoch}]
        for query in asked:
            async with event_source(hub, {"Last-Event-ID": "4"}, **query) as source:
                assert seqs((await source.take(3))[1:]) == [5, 6]


@pytest.mark.parametrize("last", ["-1", "x", "1.5", "7", "9" * 30, "\u00b2", "1 2", ""])
async def test_an_id_that_is_none_of_this_log_is_422(tmp_path: Path, last: str) -> None:
    async with running(tmp_path) as hub:
        await hub.create_many(6)
        headers = {b"Last-Event-ID": last.encode("latin-1")}
        answer = await hub.http.get("/api/events/stream", headers=headers)
        assert answer.status_code == 422
        assert answer.json()["code"] == "WS_INVALID_CURSOR"


async def test_an_id_of_another_database_is_422_where_the_epoch_is_named(tmp_path: Path) -> None:
    async with running(tmp_path) as hub:
        await hub.create_many(6)
        headers = {"Last-Event-ID": "4"}
        query = {"epoch": "other"}
        answer = await hub.http.get("/api/events/stream", headers=headers, params=query)
        assert (answer.status_code, answer.json()["code"]) == (422, "WS_INVALID_CURSOR")


async def test_a_bookmark_moves_the_id_on_where_nothing_matches(tmp_path: Path) -> None:
    async with (
        running(tmp_path, ping_interval=0.1) as hub,
        event_source(hub, topics="stream:*") as source,
    ):
        await source.take()
        await hub.create_many(5)
        while (block := (await source.take())[0]).id != "5":
            assert (block.data, block.kind) == (None, "message")
        assert block.data is None
        await hub.create("S")
        while (block := (await source.take())[0]).data is None:
            assert block.id in {"5", "6"}
        assert seqs([block]) == [7]


async def test_a_stream_ends_when_the_hub_stops(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(tmp_path) as hub, event_source(hub) as source:
        await hub.create_many(3)
        assert seqs((await source.take(4))[1:]) == [1, 2, 3]
        await asyncio.wait_for(hub.hub.stop(), 1)
        assert await source.rest() == []
    assert [entry.getMessage() for entry in caplog.records if entry.levelname == "ERROR"] == []


async def test_a_stream_ends_when_the_database_is_another_one(tmp_path: Path) -> None:
    async with running(tmp_path) as hub, event_source(hub) as source:
        await source.take()
        hub.bus.restart(LogState("another", 0))
        assert await source.rest() == []
        await hub.clients_are(0)


async def stuck_stream(hub: Running) -> asyncio.StreamWriter:
    """A stream that nobody reads."""
    _reader, writer = await asyncio.open_connection("127.0.0.1", hub.port, limit=1024)
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    request = f"GET /api/events/stream HTTP/1.1\r\nHost: 127.0.0.1:{hub.port}\r\n\r\n"
    writer.write(request.encode())
    return writer


async def test_streams_that_nobody_reads_cost_little_and_disturb_nobody(tmp_path: Path) -> None:
    async with running(tmp_path) as hub:
        await hub.create()
        writers = [await stuck_stream(hub) for _ in range(20)]
        await hub.clients_are(20)
        async with Client.to(hub, "*") as quick:
            before = psutil.Process().memory_info().rss
            reading = asyncio.create_task(quick.seqs(1_000))
            await hub.update_with_long_texts(1, 1_000)
            assert await reading == [*range(2, 1_002)]
            assert psutil.Process().memory_info().rss - before < 120 * MIB
            waiting = [each.get_write_buffer_size() for each in hub.transports()]
            assert max(waiting) < 200 * 1024
        for writer in writers:
            writer.transport.abort()
        await hub.clients_are(0)


async def test_a_stream_that_nobody_reads_is_cut_off(tmp_path: Path) -> None:
    async with running(tmp_path, listener_timeout=0.3) as hub:
        await hub.create()
        writer = await stuck_stream(hub)
        await hub.clients_are(1)
        await hub.update_with_long_texts(1, 600)
        await hub.clients_are(0)
        writer.transport.abort()


async def test_a_stream_that_is_read_slowly_gets_everything(tmp_path: Path) -> None:
    # Bookmarks come while the first events are written.
    async with running(tmp_path, listener_timeout=1.0, ping_interval=0.05) as hub:
        await hub.create()
        async with event_source(hub) as source:
            await source.take()
            await hub.update_with_long_texts(1, 1_200)
            assert hub.bus.window.start > 1, "it has to be served from the log"
            assert seqs(await source.dispatched(1_200)) == [*range(2, 1_202)]
