"""Listeners on every transport that keep a cursor and come back until they have everything."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from itertools import count, cycle
from typing import Any

import httpx2
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage

PAUSE_SECONDS = 0.005
"""Between two attempts to reach a hub, and between two messages of a slow reader."""

CLOSE_SECONDS = 0.2
"""A client that has stopped reading does not see the answer to its close."""

GONE = (OSError, ConnectionClosed, InvalidHandshake, InvalidMessage, EOFError, TimeoutError)
HTTP_GONE = (httpx2.HTTPError, OSError)

Payload = dict[str, Any]


class Listening:
    """What all of them have: a cursor, what they got, and the checks of each thing they get."""

    topics = ("*",)
    event_types: tuple[str, ...] = ()

    def __init__(self, name: str, port: int, chance: random.Random) -> None:
        self.name, self.port, self.chance = name, port, chance
        self.cursor = 0
        self.epoch: str | None = None
        self.events: list[Payload] = []
        self.gaps: list[tuple[int, int]] = []
        self.connections = 0
        self._moved = asyncio.Condition()

    def wants(self, event: Payload) -> bool:
        """Whether it asked for `event`."""
        return not self.event_types or event["eventType"] in self.event_types

    async def take(self, event: Payload) -> None:
        assert event["seq"] > self.cursor, (self.name, event["seq"], self.cursor)
        self.events.append(event)
        await self.move(event["seq"])

    async def take_gap(self, gap: Payload) -> None:
        assert gap["from"] == self.cursor + 1 or not self._sees_all(), (self.name, gap)
        self.gaps.append((gap["from"], gap["to"]))
        await self.move(gap["to"])

    def _sees_all(self) -> bool:
        return not self.event_types and self.topics == ("*",)

    async def move(self, position: int) -> None:
        self.cursor = max(self.cursor, position)
        async with self._moved:
            self._moved.notify_all()

    async def reaches(self, head: int, seconds: float) -> None:
        """Waits until it has all up to `head`."""
        async with asyncio.timeout(seconds), self._moved:
            await self._moved.wait_for(lambda: self.cursor >= head)

    async def run(self) -> None:
        """Listens for ever."""
        while True:
            with suppress(*GONE, *HTTP_GONE):
                await self.listen()
            await asyncio.sleep(PAUSE_SECONDS)

    async def listen(self) -> None:
        """Listens until its connection ends."""
        raise NotImplementedError


class OverWebSocket(Listening):
    """The ordinary one."""

    batch: Payload | None = None
    _subscribed = False

    async def listen(self) -> None:
        opening = connect(
            f"ws://127.0.0.1:{self.port}/ws",
            proxy=None,
            compression=None,
            max_size=None,
            close_timeout=CLOSE_SECONDS,
        )
        async with asyncio.timeout(10):
            connection = await opening
        self.connections += 1
        self._subscribed = False
        try:
            await connection.send(json.dumps(self._request()))
            await self.read(connection)
        finally:
            await self.end(connection)

    def _request(self) -> Payload:
        wanted: Payload = {"topics": list(self.topics), "since": self.cursor}
        if self.epoch:
            wanted["epoch"] = self.epoch
        if self.event_types:
            wanted["filter"] = {"eventTypes": list(self.event_types)}
        if self.batch:
            wanted["batch"] = self.batch
        return {"type": "subscribe", "payload": wanted}

    async def read(self, connection: ClientConnection) -> None:
        async for text in connection:
            await self.take_message(json.loads(text))

    async def end(self, connection: ClientConnection) -> None:
        await connection.close()

    async def take_message(self, message: Payload) -> None:
        kind, payload = message["type"], message["payload"]
        if kind == "subscribed":
            assert self.epoch in {None, payload["epoch"]}
            self.epoch = payload["epoch"]
            self._subscribed = True
        elif kind == "event":
            await self.take(payload)
        elif kind == "events":
            for event in payload["events"]:
                await self.take(event)
        elif kind == "gap":
            await self.take_gap(payload)
        elif kind == "ping":
            if self._subscribed:  # before, the hub does not know the cursor
                await self.move(payload["seq"])
        else:
            raise AssertionError((self.name, message))


class Slow(OverWebSocket):
    """Reads one message at a time, with a pause behind each."""

    async def read(self, connection: ClientConnection) -> None:
        while True:
            await self.take_message(json.loads(await connection.recv()))
            await asyncio.sleep(PAUSE_SECONDS)


class Restless(OverWebSocket):
    """Connects anew after a few messages, in an order or without one word, to any of the hubs."""

    ports: Sequence[int] = ()

    async def listen(self) -> None:
        self.port = self.chance.choice(self.ports or [self.port])
        await super().listen()

    async def read(self, connection: ClientConnection) -> None:
        for _ in range(self.chance.randrange(1, 40)):
            await self.take_message(json.loads(await connection.recv()))

    async def end(self, connection: ClientConnection) -> None:
        if self.chance.random() < 0.5:
            connection.transport.abort()
        else:
            await super().end(connection)


class InBatches(OverWebSocket):
    """With a filter, in batches."""

    event_types = ("task.created", "stream.blocked")
    batch = {"maxEvents": 20, "maxDelayMs": 10}  # noqa: RUF012 - never changed


class OverHttp(Listening):
    """Asks for page after page."""

    topics = ("task:*",)

    def wants(self, event: Payload) -> bool:
        return bool(event["topic"].startswith("task:"))

    async def listen(self) -> None:
        address = f"http://127.0.0.1:{self.port}"
        async with httpx2.AsyncClient(
            base_url=address, trust_env=False, verify=False, timeout=10
        ) as client:
            for asked_before in count():
                asked: Payload = {"since": self.cursor, "topics": "task:*", "wait": 1}
                if self.epoch:
                    asked["epoch"] = self.epoch
                answer = await client.get("/api/events", params=asked)
                self.connections += not asked_before  # a try that nobody answers is none
                await self._take_page(answer.status_code, answer.json())

    async def _take_page(self, status: int, page: Payload) -> None:
        if status == httpx2.codes.SERVICE_UNAVAILABLE:
            return
        assert status == httpx2.codes.OK, (self.name, page)
        assert self.epoch in {None, page["epoch"]}
        self.epoch = page["epoch"]
        if page["gap"]:
            await self.take_gap(page["gap"])
        for event in page["events"]:
            await self.take(event)
        await self.move(page["next"])


class OverSse(Listening):
    """Server-sent events, with the id of the last one as a browser sends it."""

    async def listen(self) -> None:
        headers = {"Last-Event-ID": str(self.cursor)}
        address = f"http://127.0.0.1:{self.port}/api/events/stream"
        async with (
            httpx2.AsyncClient(trust_env=False, verify=False, timeout=10) as client,
            client.stream("GET", address, headers=headers) as answer,
        ):
            assert answer.status_code == httpx2.codes.OK, answer.status_code
            self.connections += 1
            async for fields in _blocks(answer):
                await self._take_block(fields)

    async def _take_block(self, fields: dict[str, str]) -> None:
        data = json.loads(fields["data"]) if "data" in fields else None
        kind = fields.get("event", "message")
        if kind == "subscribed":
            assert data is not None
            assert self.epoch in {None, data["epoch"]}
            self.epoch = data["epoch"]
        elif kind == "gap":
            assert data is not None
            await self.take_gap(data)
        elif data is not None:
            await self.take(data)
        elif "id" in fields:
            await self.move(int(fields["id"]))


async def _blocks(answer: httpx2.Response) -> AsyncIterator[dict[str, str]]:
    fields: dict[str, str] = {}
    async for line in answer.aiter_lines():
        if not line:
            yield fields
            fields = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(": ")
            fields[name] = value


def one_of_each(ports: Sequence[int], chance: random.Random) -> list[Listening]:
    """Listeners on all transports, each at one of the hubs, and one that moves among them."""
    kinds = (OverWebSocket, Slow, Restless, InBatches, OverHttp, OverSse)
    found: list[Listening] = [
        kind(kind.__name__, port, chance) for kind, port in zip(kinds, cycle(ports), strict=False)
    ]
    for listener in found:
        if isinstance(listener, Restless):
            listener.ports = ports
    return found
