"""Calls at a steady rate, whether or not those before are answered."""

import json
import selectors
import time
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from benchmarks.mcp_process import McpProcess, check


class Paced(NamedTuple):
    """When each call was sent and its answer came, in nanoseconds of the monotonic clock."""

    sent: list[int]
    answered: dict[int, int]


def paced(
    servers: Sequence[McpProcess],
    requests: Iterable[bytes],
    per_second: float,
) -> Paced:
    """Sends the requests, whose ids are 0, 1, 2 …, to the servers in turns, and returns when all
    are answered."""
    with selectors.DefaultSelector() as selector:
        for server in servers:
            selector.register(server, selectors.EVENT_READ, server)
        driver = _Driver(selector)
        due = time.monotonic()
        for number, request in enumerate(requests):
            due += 1 / per_second
            driver.read_until(due)
            driver.send(servers[number % len(servers)], request)
        driver.read_the_rest()
    return Paced(driver.sent, driver.answered)


class _Driver:
    def __init__(self, selector: selectors.BaseSelector) -> None:
        self._selector = selector
        self.sent: list[int] = []
        self.answered: dict[int, int] = {}

    def send(self, server: McpProcess, request: bytes) -> None:
        self.sent.append(time.monotonic_ns())
        server.write(request)

    def read_until(self, due: float) -> None:
        while (left := due - time.monotonic()) > 0:
            self._read(left)

    def read_the_rest(self) -> None:
        while len(self.answered) < len(self.sent):
            self._read(1.0)

    def _read(self, seconds: float) -> None:
        for key, _ in self._selector.select(seconds):
            lines = key.data.read_lines()
            moment = time.monotonic_ns()
            check(lines)
            for line in lines:
                self.answered[json.loads(line)["id"]] = moment
