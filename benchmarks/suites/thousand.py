"""A thousand listeners, more than a hub lets in unless it is told to."""

import resource
from dataclasses import replace
from statistics import median

from benchmarks.contest import Job, listening, phase, resident, settle
from benchmarks.measures import Measure, Suite, Target, spread
from benchmarks.peers.control import Order
from benchmarks.rivals import hub_and_writer

PER_SECOND = 50
UNBOUNDED = 1_000_000_000
KILOBYTE = 1e3
FILES_BESIDE = 500


def run(*, quick: bool) -> list[Measure]:
    """A hub anew in each round; another process commits the events."""
    listeners, seconds, rounds = (50, 0.2, 1) if quick else (1_000, 10.0, 3)
    _allow_files(listeners + FILES_BESIDE)
    found = [_round(listeners, seconds) for _ in range(rounds)]
    memory, p50, p99, each = zip(*found, strict=True)
    how = f"{listeners:,} listeners"
    events = f"{how}, {PER_SECOND} events/s"
    taken = f"{rounds} hubs"
    return [
        Measure(
            f"memory of an idle listener, {how}",
            median(memory) / KILOBYTE,
            "kB",
            taken,
            Target("<", 40),
            spread([one / KILOBYTE for one in memory]),
        ),
        Measure(
            f"publishing to arrival, {events}, p99",
            median(p99),
            "ms",
            taken,
            Target("<", 100),
            f"{spread(p99)}; with the commit",
        ),
        Measure(f"publishing to arrival, {events}, p50", median(p50), "ms", taken),
        Measure(f"processor a delivery, {events}", median(each), "µs", taken, note=spread(each)),
    ]


def _round(listeners: int, seconds: float) -> tuple[float, float, float, float]:
    """Bytes of memory for each listener, p50 and p99 in milliseconds, and microseconds of the
    hub's processor for each delivery."""
    order = Order(UNBOUNDED, seconds, PER_SECOND, 0, 100, 1)
    warm_up = replace(order, seconds=min(1.0, seconds))
    settings = {"TASK_COPILOT_MAX_LISTENERS": str(listeners + 100)}
    with hub_and_writer(settings) as server:
        # What the first ones bring along once is not what each one takes.
        with listening(server, "task_copilot", Job(10, 1, {})) as few:
            phase(server, few, warm_up)
        settle()
        before = resident(server.process.pid)
        with listening(server, "task_copilot", Job(listeners, 1, {})) as load:
            settle()
            memory = (resident(server.process.pid) - before) / listeners
            phase(server, load, warm_up)
            outcome = phase(server, load, order)
    return memory, outcome.p50, outcome.p99, outcome.each


def _allow_files(count: int) -> None:
    """Processes that are started from now on may have so many files, as far as it can be set."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < count:
        most = count if hard == resource.RLIM_INFINITY else min(count, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


SUITE = Suite("thousand", "a thousand listeners", run)
