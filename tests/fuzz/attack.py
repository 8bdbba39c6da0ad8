"""Sends what was made up to a server, and checks what comes back."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from fuzz.frames import Frame, Opcode, Wire, close, frame, handshake, text
from fuzz.listening import answers, check_the_others, expected
from fuzz.scripts import Script

LIMIT_SECONDS = 20.0
"""After which something hangs."""

AT_ONCE = 16
"""Connections at the same time."""

MOST_FAILURES = 5
SHOWN_CHARACTERS = 2_000

BODY = re.compile(rb"(?i)\r\n(?:content-length|transfer-encoding|expect):")

Work = Callable[[], Awaitable[None]]

HANDSHAKE_ANSWERS = {101, 400, 403, 404, 405, 413, 414, 422, 426, 431}


async def all_of(work: Sequence[tuple[object, Work]], seed: int) -> None:
    """Does all of it, some at once, each in bounded time; fails with the first few failures,
    each with its input."""
    waiting = list(reversed(work))
    failures: list[str] = []

    async def worker() -> None:
        while waiting and len(failures) < MOST_FAILURES:
            what, do = waiting.pop()
            try:
                async with asyncio.timeout(LIMIT_SECONDS):
                    await do()
            except (AssertionError, OSError, TimeoutError) as error:
                said = str(what)[:SHOWN_CHARACTERS]
                failures.append(f"{type(error).__name__}: {error}\nafter {said}")

    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
    assert not failures, "\n\n".join([f"FUZZ_SEED={seed}", *failures])


async def connected(port: int, *behind: bytes) -> Wire:
    """A connection after its handshake, with something written right behind that if wanted."""
    wire = await Wire.open(port)
    await wire.write(handshake(port) + b"".join(behind))
    assert await wire.status() == 101
    return wire


async def talk(port: int, texts: Sequence[str]) -> None:
    """Sends messages on one connection, each with a ping behind; checks every answer."""
    wire = await connected(port)
    sending = asyncio.create_task(
        wire.write(*(text(each) + _sentinel(number) for number, each in enumerate(texts)))
    )
    received: list[dict[str, Any]] = []
    try:
        for number, each in enumerate(texts):
            frames = await _answers_before(wire, number)
            received += frames
            expected(each).check(each, answers(frames))
        check_the_others(received)
        await wire.write(close())
        await closed(wire, {1000})
    finally:
        await stopped(sending)
        wire.reset()


async def stopped(task: asyncio.Task[None]) -> None:
    """Ends a task, whatever it has come to."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _sentinel(number: int) -> bytes:
    return text(json.dumps({"type": "ping", "id": f"sentinel {number}"}))


async def _answers_before(wire: Wire, number: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while True:
        received = await next_frame(wire)
        assert received is not None, f"the connection ended before sentinel {number}"
        assert received.opcode == Opcode.TEXT, received
        message = json.loads(received.data)
        if message["type"] == "pong" and message.get("id") == f"sentinel {number}":
            return found
        found.append(message)


async def next_frame(wire: Wire) -> Frame | None:
    """The next frame that is no ping or pong of the protocol; pings are answered."""
    while (received := await wire.receive()) is not None:
        if received.opcode == Opcode.PING:
            await wire.write(frame(Opcode.PONG, received.data))
        elif received.opcode != Opcode.PONG:
            return received
    return None


async def closed(wire: Wire, codes: set[int] | frozenset[int]) -> None:
    """Waits for the server's close with one of the codes, and for the end behind it."""
    while (received := await next_frame(wire)) is not None:
        if received.opcode == Opcode.CLOSE:
            assert received.close_code in codes, (received, codes)
            await wire.ended()
            return
    raise AssertionError(f"the connection ended without a close, not with one of {codes}")


async def play(port: int, script: Script) -> None:
    """Plays a script and waits for its outcome."""
    behind = script.pieces[:1] if script.pipelined else ()
    wire = await connected(port, *behind)
    try:
        await _play_on(wire, script, script.pieces[len(behind) :])
    except ConnectionError:
        assert script.may_reset
    finally:
        wire.reset()


async def _play_on(wire: Wire, script: Script, pieces: Sequence[bytes]) -> None:
    if script.outcome == "resets":
        await wire.write(*pieces)
    elif script.outcome == "leaves":
        await wire.write(*pieces)
        wire.writer.write_eof()
        await wire.ended()
    elif script.outcome == "lives":
        await wire.write(*pieces, _sentinel(0))
        await _answers_before(wire, 0)
    else:
        writing = asyncio.create_task(wire.write(*pieces))
        try:
            await closed(wire, script.codes)
        finally:
            await stopped(writing)


async def greet(port: int, data: bytes) -> None:
    """Sends a handshake that may be none: it is accepted or refused, and the end is the end."""
    wire = await Wire.open(port)
    try:
        await wire.write(data)
        if not is_whole(data):
            wire.writer.write_eof()
        status = await wire.status()
        assert status in HANDSHAKE_ANSWERS or (status is None and not is_whole(data)), status
        if wire.writer.can_write_eof():
            wire.writer.write_eof()
        await wire.ended()
    except ConnectionError:
        pass  # refused before all was read
    finally:
        wire.reset()


def is_whole(data: bytes) -> bool:
    """Whether it is a request that needs no more bytes."""
    head, end, rest = data.partition(b"\r\n\r\n")
    return bool(end) and not rest and not BODY.search(head)
