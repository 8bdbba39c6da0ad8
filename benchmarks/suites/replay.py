"""How fast listeners get what they missed, and what that costs those that missed nothing."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from statistics import median
from typing import NamedTuple

from benchmarks.cluster import start_cluster
from benchmarks.commit_clock import CLOCKED_SERVER, CommitClock
from benchmarks.crowd import Crowd, crowd
from benchmarks.mcp_process import McpProcess, call_line
from benchmarks.measures import Measure, Suite, Target, percentile, spread
from benchmarks.pacing import paced
from benchmarks.raw_listener import RawListener
from benchmarks.sandbox import Sandbox, sandbox
from benchmarks.seeding import add_events, opened

EVERYTHING = {"topics": ["*"], "since": 0}
AT_ONCE = 2000
"""Events of one transaction of the seeding."""

REPLAYING = 10
LIVE_PER_SECOND = 50
LIVE_AT_LEAST = 20


class Several(NamedTuple):
    """Events a second to all clients together, and meanwhile the milliseconds from each commit
    to the event at the live listener."""

    rate: float
    live: list[float]


def run(*, quick: bool) -> list[Measure]:
    """The clients look for the events' numbers only, and check that none is missing."""
    events, rounds = (4_000, 1) if quick else (100_000, 5)
    with ExitStack() as stack:
        box = stack.enter_context(sandbox())
        with opened(box) as database:
            for _ in range(events // AT_ONCE):
                add_events(database, AT_ONCE)
        _hub, writer = start_cluster(stack, box, 2, CLOCKED_SERVER)
        rates = [_replay(box, events) for _ in range(rounds)]
        several = [_replay_to_several(box, writer, events) for _ in range(rounds)]
    times = f"{rounds} times {events:,} events"
    return [
        Measure(
            "events a second to one client",
            median(rates),
            "/s",
            times,
            Target(">=", 50_000),
            spread(rates),
        ),
        *_live([late for each in several for late in each.live]),
        Measure(
            f"events a second to {REPLAYING} clients together",
            median(each.rate for each in several),
            "/s",
            times,
        ),
    ]


def _live(late: list[float]) -> list[Measure]:
    rounds = f"{len(late)} events at {LIVE_PER_SECOND}/s, {REPLAYING} clients replay"
    name = "live listener meanwhile, commit in another process to event"
    return [
        Measure(f"{name}, p99", percentile(late, 99), "ms", rounds, Target("<", 50)),
        Measure(f"{name}, p50", percentile(late, 50), "ms", rounds),
        Measure(f"{name}, longest", max(late), "ms", rounds),
    ]


def _replay(box: Sandbox, events: int) -> float:
    start = time.perf_counter()
    listener = RawListener(box.port, EVERYTHING)
    while listener.position < events:
        listener.receive()
    taken = time.perf_counter() - start
    listener.close()
    return events / taken


def _replay_to_several(box: Sandbox, writer: McpProcess, events: int) -> Several:
    """Another process writes for as long as the clients replay; one listener is at the head."""
    with ExitStack() as stack:
        clock = CommitClock(box)
        live = stack.enter_context(crowd(box, 1))
        start = time.perf_counter()
        replaying = stack.enter_context(crowd(box, REPLAYING, since=0))
        replaying.expect(events)
        paced([writer], _requests(replaying), LIVE_PER_SECOND)
        replaying.wait()
        taken = time.perf_counter() - start
        live.wait_for(clock.head())
        [arrivals] = live.arrivals()
        committed = clock.moments()
    late = [(moment - committed[seq]) / 1e6 for seq, moment in arrivals.by_seq()]
    return Several(REPLAYING * events / taken, late)


def _requests(replaying: Crowd) -> Iterator[bytes]:
    """Changes of a title, one event each, until all is replayed."""
    for number in count():
        if number >= LIVE_AT_LEAST and replaying.is_there():
            return
        yield call_line(number, "task_update", {"id": "TASK-2", "title": f"Title {number}"})


SUITE = Suite("replay", "replay of the log, and live listeners meanwhile", run)
