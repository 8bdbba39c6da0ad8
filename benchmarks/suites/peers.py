"""Events to a hundred listeners: this program beside what a user would pick instead.

Two ways of ours are measured. Where events are handed to its bus, only delivery is compared, as
the peers too make their events in their own process; where another process commits them, they go
through the database, which no peer has. Every listener checks that nothing is missing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks import node
from benchmarks.contest import Job, Turn, Turns, contest, middle
from benchmarks.measures import Cell, Measure, Suite, Target, spread
from benchmarks.peers.control import Order
from benchmarks.rivals import IN_BATCHES, IN_MEMORY, NODE_ONCE, RIVALS, THROUGH_LOG, Rival

WARM_UP, STEADY, FULL, BURST = "warm-up", "steady", "full", "burst"
UNBOUNDED = 1_000_000_000
LONG = 60.0
MEGABYTE = 1e6


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    listeners: int
    rounds: int
    warm_up: float
    steady: float
    full: float
    burst: int


WHOLE = Size(listeners=100, rounds=5, warm_up=0.5, steady=3.0, full=2.0, burst=2_000)
QUICK = Size(listeners=10, rounds=1, warm_up=0.05, steady=0.1, full=0.1, burst=200)


@dataclass(frozen=True, slots=True)
class Kind:
    """A job as it is written of; `rate` are the events a second of the steady phase."""

    name: str
    topics: int
    rate: int
    at_once: int
    """Handed over without a turn of the event loop where it goes as fast as it can: as many as
    make a hundred deliveries."""

    def job(self, size: Size) -> Job:
        return Job(
            size.listeners,
            self.topics,
            {
                WARM_UP: self._full(size.warm_up),
                STEADY: Order(UNBOUNDED, size.steady, self.rate, 0, 100, self.topics),
                FULL: self._full(size.full),
                BURST: Order(size.burst, LONG, 0, 0, 100, self.topics),
            },
        )

    def _full(self, seconds: float) -> Order:
        return Order(UNBOUNDED, seconds, 0, 100 * self.at_once, self.at_once, self.topics)


def kinds(listeners: int) -> list[Kind]:
    return [
        Kind(f"every event to {listeners} listeners", 1, 200, 1),
        Kind(f"a topic of its own for each of {listeners} listeners", listeners, 2_000, listeners),
    ]


def run(*, quick: bool) -> list[Measure]:
    """All that can be started; what cannot is named."""
    out = {rival.name: reason for rival in RIVALS if (reason := rival.reason_against())}
    return [
        *compared([one for one in RIVALS if one.name not in out], QUICK if quick else WHOLE),
        *_left_out(out),
    ]


def compared(rivals: Sequence[Rival], size: Size) -> list[Measure]:
    """Both jobs, of all rivals in turns."""
    of = {kind: kind.job(size) for kind in kinds(size.listeners)}
    turns = contest(rivals, {kind.name: job for kind, job in of.items()}, size.rounds)
    found = [measure for kind in of for measure in shown_of(kind, size, turns[kind.name])]
    return [*found, *_memory(turns, size)]


def shown_of(kind: Kind, size: Size, turns: dict[str, list[Turn]]) -> list[Measure]:
    """What is written of one job."""
    return list(_Shown(kind, size, turns).measures())


class _Shown:
    """What is written of one job."""

    def __init__(self, kind: Kind, size: Size, turns: dict[str, list[Turn]]) -> None:
        self._kind = kind
        self._turns = turns
        self._rounds = f"{size.rounds} in turns"
        self._how = {
            STEADY: f"{kind.rate:,} events/s",
            FULL: "as fast as it goes",
            BURST: f"a burst of {size.burst:,}",
        }

    def measures(self) -> Iterator[Measure]:
        if NODE_ONCE in self._turns:
            yield from self._ratios(IN_MEMORY, judged=self._kind.topics == 1)
            yield from self._ratios(THROUGH_LOG, judged=False)
        if IN_BATCHES in self._turns and self._kind.topics == 1:
            yield self._burst_in_batches(self._turns[IN_BATCHES])
        for name, turns in self._turns.items():
            yield from self._row(name, turns)

    def _ratios(self, name: str, *, judged: bool) -> Iterator[Measure]:
        if name not in self._turns:
            return
        low, high = (Target("<=", 1), Target(">=", 1)) if judged else (None, None)
        yield self._ratio("processor a delivery", name, STEADY, "each", low)
        yield self._ratio("p50", name, STEADY, "p50", low)
        yield self._ratio("p99", name, STEADY, "p99", low)
        yield self._ratio("deliveries", name, FULL, "rate", high)
        yield self._ratio("processor a delivery", name, FULL, "each")
        yield self._ratio("processor a delivery", name, BURST, "each")

    def _ratio(
        self, what: str, name: str, phase: str, attribute: str, target: Target | None = None
    ) -> Measure:
        own, peer = (middle(self._turns[one], phase, attribute) for one in (name, NODE_ONCE))
        return Measure(
            f"{name} ÷ {NODE_ONCE}: {what}, {self._how[phase]}, {self._kind.name}",
            own / peer,
            "",
            self._rounds,
            target,
        )

    def _burst_in_batches(self, turns: Sequence[Turn]) -> Measure:
        return Measure(
            f"{IN_BATCHES}: processor time for a delivery, {self._how[BURST]}, {self._kind.name}",
            middle(turns, BURST, "each"),
            "µs",
            self._rounds,
            Target("<", 1),
        )

    def _row(self, name: str, turns: Sequence[Turn]) -> Iterator[Measure]:
        def shown(what: str, phase: str, attribute: str, unit: str) -> Measure:
            values = [getattr(one.outcomes[phase], attribute) for one in turns]
            return Measure(
                f"{what}, {self._how[phase]}",
                median(values),
                unit,
                self._rounds,
                note=spread(values),
                cell=Cell(self._kind.name, name),
            )

        yield shown("processor a delivery", STEADY, "each", "µs")
        yield shown("p50", STEADY, "p50", "ms")
        yield shown("p99", STEADY, "p99", "ms")
        yield shown("deliveries", FULL, "rate", "/s")
        yield shown("share of a core", FULL, "busy", "")
        yield shown("processor a delivery", FULL, "each", "µs")
        yield shown("processor a delivery", BURST, "each", "µs")


def _memory(turns: Turns, size: Size) -> Iterator[Measure]:
    """Of the first turn: later ones have what was sent before."""
    kind, first = next(iter(turns.items()))
    for name, found in first.items():
        yield Measure(
            f"resident memory, {size.listeners} idle",
            found[0].memory / MEGABYTE,
            "MB",
            "1",
            cell=Cell(kind, name),
        )


def _left_out(out: dict[str, str]) -> Iterator[Measure]:
    note = "; ".join(f"{name}: {reason}" for name, reason in out.items())
    yield Measure("peers left out", len(out), "", "", note=note or node.versions())


SUITE = Suite("peers", "delivery beside what a user would pick instead", run)
