"""What processes get that all write as fast as they can."""

import selectors
import time
from contextlib import ExitStack
from itertools import count

from benchmarks.cluster import start_cluster
from benchmarks.mcp_process import McpProcess, call_line
from benchmarks.measures import Measure, Suite, Target, percentile, spread
from benchmarks.sandbox import sandbox

PROCESSES = 8
STATUSES = ("in_progress", "pending")
IS_ERROR = (b'"isError":true', b'"error":')


class _Lane:
    """One process, which gets its next call when the one before is answered."""

    def __init__(self, server: McpProcess, task: int) -> None:
        self._server = server
        self._task = task
        self._numbers = count()
        self._sent = 0.0
        self.waits: list[float] = []
        self.errors = 0

    def send(self) -> None:
        """Flips the status of a task of its own."""
        number = next(self._numbers)
        arguments = {"id": f"TASK-{self._task}", "status": STATUSES[number % 2]}
        request = call_line(number, "task_update", arguments)
        self._sent = time.perf_counter()
        self._server.write(request)

    def read(self) -> None:
        """Takes the answer."""
        answer = self._server.read_line()
        self.waits.append(time.perf_counter() - self._sent)
        self.errors += any(sign in answer for sign in IS_ERROR)


def run(*, quick: bool) -> list[Measure]:
    """Eight servers on one database, of which one is the hub; a call each is always under way."""
    seconds = 1.0 if quick else 10.0
    with ExitStack() as stack:
        box = stack.enter_context(sandbox())
        servers = start_cluster(stack, box, PROCESSES)
        lanes = [_Lane(server, place) for place, server in enumerate(servers, 1)]
        _drive(dict(zip(servers, lanes, strict=True)), seconds)
    return _shown(lanes, seconds)


def _drive(lanes: dict[McpProcess, _Lane], seconds: float) -> None:
    with selectors.DefaultSelector() as selector:
        for server, lane in lanes.items():
            selector.register(server, selectors.EVENT_READ, lane)
            lane.send()
        deadline = time.perf_counter() + seconds
        while selector.get_map():
            for key, _ in selector.select():
                key.data.read()
                if time.perf_counter() < deadline:
                    key.data.send()
                else:
                    selector.unregister(key.fileobj)


def _shown(lanes: list[_Lane], seconds: float) -> list[Measure]:
    waits = [wait * 1000 for lane in lanes for wait in lane.waits]
    made = [len(lane.waits) for lane in lanes]
    failed = sum(lane.errors for lane in lanes)
    rounds = f"{PROCESSES} processes for {seconds:.0f} s"
    return [
        Measure("calls that failed", failed, "", rounds, Target("==", 0)),
        Measure("longest wait of a call", max(waits), "ms", rounds, Target("<", 500)),
        Measure(
            "calls of the slowest process ÷ of the fastest",
            min(made) / max(made),
            "",
            rounds,
            Target(">=", 1 / 3),
            f"{spread(made)} calls; the hub {made[0]:,}",
        ),
        Measure("wait of a call, p50", percentile(waits, 50), "ms", rounds),
        Measure("wait of a call, p99", percentile(waits, 99), "ms", rounds),
        Measure("calls of all together", sum(made) / seconds, "/s", rounds),
    ]


SUITE = Suite("fairness", "processes that write at the same time", run)
