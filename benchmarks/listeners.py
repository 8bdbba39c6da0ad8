"""Listeners in a process of their own."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.machine import ROOT
from benchmarks.sandbox import Sandbox


class Listeners:
    """A process of listeners that are all subscribed to everything."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def frames(self) -> list[tuple[int, str]]:
        """Ends the process; what its first listener got, with the nanoseconds of arrival."""
        output, _ = self._process.communicate(timeout=60)
        rows = [row.partition(" ") for row in output.splitlines()]
        return [(int(moment), frame) for moment, _, frame in rows]


@contextmanager
def listeners(sandbox: Sandbox, count: int) -> Iterator[Listeners]:
    """As many listeners on the hub of `sandbox`, connected by the time the context is entered."""
    command = [sys.executable, "-m", "benchmarks.listener_program", sandbox.events_url, str(count)]
    process: subprocess.Popen[str] = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    with process:
        try:
            _expect_ready(process)
            sandbox.wait_for_hub(listeners=count)
            yield Listeners(process)
        finally:
            process.kill()


def _expect_ready(process: "subprocess.Popen[Any]") -> None:
    assert process.stdout is not None
    if process.stdout.readline().strip() != "ready":
        raise RuntimeError("the listeners could not connect")
