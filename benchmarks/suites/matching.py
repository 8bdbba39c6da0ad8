"""What it costs to find out who wants an event, by listeners and by patterns of each."""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.matching import matcher, row
from benchmarks.measures import Measure, Suite, Target, spread
from task_copilot.events.log import LogRow

TASKS, STREAMS = 5_000, 50
WORKING_SET = 500
"""So many tasks change at a time: events are of their topics in turns."""


@dataclass(frozen=True, slots=True)
class Crowd:
    """Listeners with so many patterns each: one in ten is a prefix, the others are topics."""

    listeners: int
    patterns: int

    def wishes(self, chance: random.Random) -> list[list[str]]:
        return [
            [self._pattern(place, chance) for place in range(self.patterns)]
            for _ in range(self.listeners)
        ]

    @staticmethod
    def _pattern(place: int, chance: random.Random) -> str:
        if place % 10 == 9:
            return f"task:TASK-{chance.randint(100, TASKS)}*"
        if place % 10 == 8:
            return f"stream:Stream-{chance.randrange(STREAMS)}"
        return f"task:TASK-{chance.randint(1, TASKS)}"

    def __str__(self) -> str:
        return f"{self.listeners:,} listeners of {self.patterns} patterns"


JUDGED = Crowd(100, 50)
OTHERS = (Crowd(10, 50), Crowd(1_000, 50), Crowd(100, 1), Crowd(100, 10), Crowd(100, 200))


def run(*, quick: bool) -> list[Measure]:
    """Processor time of this process, in which nothing else happens."""
    rounds, events = (1, 200) if quick else (9, 5_000)
    return [
        *_both(JUDGED, events, rounds, Target("<", 5)),
        *(measure for crowd in OTHERS for measure in _both(crowd, events // 5, rounds)),
    ]


def _both(crowd: Crowd, events: int, rounds: int, target: Target | None = None) -> list[Measure]:
    again, new = _repeating(events), _ever_new(events)
    return [
        _measured(f"{crowd}, topics that came before", crowd, again, rounds, target, again=True),
        _measured(f"{crowd}, every topic for the first time", crowd, new, rounds, target),
    ]


def _repeating(events: int) -> list[LogRow]:
    return [row(seq, f"task:TASK-{1 + seq % WORKING_SET}") for seq in range(events)]


def _ever_new(events: int) -> list[LogRow]:
    return [row(seq, f"task:TASK-{1 + seq}") for seq in range(events)]


def _measured(
    name: str,
    crowd: Crowd,
    rows: Sequence[LogRow],
    rounds: int,
    target: Target | None,
    *,
    again: bool = False,
) -> Measure:
    """With `again` whatever can be remembered of a topic is, else nothing."""
    taken, wanted = [], 0
    wishes = crowd.wishes(random.Random(1))
    for _ in range(rounds):
        count = matcher(wishes)
        if again:
            sum(map(count, rows))
        begin = time.process_time_ns()
        wanted = sum(map(count, rows))
        taken.append((time.process_time_ns() - begin) / len(rows) / 1000)
    note = f"{spread(taken)}; {wanted / len(rows):.2g} listeners want each"
    return Measure(name, median(taken), "µs", f"{rounds} times {len(rows)} events", target, note)


SUITE = Suite("matching", "finding out who wants an event", run)
