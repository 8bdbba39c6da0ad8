"""What the hub's processor pays for each delivery to each of many listeners."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from statistics import median
from typing import Any

import psutil

from benchmarks.cluster import start_cluster
from benchmarks.commit_clock import CommitClock
from benchmarks.crowd import crowd
from benchmarks.mcp_process import McpProcess, call_line
from benchmarks.measures import Measure, Suite, spread
from benchmarks.pacing import paced
from benchmarks.sandbox import sandbox
from benchmarks.seeding import add_events, opened

WRITERS = 4
PER_SECOND = 200
BURST = 2_000
BATCH = {"maxEvents": 500}


def run(*, quick: bool) -> list[Measure]:
    """The listeners take what comes without looking at more than its number."""
    listeners, seconds, bursts = (10, 1, 1) if quick else (100, 20, 5)
    return [
        _steady(listeners, seconds),
        *_bursts("single events", listeners, bursts),
        *_bursts(f"batches of up to {BATCH['maxEvents']}", listeners, bursts, batch=BATCH),
    ]


def _steady(listeners: int, seconds: int) -> Measure:
    """Four other processes write, one event a call."""
    with ExitStack() as stack:
        box = stack.enter_context(sandbox())
        hub, *writers = start_cluster(stack, box, 1 + WRITERS)
        clock = CommitClock(box)
        listening = stack.enter_context(crowd(box, listeners))
        requests = [_request(number) for number in range(PER_SECOND * seconds)]
        with _processor_time(hub) as used:
            paced(writers, requests, PER_SECOND)
            listening.wait_for(clock.begin + len(requests))
    return Measure(
        f"time of the hub for a delivery, {PER_SECOND} events/s to {listeners} listeners",
        used() / (len(requests) * listeners) * 1e6,
        "µs",
        f"{len(requests)} events",
        note=f"{used() / seconds:.0%} of a core",
    )


def _request(number: int) -> bytes:
    arguments = {"id": f"TASK-{2 + number % WRITERS}", "title": f"Title {number}"}
    return call_line(number, "task_update", arguments)


def _bursts(how: str, listeners: int, bursts: int, **subscribe: Any) -> list[Measure]:
    """Another process commits many events at once, and again when all listeners have them."""
    with ExitStack() as stack:
        box = stack.enter_context(sandbox())
        [hub] = start_cluster(stack, box, 1)
        database = stack.enter_context(opened(box))
        listening = stack.enter_context(crowd(box, listeners, **subscribe))
        taken = []
        with _processor_time(hub) as used:
            for _ in range(bursts):
                last = add_events(database, BURST)
                start = time.perf_counter()
                listening.wait_for(last)
                taken.append(time.perf_counter() - start)
    name = f"a burst of {BURST:,} events to {listeners} listeners, {how}"
    rounds = f"{bursts} bursts"
    each = used() / (bursts * BURST * listeners) * 1e6
    return [
        Measure(f"time of the hub for a delivery, {name}", each, "µs", rounds),
        Measure(
            f"commit to the last delivery, {name}", median(taken), "s", rounds, note=spread(taken)
        ),
    ]


@contextmanager
def _processor_time(server: McpProcess) -> Iterator[Callable[[], float]]:
    """The seconds of processor time that the server uses in the context."""
    process = psutil.Process(server.pid)
    found: list[float] = []

    def so_far() -> float:
        times = process.cpu_times()
        return float(times.user + times.system)

    before = so_far()
    yield lambda: found[0]
    found.append(so_far() - before)


SUITE = Suite("fanout", "the hub's processor time for each delivery", run)
