"""What servers use of a processor while nothing happens."""

import time
from contextlib import ExitStack

import psutil

from benchmarks.cluster import start_cluster
from benchmarks.mcp_process import McpProcess
from benchmarks.measures import Measure, Suite, Target
from benchmarks.sandbox import sandbox

SETTLE_SECONDS = 5.0


def run(*, quick: bool) -> list[Measure]:
    """A hub without listeners and another process, at the same time, by their own account."""
    seconds, settle = (3.0, 1.0) if quick else (30.0, SETTLE_SECONDS)
    with ExitStack() as stack:
        box = stack.enter_context(sandbox())
        servers = start_cluster(stack, box, 2)
        time.sleep(settle)
        before = [_cpu_seconds(server) for server in servers]
        start = time.perf_counter()
        time.sleep(seconds)
        used = [_cpu_seconds(server) for server in servers]
        passed = time.perf_counter() - start
    hub, other = ((b - a) / passed * 100 for a, b in zip(before, used, strict=True))
    rounds = f"{seconds:.0f} s"
    return [
        Measure("an idle hub, of a core", hub, "%", rounds, Target("<", 1)),
        Measure("another idle process, of a core", other, "%", rounds, Target("<", 0.3)),
    ]


def _cpu_seconds(server: McpProcess) -> float:
    times = psutil.Process(server.pid).cpu_times()
    return float(times.user + times.system)


SUITE = Suite("idle", "processor time while nothing happens", run)
