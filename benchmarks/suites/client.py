"""What the Python client adds: how late it calls back, and how many events a second it takes."""

import dataclasses
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from statistics import median
from typing import Any, NamedTuple

from benchmarks.client_program import Kind, Way
from benchmarks.cluster import start_cluster
from benchmarks.machine import ROOT
from benchmarks.mcp_process import McpProcess, call_line
from benchmarks.measures import Measure, Suite, Target, percentile, spread
from benchmarks.pacing import paced
from benchmarks.sandbox import Sandbox, sandbox
from benchmarks.seeding import add_events, opened

CALLS_PER_SECOND = 100
WARM_UP = 100
POLL_SECONDS = 0.05
LIFE_SECONDS = 120.0

MODES: Mapping[str, Mapping[str, Any]] = {
    "WebSocket": {},
    "HTTP with waiting": {"use_websocket": False},
    "HTTP every 50 ms": {"use_websocket": False, "wait": 0, "poll_interval": POLL_SECONDS},
}


class Replay(NamedTuple):
    """A client that takes the log from its beginning."""

    kind: Kind
    batch: Mapping[str, int] | None = None
    use_websocket: bool = True
    cursor_file: bool = False
    share: float = 1
    """Of the events; of the first ones."""


BATCH = {"maxEvents": 500}
TARGET = Target(">=", 20_000)
REPLAYS: Mapping[str, tuple[Replay, Target | None]] = {
    "callbacks, single events": (Replay("replay"), TARGET),
    "callbacks, batches of up to 500": (Replay("replay", BATCH), TARGET),
    "asyncio, single events": (Replay("replay async"), TARGET),
    "asyncio, batches of up to 500": (Replay("replay async", BATCH), TARGET),
    "callbacks, over HTTP": (Replay("replay", use_websocket=False), None),
    "callbacks, with a cursor file": (Replay("replay", BATCH, cursor_file=True, share=0.05), None),
}


def run(*, quick: bool) -> list[Measure]:
    """The client is a process of its own; so are the hub and the one that writes."""
    seconds = 1 if quick else 10
    events, rounds = (20_000, 1) if quick else (200_000, 3)
    return [*_latencies(WARM_UP + CALLS_PER_SECOND * seconds), *_rates(events, rounds)]


def _latencies(calls: int) -> Iterator[Measure]:
    with ExitStack() as stack:
        box = stack.enter_context(sandbox())
        _hub, writer = start_cluster(stack, box, 2)
        for name, options in MODES.items():
            way = Way("live", _address(box), calls, dict(options))
            late = _late(way, writer)
            rounds = f"{len(late)} events at {CALLS_PER_SECOND}/s"
            for how, percent in (("p50", 50), ("p99", 99)):
                yield Measure(
                    f"call in another process to callback, {name}, {how}",
                    percentile(late, percent),
                    "ms",
                    rounds,
                )


def _late(way: Way, writer: McpProcess) -> list[float]:
    """Milliseconds from each call to its only event, after a warm-up."""
    requests = [
        call_line(n, "task_update", {"id": "TASK-2", "title": f"Title {n}"})
        for n in range(way.events)
    ]
    with _program(way) as process:
        assert process.stdout is not None
        if process.stdout.readline().strip() != "ready":
            raise RuntimeError("the client could not connect")
        sent = paced([writer], requests, CALLS_PER_SECOND).sent
        rows = _output(process).splitlines()
    arrived = {int(number): int(moment) for number, moment in map(str.split, rows)}
    return [(arrived[n] - sent[n]) / 1e6 for n in range(WARM_UP, way.events)]


def _rates(events: int, rounds: int) -> list[Measure]:
    with ExitStack() as stack:
        box = stack.enter_context(sandbox())
        with opened(box) as database:
            add_events(database, events, tasks=events)
        start_cluster(stack, box, 1)
        found: dict[str, list[float]] = {name: [] for name in REPLAYS}
        for _ in range(rounds):
            for name, (replay, _target) in REPLAYS.items():
                found[name].append(_rate(box, replay, round(events * replay.share)))
    return [
        Measure(
            f"events a second to one client, {name}",
            median(found[name]),
            "/s",
            f"{rounds} times {round(events * replay.share):,} events",
            target,
            spread(found[name]),
        )
        for name, (replay, target) in REPLAYS.items()
    ]


def _rate(box: Sandbox, replay: Replay, events: int) -> float:
    """Events a second from before the client connects."""
    cursor = box.folder / "client.cursor"
    cursor.unlink(missing_ok=True)
    options: dict[str, Any] = {"use_websocket": replay.use_websocket}
    if replay.cursor_file:
        options["cursor_file"] = str(cursor)
    way = Way(replay.kind, _address(box), events, options, replay.batch)
    with _program(way) as process:
        return events / float(_output(process))


def _output(process: "subprocess.Popen[str]") -> str:
    output, _ = process.communicate(timeout=LIFE_SECONDS)
    if process.returncode:
        raise RuntimeError("the client has failed; why is on stderr")
    return output


def _address(box: Sandbox) -> str:
    return f"http://127.0.0.1:{box.port}"


@contextmanager
def _program(way: Way) -> Iterator["subprocess.Popen[str]"]:
    arguments = json.dumps(dataclasses.asdict(way))
    command = [sys.executable, "-m", "benchmarks.client_program", arguments]
    process: subprocess.Popen[str] = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


SUITE = Suite("client", "the Python client: event to callback, and events a second", run)
