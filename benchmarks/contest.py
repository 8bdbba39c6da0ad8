"""Servers side by side: the same listeners, the same events, in turns of random order."""

import json
import random
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from statistics import median

import psutil

from benchmarks.line_process import LineProcess, messages
from benchmarks.load_program import Plan
from benchmarks.peers.control import Order
from benchmarks.pinning import LOAD_CORE, pinned, processor_seconds
from benchmarks.rivals import Rival, Running

SETTLE_SECONDS = 0.2

ACKS = 5
"""So often listeners say how far they are, for each distance that the publisher may be ahead."""


@dataclass(frozen=True, slots=True)
class Job:
    """`listeners` of everything where there is one topic, or else each of a topic of its own."""

    listeners: int
    topics: int
    phases: dict[str, Order]
    """By name; the first warms up and is not looked at."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one phase: `processor` and `seconds` are in seconds, latencies in milliseconds.
    `load` is what the listeners themselves used."""

    deliveries: int
    seconds: float
    processor: float
    load: float
    p50: float
    p99: float

    @property
    def each(self) -> float:
        """Microseconds of the server's processor for a delivery."""
        return self.processor / self.deliveries * 1e6

    @property
    def rate(self) -> float:
        """Deliveries a second."""
        return self.deliveries / self.seconds

    @property
    def busy(self) -> float:
        """The share of a core that the server used."""
        return self.processor / self.seconds


@dataclass(frozen=True, slots=True)
class Turn:
    """A server's outcomes by phase, and the bytes of memory that it had resident with all
    listeners connected and before anything was sent to them."""

    outcomes: dict[str, Outcome]
    memory: float


Turns = dict[str, dict[str, list[Turn]]]
"""Of each job, by its name, those of each rival, by its name."""


def contest(rivals: Sequence[Rival], jobs: Mapping[str, Job], rounds: int) -> Turns:
    """All servers live from the first turn to the last."""
    chance = random.Random(1)
    found: Turns = {job: {rival.name: [] for rival in rivals} for job in jobs}
    with ExitStack() as stack:
        running = {rival.name: rival.start(stack) for rival in rivals}
        for _ in range(rounds):
            for name, job in jobs.items():
                for rival in chance.sample(rivals, len(rivals)):
                    found[name][rival.name].append(turn(running[rival.name], rival.dialect, job))
    return found


def turn(server: Running, dialect: str, job: Job) -> Turn:
    """All phases, with listeners of their own."""
    try:
        with listening(server, dialect, job) as load:
            settle()
            memory = resident(server.process.pid)
            outcomes = {name: phase(server, load, order) for name, order in job.phases.items()}
    except (RuntimeError, OSError) as error:
        raise RuntimeError(f"{error}\nThe server: {server.process.fate()}") from error
    return Turn(outcomes, memory)


def settle() -> None:
    """Waits until what connecting or disconnecting has left to do is done."""
    time.sleep(SETTLE_SECONDS)


@contextmanager
def listening(server: Running, dialect: str, job: Job) -> Iterator[LineProcess]:
    """The listeners, in a process of their own on the other core."""
    plan = Plan(server.port, dialect, job.listeners, job.topics, server.last)
    command = [sys.executable, "-m", "benchmarks.load_program", json.dumps(asdict(plan))]
    with pinned(LOAD_CORE):
        load = LineProcess(command)
    with load:
        load.first()
        yield load


def phase(server: Running, load: LineProcess, order: Order) -> Outcome:
    """Has `order` published, and returns when every listener has all of it."""
    load.say(begin=order.ahead // ACKS)
    load.first()
    before, begin = processor_seconds(server.process.pid), time.monotonic()
    server.publisher.say(publish=asdict(order))
    while True:
        for _, message in messages(server.publisher, load):
            if "ack" in message:
                server.publisher.say(**message)
            elif "published" in message:
                server.last = message["published"]
                load.say(expect=server.last)
            else:
                return Outcome(
                    deliveries=message["deliveries"],
                    seconds=message["last"] - begin,
                    processor=processor_seconds(server.process.pid) - before,
                    load=message["processor"],
                    p50=message["p50"],
                    p99=message["p99"],
                )


def resident(pid: int) -> float:
    """The bytes of memory that a process has."""
    return float(psutil.Process(pid).memory_info().rss)


def middle(turns: Sequence[Turn], phase_name: str, attribute: str) -> float:
    """The median of all turns."""
    return median(float(getattr(one.outcomes[phase_name], attribute)) for one in turns)
