"""How many changes of a task a second, beside a tool that does nothing on the same transport.

Durability is the default: every answer waits until its change is on the disk.
"""

import os
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median

from benchmarks.machine import ROOT
from benchmarks.mcp_process import McpProcess, call_line, side_by_side
from benchmarks.measures import Measure, Suite, Target, spread
from benchmarks.sandbox import SERVER, sandbox

NOOP, FULL, NORMAL = "tool that does nothing", "task_update", "task_update, durability normal"
IN_FLIGHT = 16
STATUSES = ("in_progress", "pending")


@dataclass(frozen=True, slots=True)
class Way:
    """How calls are sent, and the share of the idle tool's rate that changes should reach."""

    name: str
    lanes: int
    calls: int
    target: float


def run(*, quick: bool) -> list[Measure]:
    """All servers live side by side, and take turns."""
    rounds, calls = (2, 200) if quick else (15, 800)
    ways = (
        Way("one after the other", 1, calls, 0.4),
        Way(f"{IN_FLIGHT} in flight", IN_FLIGHT, 2 * calls, 0.6),
    )
    with ExitStack() as stack:
        servers = {
            NOOP: _start_noop(stack),
            FULL: _start_program(stack, {}),
            NORMAL: _start_program(stack, {"TASK_COPILOT_DURABILITY": "normal"}),
        }
        return [
            measure for way in ways for measure in _shown(way, _rates(servers, way, rounds), rounds)
        ]


def _start_noop(stack: ExitStack) -> McpProcess:
    command = [sys.executable, "-m", "benchmarks.noop_server"]
    server = stack.enter_context(McpProcess(command, os.environ, ROOT))
    server.initialize()
    return server


def _start_program(stack: ExitStack, settings: Mapping[str, str]) -> McpProcess:
    box = stack.enter_context(sandbox())
    server = stack.enter_context(McpProcess(SERVER, {**box.environment, **settings}, box.folder))
    server.initialize()
    box.wait_for_hub()
    for _ in range(IN_FLIGHT):
        server.call("task_create", {"title": "Implement the types", "streamId": "Stream-A"})
    return server


def _rates(servers: Mapping[str, McpProcess], way: Way, rounds: int) -> dict[str, list[float]]:
    """Calls a second of each round, after a first one that warms up."""
    requests = _requests(way.lanes, way.calls)
    found: dict[str, list[float]] = {name: [] for name in servers}
    for _ in range(1 + rounds):
        for name, server in servers.items():
            found[name].append(side_by_side(server, requests))
    return {name: rates[1:] for name, rates in found.items()}


def _requests(lanes: int, calls: int) -> list[list[bytes]]:
    """For each lane a task of its own, whose status flips from call to call."""
    return [
        [
            call_line(
                lane + lanes * place,
                "task_update",
                {"id": f"TASK-{lane + 1}", "status": STATUSES[place % len(STATUSES)]},
            )
            for place in range(calls // lanes)
        ]
        for lane in range(lanes)
    ]


def _shown(way: Way, rates: Mapping[str, list[float]], rounds: int) -> list[Measure]:
    taken = f"{rounds} rounds of {way.calls} calls"
    idle = median(rates[NOOP])
    return [
        Measure(
            f"task_update as a share of the tool that does nothing, {way.name}",
            median(rates[FULL]) / idle,
            "",
            taken,
            Target(">=", way.target),
        ),
        Measure(
            "the same with TASK_COPILOT_DURABILITY=normal, which does not wait for the disk",
            median(rates[NORMAL]) / idle,
            "",
            taken,
        ),
        *(
            Measure(f"{name}, {way.name}", median(each), "/s", taken, note=spread(each))
            for name, each in rates.items()
        ),
    ]


SUITE = Suite("updates", "rate of status changes over stdio", run)
