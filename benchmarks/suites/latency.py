"""From a tool call to its events at a listener of the same server."""

import json
from collections import defaultdict

from benchmarks.listeners import listeners
from benchmarks.mcp_process import McpProcess, call_line
from benchmarks.measures import Measure, Suite, Target, percentile
from benchmarks.pacing import paced
from benchmarks.sandbox import SERVER, sandbox

CALLS_PER_SECOND = 100
WARM_UP = 100
STATUSES = ("in_progress", "pending")
EVENTS = 3
"""A status change is task.updated, task.status_changed and stream.progress."""


def run(*, quick: bool) -> list[Measure]:
    """Each call says as whom it acts, and so each event tells which call it belongs to."""
    calls = WARM_UP + (100 if quick else 2000)
    with sandbox() as box, McpProcess(SERVER, box.environment, box.folder) as server:
        server.initialize()
        box.wait_for_hub()
        server.call("task_create", {"title": "Implement the types", "streamId": "Stream-A"})
        with listeners(box, 1) as listening:
            sent = _send(server, calls)
            frames = listening.frames()
    arrived: dict[str, list[int]] = defaultdict(list)
    for moment, frame in frames:
        arrived[json.loads(frame)["payload"]["actor"]].append(moment)
    measured = range(WARM_UP, calls)
    first = [(arrived[f"call-{n}"][0] - sent[n]) / 1e6 for n in measured]
    last = [(arrived[f"call-{n}"][EVENTS - 1] - sent[n]) / 1e6 for n in measured]
    rounds = f"{len(measured)} calls at {CALLS_PER_SECOND}/s"
    return [
        Measure("call to its last event, p50", percentile(last, 50), "ms", rounds, Target("<", 3)),
        Measure("call to its last event, p99", percentile(last, 99), "ms", rounds, Target("<", 10)),
        Measure("call to its last event, longest", max(last), "ms", rounds),
        Measure("call to its first event, p50", percentile(first, 50), "ms", rounds),
        Measure("call to its first event, p99", percentile(first, 99), "ms", rounds),
    ]


def _send(server: McpProcess, calls: int) -> list[int]:
    """When each call was sent."""
    requests = [
        call_line(
            n, "task_update", {"id": "TASK-1", "status": STATUSES[n % 2], "agent": f"call-{n}"}
        )
        for n in range(calls)
    ]
    return paced([server], requests, CALLS_PER_SECOND).sent


SUITE = Suite("latency", "tool call to event at a listener", run)
