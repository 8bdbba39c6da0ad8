"""From a commit in one process to the event in listeners of another, the hub."""

from contextlib import ExitStack
from dataclasses import dataclass

from benchmarks.cluster import start_cluster
from benchmarks.commit_clock import CLOCKED_SERVER, CommitClock
from benchmarks.crowd import Arrivals, crowd
from benchmarks.mcp_process import call_line
from benchmarks.measures import Measure, Suite, Target, percentile
from benchmarks.pacing import Paced, paced
from benchmarks.sandbox import sandbox

WARM_UP = 100
CLOCK = "from SQLite's return from the commit, by the writing process's own account"


@dataclass(frozen=True, slots=True)
class Way:
    """How many write how much to how many, and what p50 and p99 should be, in ms."""

    writers: int
    per_second: int
    listeners: int
    p50: float
    p99: float

    @property
    def name(self) -> str:
        writing = "1 process" if self.writers == 1 else f"{self.writers} processes"
        listening = "1 listener" if self.listeners == 1 else f"{self.listeners} listeners"
        return f"{writing}, {listening}"


WAYS = (Way(1, 100, 1, 2, 10), Way(4, 200, 100, 5, 15))


@dataclass(slots=True)
class Found:
    """Milliseconds from each moment to the event; a call's is that of one listener."""

    commit: list[float]
    commit_to_last: list[float]
    sent: list[float]
    answer: list[float]


def run(*, quick: bool) -> list[Measure]:
    """Every call changes a title, which is one event. The hub itself writes nothing."""
    seconds = 1 if quick else 20
    found = [(way, _deliver(way, way.per_second * seconds)) for way in WAYS]
    return [measure for way, each in found for measure in _shown(way, each)]


def _deliver(way: Way, calls: int) -> Found:
    with ExitStack() as stack:
        box = stack.enter_context(sandbox())
        _hub, *writers = start_cluster(stack, box, 1 + way.writers, CLOCKED_SERVER)
        clock = CommitClock(box)
        listening = stack.enter_context(crowd(box, way.listeners))
        requests = [_request(number, way.writers) for number in range(WARM_UP + calls)]
        made = paced(writers, requests, way.per_second)
        listening.wait_for(clock.begin + len(requests))
        calls_of = {seq: int(actor.split("-")[1]) for seq, actor in clock.actors().items()}
        return _compare(clock.moments(), calls_of, made, listening.arrivals())


def _request(number: int, writers: int) -> bytes:
    """The hub has TASK-1, and each writer one of those that follow."""
    arguments = {
        "id": f"TASK-{2 + number % writers}",
        "title": f"Title {number}",
        "agent": f"call-{number}",
    }
    return call_line(number, "task_update", arguments)


def _compare(
    committed: dict[int, int], calls_of: dict[int, int], made: Paced, arrivals: list[Arrivals]
) -> Found:
    found, last = Found([], [], [], []), dict.fromkeys(committed, 0)
    for each in arrivals:
        for seq, moment in each.by_seq():
            call = calls_of[seq]
            if call < WARM_UP:
                continue
            last[seq] = max(last[seq], moment)
            found.commit.append((moment - committed[seq]) / 1e6)
            found.sent.append((moment - made.sent[call]) / 1e6)
            found.answer.append((moment - made.answered[call]) / 1e6)
    found.commit_to_last = [(last[seq] - committed[seq]) / 1e6 for seq in last if last[seq]]
    return found


def _shown(way: Way, found: Found) -> list[Measure]:
    rounds = f"{len(found.commit_to_last)} events at {way.per_second}/s"

    def row(
        what: str, values: list[float], percent: float, target: Target | None = None, note: str = ""
    ) -> Measure:
        how = "longest" if percent == 100 else f"p{percent:.0f}"
        name = f"{way.name}: {what}, {how}"
        return Measure(name, percentile(values, percent), "ms", rounds, target, note)

    commit, sent, answer = "commit to event", "call sent to event", "answer to event"
    measures = [
        row(commit, found.commit, 50, Target("<", way.p50), CLOCK),
        row(commit, found.commit, 99, Target("<", way.p99)),
        row(commit, found.commit, 100),
        row(sent, found.sent, 50),
        row(sent, found.sent, 99),
        row(answer, found.answer, 50, note="below zero: the event came first"),
        row(answer, found.answer, 99),
    ]
    if way.listeners > 1:
        to_last = "commit to event at the last listener"
        measures += [row(to_last, found.commit_to_last, percent) for percent in (50, 99)]
    return measures


SUITE = Suite("delivery", "commit in one process to event at listeners of another", run)
