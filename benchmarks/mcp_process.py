"""A server as a child process, driven by raw JSON-RPC lines that are made before the clock runs.

Blocking and without threads, so that the driver costs the measured server as little as it can.
"""

import json
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.child import Child

PROTOCOL = "2025-11-25"
CLIENT = {"name": "bench", "version": "1"}
LIFE_SECONDS = 600.0
"""A server that is asked for longer than any measurement takes is killed, which ends the run with
an error: reads of its answers wait without an end."""

CHUNK_BYTES = 1 << 18


def line(request_id: int, method: str, params: Mapping[str, Any] | None = None) -> bytes:
    """A request as it goes over the wire."""
    message = {"jsonrpc": "2.0", "id": request_id, "method": method, "params": dict(params or {})}
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def call_line(request_id: int, tool: str, arguments: Mapping[str, Any]) -> bytes:
    """A tool call as it goes over the wire."""
    return line(request_id, "tools/call", {"name": tool, "arguments": dict(arguments)})


INITIALIZE = line(
    0,
    "initialize",
    {"protocolVersion": PROTOCOL, "capabilities": {}, "clientInfo": CLIENT},
)
INITIALIZED = b'{"jsonrpc":"2.0","method":"notifications/initialized"}\n'


class McpProcess(Child):
    """Started at once; leaving the context ends it."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], folder: Path
    ) -> None:
        super().__init__(command, environment, folder)
        self._lines: deque[bytes] = deque()
        self._partial = b""
        self._last_id = 1_000_000
        self._watchdog = threading.Timer(LIFE_SECONDS, self.process.kill)
        self._watchdog.daemon = True
        self._watchdog.start()

    def __exit__(self, *exception: object) -> None:
        self._watchdog.cancel()
        super().__exit__(*exception)

    def write(self, data: bytes) -> None:
        """Writes all of `data`."""
        with memoryview(data) as view:
            done = 0
            while done < len(view):
                done += os.write(self._in, view[done:])

    def read_lines(self) -> list[bytes]:
        """The answers that have come, at least one; raises RuntimeError when none will."""
        while not self._lines:
            chunk = os.read(self._out, CHUNK_BYTES)
            if not chunk:
                raise RuntimeError(f"no answer comes: {self.fate()}")
            *complete, self._partial = (self._partial + chunk).split(b"\n")
            self._lines.extend(complete)
        found = list(self._lines)
        self._lines.clear()
        return found

    def read_line(self) -> bytes:
        """The next answer."""
        first, *rest = self.read_lines()
        self._lines.extend(rest)
        return first

    def initialize(self) -> None:
        """The handshake."""
        self.write(INITIALIZE)
        self.read_line()
        self.write(INITIALIZED)

    def request(self, method: str, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The result of a request; for what is not timed."""
        self._last_id += 1
        self.write(line(self._last_id, method, params))
        answer = json.loads(self.read_line())
        if "result" not in answer:
            raise RuntimeError(f"{method}: {answer}")
        result: dict[str, Any] = answer["result"]
        return result

    def call(self, tool: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The result of a tool call that must not fail; for what is not timed."""
        result = self.request("tools/call", {"name": tool, "arguments": dict(arguments)})
        if result.get("isError"):
            raise RuntimeError(f"{tool}: {result}")
        return result

    def text(self, tool: str, arguments: Mapping[str, Any]) -> str:
        """What a model reads of a tool's answer."""
        return str(self.call(tool, arguments)["content"][0]["text"])

    def terminate(self) -> float:
        """Asks the server to end, and returns the seconds until it has."""
        start = time.perf_counter()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()
        return time.perf_counter() - start


def each_alone(server: McpProcess, requests: Iterable[bytes]) -> list[float]:
    """Seconds of each request, each sent when the one before is answered."""
    taken, answers = [], []
    for request in requests:
        start = time.perf_counter()
        server.write(request)
        answers.append(server.read_line())
        taken.append(time.perf_counter() - start)
    check(answers)
    return taken


def side_by_side(server: McpProcess, lanes: Sequence[Sequence[bytes]]) -> float:
    """Requests a second with one of each lane under way.

    The id of a request, modulo the number of lanes, is the number of its lane.
    """
    waiting = [iter(lane) for lane in lanes]
    total = sum(len(lane) for lane in lanes)
    answers: list[bytes] = []
    start = time.perf_counter()
    server.write(b"".join(next(lane) for lane in waiting))
    while len(answers) < total:
        found = server.read_lines()
        answers += found
        following = (next(waiting[json.loads(one)["id"] % len(lanes)], b"") for one in found)
        server.write(b"".join(following))
    taken = time.perf_counter() - start
    check(answers)
    return total / taken


def check(answers: Iterable[bytes]) -> None:
    """Raises RuntimeError if one of the answers is an error."""
    for answer in answers:
        if b'"isError":true' in answer or b'"error":' in answer[:60]:
            raise RuntimeError(f"a measured call has failed: {answer.decode()[:500]}")
