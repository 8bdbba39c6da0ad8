"""What a status change costs in a large stream, beside a small one."""

import random
from contextlib import ExitStack
from statistics import median

from benchmarks.mcp_process import McpProcess, call_line, each_alone
from benchmarks.measures import Measure, Suite, Target
from benchmarks.sandbox import SERVER, Sandbox, sandbox
from benchmarks.seeding import add_stream, seeding

SMALL = 100
BLOCK = 24
WAYS = (("cancelled", "in_progress", "pending"), ("cancelled", "blocked", "in_progress"))
"""What a task goes through. Where it is blocked, the event names the newest blocked tasks."""


def run(*, quick: bool) -> list[Measure]:
    """Two databases with a server each, which take turns; the tasks are chosen at random."""
    large = 2_000 if quick else 100_000
    blocks = 4 if quick else 60
    with ExitStack() as stack:

        def start(size: int) -> McpProcess:
            box = stack.enter_context(sandbox())
            _seed(box, size)
            server = stack.enter_context(McpProcess(SERVER, box.environment, box.folder))
            server.initialize()
            box.wait_for_hub()
            return server

        servers = {SMALL: start(SMALL), large: start(large)}
        return [measure for way in WAYS for measure in _compare(servers, way, blocks)]


def _seed(box: Sandbox, size: int) -> None:
    with seeding(box) as connection:
        add_stream(connection, "Stream-A", [f"Task {number}" for number in range(size)])


def _compare(servers: dict[int, McpProcess], way: tuple[str, ...], blocks: int) -> list[Measure]:
    chance, how = random.Random(1), ", ".join(way)
    taken: dict[int, list[float]] = {size: [] for size in servers}
    for number in range(blocks + 2):
        for size, server in servers.items():
            found = each_alone(server, _requests(chance, size, way))
            if number >= 2:  # the first two warm up
                taken[size] += found
    small, large = taken
    rounds = f"{blocks} rounds of {BLOCK} calls in turns"
    return [
        Measure(
            f"status change in {large:,} tasks ÷ in {small:,}, {how}",
            median(taken[large]) / median(taken[small]),
            "",
            rounds,
            Target("<=", 1.2),
        ),
        *(
            Measure(f"status change in {size:,} tasks, {how}", median(each) * 1000, "ms", rounds)
            for size, each in taken.items()
        ),
    ]


def _requests(chance: random.Random, size: int, way: tuple[str, ...]) -> list[bytes]:
    """Each of a few tasks all the way, so that every call changes something."""
    found: list[bytes] = []
    while len(found) < BLOCK:
        number = chance.randint(1, size)
        for status in way:
            arguments = {"id": f"TASK-{number}", "status": status}
            found.append(call_line(len(found), "task_update", arguments))
    return found


SUITE = Suite("scale", "status changes in a large stream", run)
