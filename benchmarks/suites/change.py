"""Where the time of a change goes, from the request on stdin to the answer on stdout."""

import json
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from statistics import median

from benchmarks import timed_server
from benchmarks.mcp_process import McpProcess, call_line, each_alone
from benchmarks.measures import Cell, Measure, Suite
from benchmarks.sandbox import sandbox

PARTS = {
    timed_server.CALLED: "the request is read, and found by the SDK's session",
    timed_server.QUEUED: "its arguments are checked",
    timed_server.TAKEN: "to the writing thread",
    timed_server.BEGUN: "the write lock, and a look at the version of the tables",
    timed_server.CARRIED_OUT: "the operation, its events and their numbers",
    timed_server.COMMITTED: "the commit, nearly all of it the sync of the disk",
    timed_server.BACK: "back to the event loop",
    timed_server.TOLD: "the events to the bus, and the result to the call",
    timed_server.ANSWERED: "the answer is made and written",
}
"""What a call has behind it at each station."""

OUTSIDE = "outside: the client, and the wake-up by its next request"
GRID = "a status change, one after the other"
STATUSES = ("in_progress", "pending")


def run(*, quick: bool) -> list[Measure]:
    """One task, whose status flips from call to call."""
    calls = 200 if quick else 5_000
    notes = list(_notes(calls))
    parts: dict[str, list[float]] = {part: [] for part in (*PARTS.values(), OUTSIDE)}
    for note, following in pairwise(notes):
        for before, station in pairwise(timed_server.IN_ORDER):
            parts[PARTS[station]].append(_microseconds(note[before], note[station]))
        end, begin = note[timed_server.ANSWERED], following[timed_server.RECEIVED]
        parts[OUTSIDE].append(_microseconds(end, begin))
    rounds = f"{calls} calls"
    return [
        Measure("median", median(each), "µs", rounds, cell=Cell(GRID, part))
        for part, each in parts.items()
    ]


def _microseconds(begin: int, end: int) -> float:
    return (end - begin) / 1000


def _notes(calls: int) -> Iterator[dict[str, int]]:
    with sandbox() as box:
        stations = box.folder / "stations"
        command = [sys.executable, "-P", timed_server.__file__]
        environment = {**box.environment, timed_server.STATIONS: str(stations)}
        with McpProcess(command, environment, box.folder) as server:
            server.initialize()
            box.wait_for_hub()
            server.call("task_create", {"title": "Implement the types", "streamId": "Stream-A"})
            each_alone(server, map(_request, range(calls)))
            lines = Path(stations).read_text(encoding="utf-8").splitlines()
    yield from map(json.loads, lines[-calls:])


def _request(number: int) -> bytes:
    arguments = {"id": "TASK-1", "status": STATUSES[number % len(STATUSES)]}
    return call_line(number, "task_update", arguments)


SUITE = Suite("change", "where the time of a status change goes", run)
