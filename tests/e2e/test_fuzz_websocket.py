"""Whatever is sent to the WebSocket, the server answers as described and serves the others.

``make test`` sends 2,000 inputs, ``make torture`` 20,000 (FUZZ_INPUTS). The seed of a run is
printed; FUZZ_SEED=… repeats its inputs.
"""

import asyncio
import json
import random
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest
from websockets.asyncio.client import ClientConnection, connect

from e2e.servers import Server, start_server
from fuzz.attack import LIMIT_SECONDS, Work, all_of, connected, greet, play, talk
from fuzz.frames import Wire
from fuzz.inputs import INPUTS, SEED
from fuzz.listening import messages
from fuzz.scripts import mutated_handshake, script
from validation import valid_frame

A_CONNECTION = 20
"""Messages on each."""

ROUNDS = 20
"""Parts of a run. In each of them an agent changes something, and the witness sees it in time."""

IN_TIME_SECONDS = 5.0
"""From the answer of a call to its events, on a machine that does a lot else."""

SILENT = 12
LISTENER_TIMEOUT = 3.0
MOST_GROWTH = 32 << 20
"""Bytes that the process may grow by between a quarter of a run and its end: of all that is sent
in one, a few kilobytes an input, nothing may stay."""

FILES_TO_SPARE = 3
"""The database opens connections when it first needs so many."""


def work_of(port: int, inputs: int, seed: int) -> list[tuple[object, Work]]:
    """What is done to a server: messages on connections of their own, scripts, handshakes."""
    rng = random.Random(seed)
    texts = messages(inputs * 6 // 10, seed)
    scripts = [script(rng) for _ in range(inputs * 3 // 10)]
    handshakes = [mutated_handshake(rng, port) for _ in range(inputs // 10)]
    talks = [texts[at : at + A_CONNECTION] for at in range(0, len(texts), A_CONNECTION)]
    work: list[tuple[object, Work]] = [(some, partial(talk, port, some)) for some in talks]
    work += [(each, partial(play, port, each)) for each in scripts]
    work += [(each, partial(greet, port, each)) for each in handshakes]
    return work


class Witness:
    """A well-behaved listener to everything, from the beginning of the log."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self.last = 0

    async def begin(self) -> None:
        asked = {"type": "subscribe", "id": 1, "payload": {"topics": ["*"], "since": 0}}
        await self._connection.send(json.dumps(asked))
        assert (await self._receive())["type"] == "subscribed"

    async def sees(self, task: str, status: str) -> None:
        """Reads until that event has come: each before it once, in order."""
        async with asyncio.timeout(IN_TIME_SECONDS):
            while True:
                message = await self._receive()
                if message["type"] == "ping":
                    continue
                assert message["type"] == "event", message
                event = message["payload"]
                assert event["seq"] == self.last + 1
                self.last = event["seq"]
                if event["eventType"] == "task.status_changed":
                    data = event["data"]
                    assert (data["taskId"], data["newStatus"]) == (task, status)
                    return

    async def _receive(self) -> dict[str, Any]:
        return valid_frame(json.loads(await self._connection.recv()))


async def _works_on(server: Server, witness: Witness, number: int) -> None:
    """An agent's calls, and that the witness sees them."""
    made = await server.ok("task_create", title=f"Part {number}", streamId="Stream-A")
    for status in ("in_progress", "completed"):
        await server.ok("task_update", id=made["id"], status=status)
        await witness.sees(made["id"], status)


async def _alone(port: int) -> None:
    """Waits until nobody but the witness listens."""
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
        deadline = time.monotonic() + LIMIT_SECONDS
        while (clients := (await http.get("/health")).json()["clients"]) != 1:
            assert time.monotonic() < deadline, f"{clients} listeners are left"


async def _measured(process: psutil.Process, port: int) -> tuple[int, int]:
    await _alone(port)
    return process.memory_info().rss, process.num_fds()


async def _falls_silent(port: int, number: int) -> Wire:
    """A connection that ends in the middle of a frame, and says nothing more."""
    wire = await connected(port)
    await wire.write(b"\x81\xfe\x01\x00\x00\x00\x00\x00{"[: number % 9 + 1])
    return wire


async def _is_dropped(wire: Wire) -> None:
    async with asyncio.timeout(LISTENER_TIMEOUT + LIMIT_SECONDS):
        await wire.ended()
    wire.reset()


@pytest.mark.timeout(60 + INPUTS // 20)
async def test_whatever_is_sent_is_answered_as_described_and_disturbs_nobody(
    tmp_path: Path,
) -> None:
    sys.stdout.write(f"FUZZ_SEED={SEED}\n")
    settings: dict[str, Any] = {
        "log_level": "info",
        "max_listeners": 500,
        "max_message_rate": 100_000,
        "max_request_rate": 1_000_000,
        "ping_interval": 1,
        "listener_timeout": LISTENER_TIMEOUT,
    }
    async with start_server(tmp_path, **settings) as server:
        await server.served()
        process, port = psutil.Process(server.process.pid), server.port
        work = await asyncio.to_thread(work_of, port, INPUTS, SEED)
        address = f"ws://127.0.0.1:{port}/ws"
        async with connect(address, proxy=None, max_size=None) as connection:
            witness = Witness(connection)
            await witness.begin()
            memory, files = 0, 0
            silent: list[Wire] = []
            for number in range(ROUNDS):
                part = work[number::ROUNDS]
                await asyncio.gather(all_of(part, SEED), _works_on(server, witness, number))
                if number == ROUNDS // 4:
                    memory, files = await _measured(process, port)
                    silent = [await _falls_silent(port, place) for place in range(SILENT)]
            await asyncio.gather(*map(_is_dropped, silent))
            await _works_on(server, witness, ROUNDS)
            memory_now, files_now = await _measured(process, port)
        assert memory_now - memory < MOST_GROWTH
        assert files_now <= files + FILES_TO_SPARE
        flood = [await _falls_silent(port, number) for number in range(SILENT)]
        server.close_stdin()
        assert await server.wait_exit() == 0
        await asyncio.gather(*map(_is_dropped, flood))
    assert " ERROR: " not in server.stderr_text(), server.stderr_text()[-5000:]
