"""How many changes a second processes write to one PostgreSQL database, beside SQLite and beside
what the database can commit at all.

An operation is a change of a task's status with its three events. Rounds take turns, so that
ratios hold on a busy machine.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from statistics import median
from typing import NamedTuple

from benchmarks import postgres
from benchmarks.measures import Measure, Suite, percentile, spread
from benchmarks.sandbox import sandbox
from benchmarks.writers import BARE, Writers, Written, writers

SEVERAL = 8
POSTGRES, SQLITE = "PostgreSQL", "SQLite"


class Way(NamedTuple):
    """So many processes with so many operations under way in each."""

    engine: str
    writers: int
    in_flight: int

    @property
    def name(self) -> str:
        writing = "1 writer" if self.writers == 1 else f"{self.writers} writers"
        if self.in_flight == BARE:
            return f"{self.engine}, {writing}, bare INSERT and COMMIT"
        return f"{self.engine}, {writing}, {self.in_flight} in flight"


def _ways(most: int) -> list[Way]:
    bare = [Way(POSTGRES, count, BARE) for count in (1, 8)]
    ways = [Way(POSTGRES, count, flying) for count in (1, 8, most) for flying in (1, SEVERAL)]
    return [*bare, *ways, *(Way(SQLITE, count, flying) for count in (1, 8) for flying in (1, 8))]


def run(*, quick: bool) -> list[Measure]:
    """All processes live for the whole of it, and those that have no turn do nothing."""
    most, rounds, seconds = (9, 1, 0.3) if quick else (32, 7, 2.0)
    ways = _ways(most)
    found: dict[Way, list[Written]] = {way: [] for way in ways}
    with ExitStack() as stack:
        server = stack.enter_context(postgres.running())
        box = stack.enter_context(sandbox())
        engines: dict[str, Writers] = {
            POSTGRES: stack.enter_context(writers(server.new(), most)),
            SQLITE: stack.enter_context(writers(box.settings.database_url, 8)),
        }
        for number in range(1 + rounds):
            for way in ways:
                written = engines[way.engine].write(way.writers, way.in_flight, seconds)
                if number:  # the first round warms up
                    found[way].append(written)
    return list(_shown(found, f"{rounds} rounds of {seconds:g} s in turns"))


def _shown(found: Mapping[Way, list[Written]], rounds: str) -> Iterator[Measure]:
    rates = {way: median(each.rate for each in all_) for way, all_ in found.items()}
    yield from _ratios(rates, rounds)
    for way, all_ in found.items():
        each = [written.rate for written in all_]
        waits = [wait for written in all_ for wait in written.all_waits]
        yield Measure(f"{way.name}: a second", rates[way], "/s", rounds, None, spread(each))
        if way.in_flight != BARE:
            p50, p99 = (percentile(waits, percent) for percent in (50, 99))
            note = f"p50 {p50:.1f}, p99 {p99:.1f}"
            yield Measure(f"{way.name}: longest wait", max(waits), "ms", rounds, None, note)
        if way.in_flight != BARE and way.writers > 1:
            fairness = median(written.fairness for written in all_)
            yield Measure(f"{way.name}: slowest ÷ fastest", fairness, "", rounds)


def _ratios(rates: Mapping[Way, float], rounds: str) -> Iterator[Measure]:
    one, eight = rates[Way(POSTGRES, 1, 1)], rates[Way(POSTGRES, 8, 1)]
    bare = rates[Way(POSTGRES, 1, BARE)]
    yield Measure("8 writers ÷ 1 writer, 1 in flight", eight / one, "", rounds)
    yield Measure("8 writers ÷ bare commits, 1 in flight", eight / bare, "", rounds)
    together = rates[Way(POSTGRES, 8, SEVERAL)]
    yield Measure(f"8 writers ÷ bare commits, {SEVERAL} in flight", together / bare, "", rounds)


SUITE = Suite(
    "team-writes", "changes a second of processes on PostgreSQL", run, missing=postgres.missing
)
