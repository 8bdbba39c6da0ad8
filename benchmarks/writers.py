"""Processes that all write to one database at the same time."""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from benchmarks.machine import ROOT

BARE = 0
"""Instead of a number of changes: bare commits, see `writer_program`."""

Process = subprocess.Popen[str]


class Written(NamedTuple):
    """What came of one round: for each process, the milliseconds that each operation took."""

    seconds: float
    waits: list[list[float]]

    @property
    def rate(self) -> float:
        """Operations a second of all together."""
        return sum(map(len, self.waits)) / self.seconds

    @property
    def longest(self) -> float:
        """The longest wait of an operation, in ms."""
        return max(max(each, default=self.seconds * 1000) for each in self.waits)

    @property
    def fairness(self) -> float:
        """What the slowest process wrote ÷ what the fastest did."""
        counts = [len(each) for each in self.waits]
        return min(counts) / max(1, *counts)

    @property
    def all_waits(self) -> list[float]:
        """Of all processes."""
        return [wait for each in self.waits for wait in each]


class Writers:
    """The processes; made by `writers`."""

    def __init__(self, processes: Sequence[Process]) -> None:
        self._processes = processes

    def write(self, count: int, in_flight: int, seconds: float) -> Written:
        """Lets the first `count` processes write, with so many operations under way in each."""
        chosen = self._processes[:count]
        for process in chosen:
            assert process.stdin is not None
            process.stdin.write(f"{in_flight} {seconds}\n")
            process.stdin.flush()
        return Written(seconds, [json.loads(_line(process)) for process in chosen])


@contextmanager
def writers(url: str, count: int) -> Iterator[Writers]:
    """As many processes on the database at `url`, ready to write."""
    command = [sys.executable, "-m", "benchmarks.writer_program", url]
    with ExitStack() as stack:
        processes: list[Process] = []
        for _ in range(count):
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            processes.append(process)
        for process in processes:
            _line(process)
        yield Writers(processes)


def _line(process: Process) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError("a process that writes has failed; why is on stderr")
    return line
