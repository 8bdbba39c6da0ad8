"""Whatever is written to its stdin, a server answers each request once and goes on.

``make test`` writes 1,000 lines, ``make torture`` 10,000 (half of FUZZ_INPUTS). The seed of a run
is printed; FUZZ_SEED=… repeats its lines.
"""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from e2e.servers import Server, start_server
from fuzz.inputs import INPUTS, SEED
from fuzz.requests import Line, lines

LINES = INPUTS // 2
A_BATCH = 25
LIMIT_SECONDS = 30.0
EARLY = 10
"""Every tenth line comes before the client has introduced itself."""

KNOWN_CODES = {-32700, -32600, -32601, -32602, -32022}


def _id_of(message: dict[str, Any]) -> str:
    return json.dumps(message["id"])


def _shown(batch: Sequence[Line]) -> str:
    return "\n".join(repr(line.data[:200]) for line in batch)


def check(batch: Sequence[Line], answers: Sequence[dict[str, Any]]) -> None:
    """Fails unless each line has its answers and there are no others; what can be no request gets
    an error, with an id only if one can be read."""
    due = Counter(answer for line in batch for answer in line.answers)
    loose = due.pop("any", 0)
    given = Counter(map(_id_of, answers))
    said = f"FUZZ_SEED={SEED}\n{_shown(batch)}"
    assert not due - given, f"not answered: {due - given}\n{said}"
    assert (given - due).total() == loose, f"too many: {given - due}, not {loose}\n{said}"
    for answer in answers:
        assert answer["jsonrpc"] == "2.0"
        assert ("result" in answer) != ("error" in answer), answer
        if "error" in answer:
            assert answer["error"]["code"] in KNOWN_CODES, f"{answer}\n{said}"
        if _id_of(answer) == "null":
            assert "error" in answer, answer


async def _write(server: Server, line: Line) -> None:
    assert server.process.stdin
    size = -(-len(line.data) // line.pieces)
    for start in range(0, len(line.data), size):
        server.process.stdin.write(line.data[start : start + size])
        await server.process.stdin.drain()


async def _answered(server: Server, batch: Sequence[Line], before: int) -> None:
    """Waits until as many answers have come as are due, and that no more come."""
    due = sum(len(line.answers) for line in batch)
    with suppress(TimeoutError):  # the check says what is missing
        await server.wait_until(lambda: len(server.messages) >= before + due, LIMIT_SECONDS)
    check(batch, server.messages[before:])


async def _send(server: Server, batch: Sequence[Line]) -> None:
    before = len(server.messages)
    for line in batch:
        await _write(server, line)
    await _answered(server, batch, before)


@pytest.mark.timeout(60 + LINES // 20)
@pytest.mark.parametrize("era", ["handshake", "modern"])
async def test_every_line_gets_the_answers_that_it_is_due(tmp_path: Path, era: str) -> None:
    sys.stdout.write(f"FUZZ_SEED={SEED}\n")
    count, modern = LINES // 2, era == "modern"
    made = await asyncio.to_thread(lines, count, SEED, modern=modern)
    # The first request that is one chooses the era, so that of 2026 has no time before it.
    early = [] if modern else made[: count // EARLY]
    late = made[len(early) :]
    async with start_server(tmp_path, era=None) as server:
        for start in range(0, len(early), A_BATCH):
            await _send(server, early[start : start + A_BATCH])
        await (server.modern("tools/list") if modern else server.initialize())
        for start in range(0, len(late), A_BATCH):
            batch = late[start : start + A_BATCH]
            await _send(server, batch)
            before = len(server.messages)
            task = await server.ok("task_create", title=f"Part {start}")
            found = await server.text("task_get", id=task["id"])
            assert f"Part {start}" in found
            assert len(server.messages) == before + 2, f"too many answers to\n{_shown(batch)}"
        server.close_stdin()
        assert await server.wait_exit() == 0
    assert " ERROR: " not in server.stderr_text(), server.stderr_text()[-5_000:]
