"""Where the hub's processor time goes while it delivers, by function.

Events are handed to its bus, so that it is delivery alone: see the suite `peers`.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from benchmarks.contest import Job, turn
from benchmarks.line_process import LineProcess
from benchmarks.measures import Cell, Measure, Suite
from benchmarks.peers.control import Order
from benchmarks.pinning import SERVER_CORE, pinned
from benchmarks.rivals import Running
from benchmarks.sampling import SAMPLES
from benchmarks.sandbox import Sandbox, sandbox

SHOWN = 12
UNBOUNDED = 1_000_000_000


def run(*, quick: bool) -> list[Measure]:
    """Each load has a hub of its own."""
    listeners, seconds = (10, 0.3) if quick else (100, 10.0)
    loads = {
        f"every event to {listeners} listeners, 200 events/s": Order(
            UNBOUNDED, seconds, 200, 0, 100, 1
        ),
        f"every event to {listeners} listeners, as fast as it goes": Order(
            UNBOUNDED, seconds, 0, 100, 1, 1
        ),
        f"a topic of its own for each of {listeners} listeners, 2,000 events/s": Order(
            UNBOUNDED, seconds, 2_000, 0, 100, listeners
        ),
    }
    return [
        measure
        for name, order in loads.items()
        for measure in _shown(name, *_sampled(Job(listeners, order.topics, {"all": order})))
    ]


def _sampled(job: Job) -> tuple[dict[str, int], dict[str, int]]:
    """Samples by function, alone and with all that it called."""
    with ExitStack() as stack:
        box = stack.enter_context(sandbox())
        samples = box.folder / "samples.json"
        with pinned(SERVER_CORE):
            hub = stack.enter_context(_hub(box, samples))
        turn(Running(hub.first()["port"], hub, hub), "task_copilot", job)
        hub.finish()
        found = json.loads(samples.read_text(encoding="utf-8"))
    return found["alone"], found["whole"]


def _hub(box: Sandbox, samples: Path) -> LineProcess:
    command = [sys.executable, "-m", "benchmarks.peers.hub_in_memory"]
    return LineProcess(command, {**box.environment, SAMPLES: str(samples)})


def _shown(load: str, alone: dict[str, int], whole: dict[str, int]) -> Iterator[Measure]:
    """The functions that take most; time in C is that of the function that called it."""
    total = sum(alone.values())
    yield Measure(f"looks at the stack, {load}", total, "", "1")
    for function in list(alone)[:SHOWN]:
        cell = Cell(load, function)
        yield Measure("alone", 100 * alone[function] / total, "%", "1", cell=cell)
        yield Measure("with what it calls", 100 * whole[function] / total, "%", "1", cell=cell)


SUITE = Suite("profile", "where the hub's processor time goes", run)
