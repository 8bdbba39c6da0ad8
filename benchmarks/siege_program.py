"""A process that besieges a hub: ``python -m benchmarks.siege_program PORT KIND``.

It says ``ready``, goes on until its input ends, and then says what it did, as JSON.
"""

import asyncio
import contextlib
import json
import resource
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable

from benchmarks.raw_listener import HANDSHAKE, LARGE, NO_MASK, SMALL

HALF_OPEN = 1_000
HALF_OPEN_SECONDS = 5.0
PAUSE_SECONDS = 1.0
HEADER_SECONDS = 0.5
SUBSCRIBERS = 5
REQUESTERS = 8
PIPELINED = 20
PATTERNS = [f"task:TASK-{number}*" for number in range(50)]
FAILED_SECONDS = 0.05
"""Pause after a connection that could not be made, so that an end of the hub is no loop."""

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
done: Counter[str] = Counter()


def frame(kind: str, **payload: object) -> bytes:
    """A masked text frame of one message."""
    text = json.dumps({"type": kind, "id": "s", "payload": payload}).encode()
    size = len(text)
    assert size < LARGE
    head = bytes([0x80 | size]) if size < SMALL else b"\xfe" + size.to_bytes(2, "big")
    return b"\x81" + head + NO_MASK + text


@contextlib.asynccontextmanager
async def connection(port: int) -> AsyncIterator[Streams]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    done["connections"] += 1
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


@contextlib.asynccontextmanager
async def websocket(port: int) -> AsyncIterator[Streams]:
    async with connection(port) as (reader, writer):
        writer.write(HANDSHAKE.format(port=port).encode())
        await reader.readuntil(b"\r\n\r\n")
        yield reader, writer


async def half_open(port: int, place: int) -> None:
    """One that says nothing, half a request line, or a header now and then."""
    async with connection(port) as (reader, writer):
        if place % 3 == 1:
            writer.write(b"GET /hea")
        elif place % 3 == 2:
            writer.write(b"GET /health HTTP/1.1\r\n")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HALF_OPEN_SECONDS):
                await _dribble(reader, writer) if place % 3 == 2 else await reader.read()
    await asyncio.sleep(PAUSE_SECONDS)


async def _dribble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while not reader.at_eof():
        writer.write(b"X: y\r\n")
        await writer.drain()
        await asyncio.sleep(HEADER_SECONDS)


async def subscribe(port: int, _place: int) -> None:
    """One that subscribes as fast as it can until it is closed."""
    block = frame("subscribe", topics=PATTERNS) * 20
    async with websocket(port) as (reader, writer):
        reading = asyncio.create_task(reader.read(-1))
        while not reading.done():
            writer.write(block)
            done["messages"] += 20
            sending = asyncio.create_task(writer.drain())
            await asyncio.wait({reading, sending}, return_when=asyncio.FIRST_COMPLETED)
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
        await asyncio.gather(reading, return_exceptions=True)


async def change_patterns(port: int, _place: int) -> None:
    """One that takes 50 patterns and lets go of them, again and again."""
    async with websocket(port) as (reader, writer):
        while True:
            for kind in ("subscribe", "unsubscribe"):
                writer.write(frame(kind, topics=PATTERNS))
                await reader.readuntil(f'"{kind}d"'.encode())
                done["messages"] += 1


async def replay(port: int, _place: int) -> None:
    """One that reads the whole log."""
    async with websocket(port) as (reader, writer):
        writer.write(frame("subscribe", topics=["*"], since=0))
        answer = await reader.readuntil(b'},"id":"s"}')
        last = b'{"seq":' + answer.rpartition(b'"seq":')[2].partition(b"}")[0] + b","
        tail = b""
        while last not in tail:
            chunk = await reader.read(1 << 18)
            if not chunk:
                return
            tail = tail[-len(last) :] + chunk
        done["replays"] += 1


async def request(port: int, _place: int) -> None:
    """One that sends requests without waiting for their answers."""
    text = f"GET /api/tasks?limit=50 HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
    async with connection(port) as (reader, writer):
        while True:
            writer.write(text * PIPELINED)
            for _ in range(PIPELINED):
                head = await reader.readuntil(b"\r\n\r\n")
                done[head.split()[1].decode()] += 1
                size = int(head.lower().partition(b"content-length: ")[2].split()[0])
                await reader.readexactly(size)


async def request_once(port: int, _place: int) -> None:
    """One that makes a new connection for each request."""
    text = f"GET /health HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n"
    async with connection(port) as (reader, writer):
        writer.write(text.encode())
        await reader.read(-1)


KINDS: dict[str, list[tuple[int, Callable[[int, int], Awaitable[None]]]]] = {
    "half-open": [(HALF_OPEN, half_open)],
    "subscribe": [(SUBSCRIBERS, subscribe)],
    "patterns": [(1, change_patterns), (1, replay)],
    "http": [(REQUESTERS, request)],
    "newcomers": [(REQUESTERS, request_once)],
}


async def again_and_again(
    attack: Callable[[int, int], Awaitable[None]], port: int, place: int
) -> None:
    while True:
        try:
            await attack(port, place)
        except (OSError, asyncio.IncompleteReadError):
            done["cut off"] += 1
            await asyncio.sleep(FAILED_SECONDS)


async def main(port: int, kind: str) -> None:
    """Goes on until the input ends."""
    tasks = [
        asyncio.create_task(again_and_again(attack, port, place))
        for count, attack in KINDS[kind]
        for place in range(count)
    ]
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    print(json.dumps(done), flush=True)


if __name__ == "__main__":
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
