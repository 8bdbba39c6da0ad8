"""What a long log costs on PostgreSQL: writing, delivering and replaying at two sizes."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from statistics import median
from typing import NamedTuple

from benchmarks import postgres
from benchmarks.measures import Measure, Suite, Target, percentile
from benchmarks.raw_listener import RawListener
from benchmarks.sandbox import Sandbox, sandbox
from benchmarks.seeding import load_events
from benchmarks.teams import Hub, deliver, start_hubs
from benchmarks.writers import Writers, writers

EVERYTHING = {"topics": ["*"], "since": 0}
WRITERS = 8


class Size(NamedTuple):
    """A database with so many events, two hubs on it, and processes that write to it."""

    events: int
    box: Sandbox
    hubs: list[Hub]
    writers: Writers


class Found(NamedTuple):
    """Of one size, round by round: writes a second, replayed events a second, and milliseconds
    to the first event of a replay. `late` is the milliseconds from commits to a listener."""

    writes: list[float]
    replays: list[float]
    first: list[float]
    late: list[float]


def run(*, quick: bool) -> list[Measure]:
    """Both sizes live side by side, and take turns."""
    sizes = (2_000, 10_000) if quick else (100_000, 1_000_000)
    rounds, seconds, calls = (1, 0.3, 20) if quick else (5, 2.0, 500)
    with ExitStack() as stack:
        server = stack.enter_context(postgres.running())
        small, large = (_start(stack, server.new(), events) for events in sizes)
        found = {size.events: Found([], [], [], []) for size in (small, large)}
        for _ in range(rounds):
            for size in (small, large):
                _replay(size, found[size.events])
                written = size.writers.write(WRITERS, 1, seconds)
                found[size.events].writes.append(written.rate)
        for size in (small, large):
            writer, other = size.hubs
            late = deliver(stack, writer, [other], 1, calls, 50).late
            found[size.events].late.extend(late)
    return list(_shown(found, f"{rounds} rounds in turns", f"{calls} events at 50/s"))


def _start(stack: ExitStack, url: str, events: int) -> Size:
    box = stack.enter_context(sandbox(url))
    load_events(box, events)
    return Size(events, box, start_hubs(stack, box, 2), stack.enter_context(writers(url, WRITERS)))


def _replay(size: Size, found: Found) -> None:
    start = time.perf_counter()
    listener = RawListener(size.box.port, EVERYTHING)
    while listener.position == 0:
        listener.receive()
    found.first.append((time.perf_counter() - start) * 1000)
    while listener.position < size.events:
        listener.receive()
    found.replays.append(size.events / (time.perf_counter() - start))
    listener.close()


def _shown(found: dict[int, Found], rounds: str, delivered: str) -> Iterator[Measure]:
    small, large = found.values()
    names = [f"{events:,} events" for events in found]
    for what, unit, each, times in (
        (
            f"writes of {WRITERS} processes",
            "/s",
            [median(f.writes) for f in found.values()],
            rounds,
        ),
        ("replay to one client", "/s", [median(f.replays) for f in found.values()], rounds),
        ("first event of a replay", "ms", [median(f.first) for f in found.values()], rounds),
        ("commit to another hub's listener, p50", "ms", _percentiles(found, 50), delivered),
        ("commit to another hub's listener, p99", "ms", _percentiles(found, 99), delivered),
    ):
        for name, value in zip(names, each, strict=True):
            yield Measure(f"{name}: {what}", value, unit, times)
    ratio = f"{names[1]} ÷ {names[0]}"
    yield Measure(
        f"{ratio}: writes",
        median(large.writes) / median(small.writes),
        "",
        rounds,
        Target(">=", 0.8),
    )
    yield Measure(
        f"{ratio}: first event of a replay", median(large.first) / median(small.first), "", rounds
    )
    yield Measure(f"{ratio}: replay", median(large.replays) / median(small.replays), "", rounds)


def _percentiles(found: dict[int, Found], percent: float) -> list[float]:
    return [percentile(each.late, percent) for each in found.values()]


SUITE = Suite(
    "team-growth", "PostgreSQL with a long log beside a short one", run, missing=postgres.missing
)
