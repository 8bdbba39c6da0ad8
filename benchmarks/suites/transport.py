"""Tool calls on the program's own stdio transport beside the same server on the SDK's."""

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

OWN, STOCK = "own transport", "the SDK's"
IN_FLIGHT = 16
STATUSES = ("in_progress", "pending")


@dataclass(frozen=True, slots=True)
class Call:
    """A tool, and whether its rate is what the target is about: elsewhere the transport is only
    part of the time."""

    name: str
    is_judged: bool = False

    def line(self, request_id: int, lane: int, place: int) -> bytes:
        arguments = {} if self.is_judged else {"id": f"TASK-{lane + 1}"}
        if self.name == "task_update":
            arguments["status"] = STATUSES[place % len(STATUSES)]
        return call_line(request_id, self.name, arguments)

    def lanes(self, count: int, calls: int) -> list[list[bytes]]:
        return [
            [self.line(lane + count * place, lane, place) for place in range(calls // count)]
            for lane in range(count)
        ]


NOTHING, READ, WRITE = Call("noop", is_judged=True), Call("task_get"), Call("task_update")


def run(*, quick: bool) -> list[Measure]:
    """All servers live side by side, and take turns."""
    rounds, calls = (1, 64) if quick else (9, 1_600)
    with ExitStack() as stack:
        idle = {OWN: _noop(stack), STOCK: _noop(stack, "stock")}
        program = {OWN: _program(stack, SERVER), STOCK: _program(stack, STOCK_SERVER)}
        return [
            measure
            for call, servers in ((NOTHING, idle), (READ, program), (WRITE, program))
            for lanes in (1, IN_FLIGHT)
            for measure in _compared(call, servers, lanes, rounds, calls)
        ]


STOCK_SERVER = [sys.executable, "-P", "-m", "benchmarks.stock_server"]


def _noop(stack: ExitStack, *arguments: str) -> McpProcess:
    command = [sys.executable, "-m", "benchmarks.noop_server", *arguments]
    server = stack.enter_context(McpProcess(command, os.environ, ROOT))
    server.initialize()
    return server


def _program(stack: ExitStack, command: list[str]) -> McpProcess:
    box = stack.enter_context(sandbox())
    environment = {**box.environment, "PYTHONPATH": str(ROOT)}
    server = stack.enter_context(McpProcess(command, environment, box.folder))
    server.initialize()
    box.wait_for_hub()
    for _ in range(IN_FLIGHT):
        server.call("task_create", {"title": "Implement the types", "streamId": "Stream-A"})
    return server


def _compared(
    call: Call, servers: Mapping[str, McpProcess], lanes: int, rounds: int, calls: int
) -> list[Measure]:
    requests = call.lanes(lanes, calls)
    rates: dict[str, list[float]] = {name: [] for name in servers}
    for _ in range(1 + rounds):  # the first warms up
        for name, server in servers.items():
            rates[name].append(side_by_side(server, requests))
    found = {name: each[1:] for name, each in rates.items()}
    how = f"{call.name}, " + ("one after the other" if lanes == 1 else f"{lanes} in flight")
    taken = f"{rounds} rounds of {calls} calls in turns"
    ratio = median(found[OWN]) / median(found[STOCK])
    target = Target(">=", 1.5) if call.is_judged else None
    return [
        Measure(f"{how}: calls a second ÷ on the SDK's transport", ratio, "", taken, target),
        *(
            Measure(f"{how}: {name}", median(each), "/s", taken, note=spread(each))
            for name, each in found.items()
        ),
    ]


SUITE = Suite("transport", "tool calls on its own stdio transport and on the SDK's", run)
