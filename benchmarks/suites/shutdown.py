"""From SIGTERM to the end of the process."""

from contextlib import ExitStack
from statistics import median

from benchmarks.listeners import listeners
from benchmarks.mcp_process import McpProcess
from benchmarks.measures import Measure, Suite, Target
from benchmarks.sandbox import SERVER, sandbox


def run(*, quick: bool) -> list[Measure]:
    """Each time a server that has written and serves events."""
    times = 2 if quick else 15
    found = []
    for count in (0, 20):
        taken = [_terminate(count) * 1000 for _ in range(times)]
        for how, value in (("median", median(taken)), ("longest", max(taken))):
            name = f"SIGTERM to exit with {count} listeners, {how}"
            found.append(Measure(name, value, "ms", f"{times} servers", Target("<", 300)))
    return found


def _terminate(count: int) -> float:
    with ExitStack() as stack:
        box = stack.enter_context(sandbox())
        server = stack.enter_context(McpProcess(SERVER, box.environment, box.folder))
        server.initialize()
        box.wait_for_hub()
        server.call("task_create", {"title": "Implement the types", "streamId": "Stream-A"})
        if count:
            stack.enter_context(listeners(box, count))
        return server.terminate()


SUITE = Suite("shutdown", "SIGTERM to exit", run)
