"""From the commit that completes a stream to the worker of the stream that waited for it."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from statistics import median

import psutil

from benchmarks.commit_clock import CLOCKED_SERVER, CommitClock
from benchmarks.mcp_process import McpProcess
from benchmarks.measures import Measure, Suite, Target, spread
from benchmarks.orchestrator import Orchestrator, orchestrator
from benchmarks.relay import relay
from benchmarks.sandbox import Sandbox, sandbox

MEDIAN, WORST = Target("<", 50), Target("<", 1000)
SETTLE_SECONDS = 0.1
HUB = "127.0.0.2"
"""Where the hub listens while requests are counted, since the relay has its usual address."""

WORKERS = 5


def run(*, quick: bool) -> list[Measure]:
    """A chain of streams, each completed by another process than the orchestrator; then workers
    that do nothing."""
    dependents, seconds = (3, 1.0) if quick else (60, 10.0)
    return [
        *_starts(dependents, serves=True),
        *_starts(dependents, serves=False),
        *_idle(seconds),
    ]


def _starts(dependents: int, *, serves: bool) -> Iterator[Measure]:
    where = "the orchestrator is the hub" if serves else "another process is the hub"
    said, begun = _chain(dependents, serves=serves)
    rounds = f"{dependents} dependents, {where}"
    for what, taken in (("'started' is said", said), ("its first instruction", begun)):
        name = f"commit that completes a stream to its dependent: {what}"
        yield Measure(f"{name}, median", median(taken), "ms", rounds, MEDIAN, spread(taken))
        yield Measure(f"{name}, worst", max(taken), "ms", rounds, WORST)


def _chain(dependents: int, *, serves: bool) -> tuple[list[float], list[float]]:
    """Milliseconds until the orchestrator says that a dependent has started, and until its worker
    has been heard of."""
    streams = [f"Stream-{number}" for number in range(dependents + 1)]
    with ExitStack() as stack:
        box = stack.enter_context(sandbox())
        if serves:
            with _server(box) as first:
                tasks = _make_chain(first, streams)
                first.terminate()
            own = stack.enter_context(orchestrator(box, streams))
            own.next_worker()
            server = stack.enter_context(_server(box))
        else:
            server = stack.enter_context(_server(box))
            tasks = _make_chain(server, streams)
            own = stack.enter_context(orchestrator(box, streams))
            own.next_worker()
        box.wait_for_hub(listeners=1)
        clock = CommitClock(box)
        begun, last = _complete(server, own, streams, tasks, clock)
        commits = clock.moments()
        own.process.wait()
    pairs = list(zip(last, streams[1:], strict=True))
    return (
        [(own.said["started", one] - commits[head]) / 1e6 for head, one in pairs],
        [(begun[one] - commits[head]) / 1e6 for head, one in pairs],
    )


def _complete(
    server: McpProcess,
    own: Orchestrator,
    streams: list[str],
    tasks: dict[str, str],
    clock: CommitClock,
) -> tuple[dict[str, int], list[int]]:
    """Completes one stream after the other; when each dependent's worker began, and the last event
    of each commit that it had waited for."""
    begun: dict[str, int] = {}
    heads = []
    for stream_id, dependent in zip(streams, [*streams[1:], None], strict=True):
        time.sleep(SETTLE_SECONDS)
        server.call("task_update", {"id": tasks[stream_id], "status": "completed"})
        if dependent is not None:
            stream_begun, moment = own.next_worker()
            assert stream_begun == dependent, "the wrong worker has begun"
            begun[dependent] = moment
            own.wait_until_said("started", dependent)
            heads.append(clock.head())
        own.let_go(stream_id)
    return begun, heads


def _idle(seconds: float) -> Iterator[Measure]:
    """What the orchestrator uses, and asks for, while its workers work and say nothing."""
    streams = [f"Stream-{number}" for number in range(WORKERS)]
    with ExitStack() as stack:
        box = stack.enter_context(sandbox())
        counter = stack.enter_context(relay(box.port, HUB))
        server = stack.enter_context(_server(box, TASK_COPILOT_HOST=HUB))
        for stream_id in streams:
            server.call("task_create", {"title": "Implement the types", "streamId": stream_id})
        address = f"http://127.0.0.1:{box.port}"
        own = stack.enter_context(orchestrator(box, streams, "--url", address))
        for _ in streams:
            own.next_worker()
        box.wait_for_hub(listeners=1)
        time.sleep(1 + SETTLE_SECONDS)
        process = psutil.Process(own.process.pid)
        start, before, asked = time.perf_counter(), _cpu_seconds(process), counter.requests
        time.sleep(seconds)
        passed, after, now = time.perf_counter() - start, _cpu_seconds(process), counter.requests
    used = (after - before) / passed * 100
    rounds = f"{seconds:.0f} s with {WORKERS} workers"
    yield Measure("an idle orchestrator, of a core", used, "%", rounds, Target("<", 1))
    yield Measure("HTTP requests of it", now - asked, "", rounds, Target("==", 0))


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return round(times.user + times.system, 3)


def _make_chain(server: McpProcess, streams: list[str]) -> dict[str, str]:
    """A task in each stream, and each stream needs the one before; the tasks by their streams."""
    found = {}
    for number, stream_id in enumerate(streams):
        fields = {
            "title": "Implement the types",
            "streamId": stream_id,
            "streamDependencies": streams[max(0, number - 1) : number],
        }
        server.call("task_create", fields)
        found[stream_id] = f"TASK-{number + 1}"
    return found


def _server(box: Sandbox, **environment: str) -> McpProcess:
    server = McpProcess(CLOCKED_SERVER, box.environment | environment, box.folder)
    server.initialize()
    return server


SUITE = Suite("orchestrate", "a stream completes: the worker of its dependent starts", run)
