"""A crowd of listeners in a process of its own."""

import json
import select
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from benchmarks.machine import ROOT
from benchmarks.sandbox import Sandbox


class Arrivals(NamedTuple):
    """When each event after `begin` came to one listener; none is missing."""

    begin: int
    moments: Sequence[int]

    def by_seq(self) -> Iterator[tuple[int, int]]:
        """The number of each event, and when it came."""
        return enumerate(self.moments, self.begin + 1)


class Crowd:
    """The process; made by `crowd`."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._in, self._out = process.stdin, process.stdout

    def expect(self, seq: int) -> None:
        """Asks to be told when every listener has the event."""
        self._in.write(f"{seq}\n")
        self._in.flush()

    def is_there(self) -> bool:
        """Whether every listener has what was expected; or has failed."""
        return bool(select.select([self._out], [], [], 0)[0])

    def wait(self) -> None:
        """Returns when every listener has what was expected; raises RuntimeError if one fails."""
        if not self._out.readline():
            raise RuntimeError("the listeners have failed; why is on stderr")

    def wait_for(self, seq: int) -> None:
        """Returns when every listener has the event."""
        self.expect(seq)
        self.wait()

    def arrivals(self) -> list[Arrivals]:
        """Ends the process; what came to each listener."""
        self._in.close()
        rows = [[int(one) for one in row.split()] for row in self._out.read().splitlines()]
        return [Arrivals(begin, moments) for begin, *moments in rows]


@contextmanager
def crowd(sandbox: Sandbox, count: int, **subscribe: Any) -> Iterator[Crowd]:
    """As many listeners on the hub of `sandbox`, all subscribed to everything and `subscribe`."""
    payload = json.dumps({"topics": ["*"], **subscribe})
    command = [sys.executable, "-m", "benchmarks.crowd_program"]
    process: subprocess.Popen[str] = subprocess.Popen(
        [*command, str(sandbox.port), str(count), payload],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    with process:
        try:
            found = Crowd(process)
            found.wait()  # it says that it is ready
            yield found
        finally:
            process.kill()
