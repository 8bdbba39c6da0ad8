"""What a server with many idle listeners holds in memory."""

import time
from statistics import median

import psutil

from benchmarks.listeners import listeners
from benchmarks.mcp_process import McpProcess
from benchmarks.measures import Measure, Suite, Target, spread
from benchmarks.sandbox import SERVER, sandbox

MEGABYTE = 1e6
SETTLE_SECONDS = 1.0


def run(*, quick: bool) -> list[Measure]:
    """A server anew in each round."""
    rounds, count = (1, 10) if quick else (3, 100)
    found = [_resident(count) for _ in range(rounds)]
    alone, with_listeners = zip(*found, strict=True)
    name = f"resident memory with {count} idle listeners"
    target = Target("<", 150)
    return [
        Measure(name, median(with_listeners), "MB", f"{rounds}", target, spread(with_listeners)),
        Measure("resident memory without listeners", median(alone), "MB", f"{rounds}"),
    ]


def _resident(count: int) -> tuple[float, float]:
    with sandbox() as box, McpProcess(SERVER, box.environment, box.folder) as server:
        server.initialize()
        box.wait_for_hub()
        server.call("task_create", {"title": "Implement the types", "streamId": "Stream-A"})
        process = psutil.Process(server.pid)
        alone = process.memory_info().rss
        with listeners(box, count):
            time.sleep(SETTLE_SECONDS)
            return alone / MEGABYTE, process.memory_info().rss / MEGABYTE


SUITE = Suite("memory", "resident memory with idle listeners", run)
