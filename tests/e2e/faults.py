"""What the tests of faults share: logs filled at once, sockets by hand, what processes hold."""

import asyncio
import base64
import json
import os
import random
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any, Self

import httpx2
import psutil

from e2e.servers import Server, opened
from support import database_at
from task_copilot.database.store import Database
from task_copilot.database.transaction import OutboxEntry, Transaction
from task_copilot.events.log import LogRow
from torture.listening import Listening, OverHttp, OverSse, OverWebSocket

LIMIT_SECONDS = 20.0


@contextmanager
def bulk(folder: Path) -> Iterator[Database[LogRow]]:
    """The database of the servers in `folder`, opened by the test itself."""
    database = database_at(folder, durability="normal")
    try:
        yield database
    finally:
        database.committer.close()
        database.read_engine.dispose()


def write_events(database: Database[LogRow], count: int, size: int = 100) -> None:
    """Adds `count` events with texts of `size` to the log, in one transaction."""

    def add(transaction: Transaction) -> None:
        for number in range(count):
            topic = f"task:TASK-{number % 100 + 1}"
            content = {
                "topic": topic,
                "eventType": "task.updated",
                "workspace": "bulk",
                "actor": "bulk",
                "timestamp": transaction.now,
                "data": {"workspace": "bulk", "taskTitle": "x" * size},
            }
            text = json.dumps(content, separators=(",", ":"))
            transaction.outbox.append(
                OutboxEntry(topic, "task.updated", transaction.now, text),
            )

    database.write_now(add)


class Batches(OverWebSocket):
    batch = {"maxEvents": 100, "maxDelayMs": 5}  # noqa: RUF012 - never changed


class Pages(OverHttp):
    """Of every topic: what is loaded at once and what tools write."""

    topics = ("*",)

    def wants(self, event: dict[str, Any]) -> bool:
        return True

    async def listen(self) -> None:
        address = f"http://127.0.0.1:{self.port}"
        async with httpx2.AsyncClient(
            base_url=address, trust_env=False, verify=False, timeout=10
        ) as client:
            for asked_before in count():
                answer = await client.get(
                    "/api/events", params={"since": self.cursor, "wait": 30, "limit": 1000}
                )
                self.connections += not asked_before  # a try that nobody answers is none
                await self._take_page(answer.status_code, answer.json())


def everyone(port: int) -> list[Listening]:
    """A listener of everything on each transport."""
    kinds: tuple[type[Listening], ...] = (OverWebSocket, Batches, Pages, OverSse)
    return [kind(kind.__name__, port, random.Random(1)) for kind in kinds]


def head(database: Path) -> int:
    with opened(database) as connection:
        (found,) = connection.execute("SELECT head FROM log").fetchone()
    return int(found)


@asynccontextmanager
async def running(listeners: Sequence[Listening]) -> AsyncIterator[None]:
    """Lets them listen and come back; passes on what one of them fails with."""
    tasks = [asyncio.create_task(each.run()) for each in listeners]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
    for end in ends:
        if isinstance(end, Exception):
            raise end


async def all_reach(listeners: Sequence[Listening], seq: int) -> None:
    try:
        await asyncio.gather(*(each.reaches(seq, LIMIT_SECONDS) for each in listeners))
    except TimeoutError:
        behind = {each.name: each.cursor for each in listeners}
        raise AssertionError(f"not all are at {seq}: {behind}") from None


def assert_has_all(listener: Listening, upto: int) -> None:
    """Every event once and in order, and no gap."""
    assert [event["seq"] for event in listener.events] == [*range(1, upto + 1)], listener.name
    assert listener.gaps == [], listener.name


async def until(condition: Callable[[], object], seconds: float = LIMIT_SECONDS) -> None:
    """Waits for what nothing tells of."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def health(port: int, timeout: float = 5) -> dict[str, Any]:
    async with httpx2.AsyncClient(trust_env=False, verify=False, timeout=timeout) as client:
        answer = await client.get(f"http://127.0.0.1:{port}/health")
        found: dict[str, Any] = answer.json()
    assert found["service"] == "task-copilot"
    return found


async def until_clients(port: int, count: int) -> None:
    async with asyncio.timeout(LIMIT_SECONDS):
        while (await health(port))["clients"] != count:  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(0.005)


def handshake(port: int) -> bytes:
    """The request of a WebSocket client."""
    key = base64.b64encode(os.urandom(16)).decode()
    return (
        f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
    ).encode()


def masked(message: object) -> bytes:
    """A text frame of a client."""
    data = json.dumps(message).encode()
    assert len(data) < 126
    return bytes([0x81, 0x80 | len(data)]) + bytes(4) + data


async def rest_of(reader: asyncio.StreamReader) -> bytes:
    """What still comes before the connection ends, however it ends."""
    found = b""
    async with asyncio.timeout(LIMIT_SECONDS):
        with suppress(ConnectionError):
            while chunk := await reader.read(1 << 16):
                found += chunk
    return found


def listening_processes(servers: Sequence[Server]) -> list[int]:
    """Which of the servers' processes hold a TCP port."""
    found = []
    for mcp in servers:
        with suppress(psutil.Error):
            connections = psutil.Process(mcp.process.pid).net_connections("tcp")
            if any(line.status == psutil.CONN_LISTEN for line in connections):
                found.append(mcp.process.pid)
    return found


class Watch:
    """Looks again and again, in a thread, which processes hold a port."""

    def __init__(self, servers: Sequence[Server]) -> None:
        self.looks: list[list[int]] = []
        self._servers = servers
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        while not self._ended.wait(0.005):
            self.looks.append(listening_processes(self._servers))

    def held_twice(self) -> list[list[int]]:
        """Looks that found a port at two processes. During one look a process may end and the
        next take its port, so that both are seen: then the look after it finds one of them."""
        pairs = zip(self.looks, self.looks[1:], strict=False)
        return [look for look, again in pairs if len(set(look) & set(again)) > 1]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
