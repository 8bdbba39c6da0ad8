"""What agents and a well-behaved listener notice while others do all they can to disturb."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPConnection

from benchmarks.cluster import start_cluster
from benchmarks.crowd import Crowd, crowd
from benchmarks.machine import ROOT
from benchmarks.mcp_process import McpProcess, call_line
from benchmarks.measures import Measure, Suite, Target, percentile
from benchmarks.pacing import paced
from benchmarks.sandbox import Sandbox, sandbox

SIEGES = {
    "half-open": "1,000 half-open connections that come and go",
    "subscribe": "5 listeners that subscribe without end and come back when they are closed",
    "patterns": "one with 50 patterns in a loop, and one that replays the whole log in a loop",
    "http": "8 connections that send requests without waiting for answers",
    "newcomers": "8 that make a new connection for each request",
}
CALLS_PER_SECOND = 50
WARM_UP = 50
LOGGED = 2_000
STATUSES = ("in_progress", "pending")
WHO = ("the hub's own process", "another process")


def run(*, quick: bool) -> list[Measure]:
    """The calls go in turn to the hub's process and to another one of the same database."""
    calls = 2 * CALLS_PER_SECOND if quick else 20 * CALLS_PER_SECOND
    with ExitStack() as stack:
        box = stack.enter_context(sandbox())
        servers = start_cluster(stack, box, len(WHO))
        _fill(servers[0])
        listener = stack.enter_context(crowd(box, 1))
        found = _measures("nothing else", _waits(servers, calls), "", target=None)
        for kind, about in SIEGES.items():
            with besieged(box, kind) as done:
                waits = _waits(servers, calls)
            found += _measures(about, waits, done[0], target=Target("<", 50))
        lost = _missed(listener, _head(box))
    events = Measure("events that the listener missed", lost, "", "all of them", Target("==", 0))
    return [*found, events]


def _fill(server: McpProcess) -> None:
    for number in range(LOGGED):
        server.call("task_update", {"id": "TASK-1", "status": STATUSES[number % 2]})


@contextmanager
def besieged(box: Sandbox, kind: str) -> Iterator[list[str]]:
    """The process that disturbs; what it did is in the list at the end."""
    command = [sys.executable, "-m", "benchmarks.siege_program", str(box.port), kind]
    done: list[str] = []
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        try:
            assert process.stdout is not None
            if process.stdout.readline() != "ready\n":
                raise RuntimeError("the siege could not begin; why is on stderr")
            yield done
            counts = json.loads(process.communicate()[0])
            done.append(", ".join(f"{name} {count:,}" for name, count in counts.items()))
        finally:
            process.kill()


def _waits(servers: list[McpProcess], calls: int) -> list[list[float]]:
    """Milliseconds of each call, for each of the servers."""
    requests = [
        call_line(n, "task_update", {"id": f"TASK-{1 + n % 2}", "status": STATUSES[n // 2 % 2]})
        for n in range(WARM_UP + calls)
    ]
    found = paced(servers, requests, CALLS_PER_SECOND)
    return [
        [
            (found.answered[n] - found.sent[n]) / 1e6
            for n in range(WARM_UP, WARM_UP + calls)
            if n % len(servers) == place
        ]
        for place in range(len(servers))
    ]


def _head(box: Sandbox) -> int:
    with closing(HTTPConnection("127.0.0.1", box.port, timeout=5)) as connection:
        connection.request("GET", "/health")
        return int(json.loads(connection.getresponse().read())["seq"])


def _missed(listener: Crowd, head: int) -> int:
    listener.wait_for(head)
    [arrived] = listener.arrivals()
    return head - arrived.begin - len(arrived.moments)


def _measures(
    about: str, waits: list[list[float]], done: str, target: Target | None
) -> list[Measure]:
    return [
        Measure(
            f"call to {who}, p99: {about}",
            percentile(each, 99),
            "ms",
            f"{len(each)} calls",
            target,
            f"p50 {percentile(each, 50):.1f}, longest {max(each):.0f} ms"
            + (f"; {done}" if done else ""),
        )
        for who, each in zip(WHO, waits, strict=True)
    ]


SUITE = Suite("siege", "calls while others do all they can to disturb", run)
