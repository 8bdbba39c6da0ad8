"""From a commit in one process to the event at the listeners of other hubs, on PostgreSQL."""

import time
from collections.abc import Iterator
from contextlib import ExitStack

import psutil

from benchmarks import postgres
from benchmarks.measures import Measure, Suite, Target, percentile
from benchmarks.sandbox import sandbox
from benchmarks.teams import Delivered, Hub, deliver, start_hubs

HUBS, LISTENERS, PER_SECOND = 4, 50, 50


def run(*, quick: bool) -> list[Measure]:
    """The hub that writes serves no listener of those that are compared with its commits."""
    seconds = 1 if quick else 20
    with postgres.running() as server:
        return [
            *_to_another(server.new(), 100 * seconds),
            *_to_many(server.new(), PER_SECOND * seconds),
        ]


def _to_another(url: str, calls: int) -> Iterator[Measure]:
    with ExitStack() as stack:
        box = stack.enter_context(sandbox(url))
        writer, other = start_hubs(stack, box, 2)
        found = deliver(stack, writer, [other], 1, calls, 100)
    rounds = f"{calls} events at 100/s"
    name = "commit in one process to a listener of another hub"
    note = "below zero: it came before the writing process knew that it had committed"
    yield Measure(f"{name}, p50", percentile(found.late, 50), "ms", rounds, Target("<", 10), note)
    yield Measure(f"{name}, p99", percentile(found.late, 99), "ms", rounds, Target("<", 50))
    yield Measure(f"{name}, longest", max(found.late), "ms", rounds)


def _to_many(url: str, calls: int) -> Iterator[Measure]:
    with ExitStack() as stack:
        box = stack.enter_context(sandbox(url))
        writer, *served = start_hubs(stack, box, 1 + HUBS)
        start, before = time.perf_counter(), _cpu_seconds(served)
        found = deliver(stack, writer, served, LISTENERS, calls, PER_SECOND)
        share = (_cpu_seconds(served) - before) / (time.perf_counter() - start) / HUBS * 100
    yield from _shown(found, share, f"{calls} events at {PER_SECOND}/s")


def _shown(found: Delivered, share: float, rounds: str) -> Iterator[Measure]:
    name = f"{HUBS} hubs, {LISTENERS} listeners each"
    note = f"of {len(found.late):,} deliveries"
    yield Measure(f"{name}: lost or doubled", found.wrong, "", rounds, Target("==", 0), note)
    yield Measure(f"{name}: commit to event, p50", percentile(found.late, 50), "ms", rounds)
    yield Measure(f"{name}: commit to event, p99", percentile(found.late, 99), "ms", rounds)
    yield Measure(f"{name}: processor time of a hub, of a core", share, "%", rounds)


def _cpu_seconds(hubs: list[Hub]) -> float:
    all_times = [psutil.Process(hub.process.pid).cpu_times() for hub in hubs]
    return sum(times.user + times.system for times in all_times)


SUITE = Suite(
    "team-delivery",
    "commit in one process to listeners of other hubs on PostgreSQL",
    run,
    missing=postgres.missing,
)
