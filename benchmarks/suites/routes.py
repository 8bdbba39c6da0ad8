"""How long the reading routes take with many streams and tasks."""

import time
from contextlib import ExitStack
from http.client import HTTPConnection

from benchmarks.mcp_process import McpProcess
from benchmarks.measures import Measure, Suite, Target, percentile
from benchmarks.sandbox import SERVER, sandbox
from benchmarks.seeding import add_stream, seeding

PATHS = (
    "/api/streams?limit=100",
    "/api/streams",
    "/api/streams/{stream}",
    "/api/streams/{stream}/health",
    "/api/tasks?limit=100",
    "/api/tasks?status=blocked&limit=100",
    "/api/tasks?streamId={stream}&limit=100",
    "/api/tasks/{task}",
    "/api/activity",
    "/api/workspaces",
    "/api/overview",
    "/api/completions",
)
LISTS_OF_100 = ("/api/streams?limit=100", "/api/tasks?", "/api/streams/Stream-")


def run(*, quick: bool) -> list[Measure]:
    """Requests one after the other on a kept connection, from another process."""
    streams, tasks_each, calls = (20, 10, 20) if quick else (1000, 100, 300)
    with ExitStack() as stack:
        box = stack.enter_context(sandbox())
        with seeding(box) as connection:
            for number in range(streams):
                titles = [f"Task {number} {place}" for place in range(tasks_each)]
                add_stream(connection, f"Stream-{number}", titles)
        environment = box.environment | {"TASK_COPILOT_MAX_REQUEST_RATE": "1000000"}
        server = stack.enter_context(McpProcess(SERVER, environment, box.folder))
        server.initialize()
        box.wait_for_hub()
        client = HTTPConnection("127.0.0.1", box.port, timeout=30)
        stack.callback(client.close)
        middle = {"stream": f"Stream-{streams // 2}", "task": streams * tasks_each // 2}
        paths = [path.format(**middle) for path in PATHS]
        measures = [_timed(client, path, calls) for path in paths]
        return [*measures, _unchanged(client, calls)]


def _timed(client: HTTPConnection, path: str, calls: int) -> Measure:
    taken = [_request(client, path, {})[0] for _ in range(calls)]
    limited = path.startswith(LISTS_OF_100)
    return Measure(
        f"GET {path}, p99",
        percentile(taken, 99) * 1000,
        "ms",
        f"{calls} calls",
        Target("<", 50) if limited else None,
    )


def _unchanged(client: HTTPConnection, calls: int) -> Measure:
    path = "/api/tasks?limit=100"
    _taken, etag = _request(client, path, {})
    taken = [_request(client, path, {"If-None-Match": etag}, 304)[0] for _ in range(calls)]
    return Measure(
        "the same unchanged, answered with 304, p99",
        percentile(taken, 99) * 1000,
        "ms",
        f"{calls} calls",
        Target("<", 2),
    )


def _request(
    client: HTTPConnection, path: str, headers: dict[str, str], status: int = 200
) -> tuple[float, str]:
    before = time.perf_counter()
    client.request("GET", path, headers=headers)
    answer = client.getresponse()
    answer.read()
    taken = time.perf_counter() - before
    if answer.status != status:
        raise RuntimeError(f"{path} answered {answer.status}")
    return taken, answer.headers.get("ETag", "")


SUITE = Suite("routes", "the reading routes with 1,000 streams and 100,000 tasks", run)
