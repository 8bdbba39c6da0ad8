"""One way to listen over each transport, and a strict reader of server-sent events."""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import httpx2
from websockets.asyncio.client import connect

from integration.test_websocket import LIMIT_SECONDS, Client, Running
from validation import valid_frame, validated

Item = tuple[str, dict[str, Any]]
"""``event`` or ``gap``, and its payload."""

FILTERS = ("eventTypes", "streams", "agents", "notActors")


@dataclass(frozen=True)
class ServerSent:
    """One dispatch of an event source; `retry` is what stood in its block."""

    kind: str
    data: str | None
    id: str
    retry: int | None = None


class EventSource:
    """Reads a stream as the WHATWG's algorithm does, and refuses what that would pass over."""

    def __init__(self, answer: httpx2.Response) -> None:
        self.answer = answer
        self.last_id = ""
        self._reading = self.blocks()

    async def take(self, count: int = 1) -> list[ServerSent]:
        """The next `count` blocks; reading goes on behind them."""
        async with asyncio.timeout(LIMIT_SECONDS):
            return [await anext(self._reading) for _ in range(count)]

    async def dispatched(self, count: int) -> list[ServerSent]:
        """The next `count` blocks that a browser tells of: bookmarks, which come where nothing is
        written for a moment, are passed over, and never move the id back."""
        found: list[ServerSent] = []
        while len(found) < count:
            before = int(self.last_id)
            [block] = await self.take()
            assert int(block.id) >= before, block
            if block.data is not None:
                found.append(block)
        return found

    async def rest(self) -> list[ServerSent]:
        """Every block until the server ends the stream."""
        found: list[ServerSent] = []
        while True:
            try:
                found += await self.take()
            except (StopAsyncIteration, httpx2.TransportError):
                return found

    async def blocks(self) -> AsyncIterator[ServerSent]:
        """Every block, also those without data, which only move the id."""
        text = ""
        async for piece in self.answer.aiter_bytes():
            text += piece.decode()  # no block is cut within a character here, but strictly so
            while "\n\n" in text:
                block, text = text.split("\n\n", 1)
                yield self._block(block)
        assert text == "", "the stream ended within an event"

    def _block(self, block: str) -> ServerSent:
        assert "\r" not in block
        fields: dict[str, str] = {}
        for line in block.split("\n"):
            if line.startswith(":"):
                continue
            name, colon, value = line.partition(": ")
            assert colon, line
            assert name in {"event", "data", "id", "retry"}, line
            assert name not in fields, block
            fields[name] = value
        if "id" in fields:
            assert fields["id"].isdecimal()
            self.last_id = fields["id"]
        retry = int(fields["retry"]) if "retry" in fields else None
        return ServerSent(fields.get("event", "message"), fields.get("data"), self.last_id, retry)


@contextlib.asynccontextmanager
async def event_source(
    hub: Running, headers: dict[str, str] | None = None, **query: Any
) -> AsyncIterator[EventSource]:
    """An open stream."""
    opening = hub.http.stream(
        "GET", "/api/events/stream", params=query, headers=headers, timeout=LIMIT_SECONDS
    )
    async with opening as answer:
        assert answer.status_code == 200, await answer.aread()
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        yield EventSource(answer)


@contextlib.asynccontextmanager
async def websocket(hub: Running, workspace: str | None = None) -> AsyncIterator[Client]:
    """A client of one workspace, if any is named."""
    query = "" if workspace is None else f"?workspace={workspace}"
    address = f"ws://127.0.0.1:{hub.port}/ws{query}"
    opening = connect(
        address, proxy=None, compression=None, max_size=None, max_queue=None, close_timeout=1
    )
    async with opening as connection:
        yield Client(connection)


async def over_websocket(hub: Running, **asked: Any) -> AsyncGenerator[Item]:
    async with websocket(hub, asked.pop("workspace", None)) as client:
        wanted = {name: asked.pop(name) for name in FILTERS if name in asked}
        payload = {"topics": ["*"], **asked, **({"filter": wanted} if wanted else {})}
        answer = await client.ask("subscribe", **payload)
        assert answer["type"] == "subscribed", answer
        while True:
            message = await client.receive()
            if message["type"] == "events":
                for event in message["payload"]["events"]:
                    yield "event", event
            elif message["type"] != "ping":
                assert message["type"] in {"event", "gap"}, message
                yield message["type"], message["payload"]


def _query(asked: dict[str, Any]) -> dict[str, Any]:
    return {
        name: ",".join(value) if isinstance(value, list) else value
        for name, value in asked.items()
        if name != "batch"
    }


async def over_http(hub: Running, **asked: Any) -> AsyncGenerator[Item]:
    query = {"wait": LIMIT_SECONDS, "limit": 7, **_query(asked)}
    while True:
        answer = await hub.http.get("/api/events", params=query, timeout=2 * LIMIT_SECONDS)
        found = validated("GET", "/api/events", answer.status_code, answer.json())
        if found["gap"]:
            yield "gap", found["gap"]
        for event in found["events"]:
            yield "event", event
        query.pop("replay", None)
        query |= {"since": found["next"], "epoch": found["epoch"]}


async def over_sse(hub: Running, **asked: Any) -> AsyncGenerator[Item]:
    async with event_source(hub, **_query(asked)) as source:
        async for block in source.blocks():
            if block.kind in {"message", "gap"} and block.data is not None:
                content = json.loads(block.data)
                assert block.id == str(content.get("seq", content.get("to")))
                kind = "event" if block.kind == "message" else "gap"
                yield kind, content


Transport = Callable[..., AsyncGenerator[Item]]
TRANSPORTS: dict[str, Transport] = {
    "websocket": over_websocket,
    "http": over_http,
    "sse": over_sse,
}


async def items(transport: Transport, hub: Running, count: int, **asked: Any) -> list[Item]:
    """The first `count` items; each is checked against the published description."""
    found: list[Item] = []
    async with (
        asyncio.timeout(LIMIT_SECONDS),
        contextlib.aclosing(transport(hub, **asked)) as listening,
    ):
        async for kind, payload in listening:
            stamp = payload.get("timestamp", "2026-01-08T12:00:00.000Z")
            valid_frame({"type": kind, "timestamp": stamp, "payload": payload})
            found.append((kind, payload))
            if len(found) == count:
                break
    return found


def places(found: list[Item]) -> list[int | tuple[int, int]]:
    """The seq of each event, and where each gap is from and to."""
    return [
        payload["seq"] if kind == "event" else (payload["from"], payload["to"])
        for kind, payload in found
    ]
