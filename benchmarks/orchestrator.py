"""An orchestrator as a process of its own, with workers that say when they begin and then wait."""

import json
import os
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from typing import Any

from benchmarks.sandbox import Sandbox

ORCHESTRATE = [str(Path(sys.executable).with_name("task-copilot")), "orchestrate", "--json"]
PATIENCE_SECONDS = 30.0

WORKER = """\
echo "$2 $$" >"$1/begun"
read -r _ <"$1/$2.gate"
"""
"""A shell that says which worker it is before it does anything else, and ends when it is let go."""


class Orchestrator:
    """What its workers and itself have said, with the nanoseconds of the monotonic clock."""

    def __init__(self, process: "subprocess.Popen[str]", folder: Path, begun: int) -> None:
        self.process = process
        self._folder = folder
        self._begun = begun
        self.said: dict[tuple[str, str], int] = {}
        """By what happened and the stream it happened to, when the line that says so came."""
        self._workers: Queue[tuple[str, int]] = Queue()
        for work in (self._read_lines, self._read_workers):
            threading.Thread(target=work, daemon=True).start()

    def next_worker(self) -> tuple[str, int]:
        """The stream whose worker has begun, and when that came here."""
        return self._workers.get(timeout=PATIENCE_SECONDS)

    def wait_until_said(self, happened: str, stream_id: str) -> int:
        """When it said that; raises TimeoutError."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (moment := self.said.get((happened, stream_id))) is None:
            if time.monotonic() > deadline:
                raise TimeoutError(f"the orchestrator did not say {happened} of {stream_id}")
            time.sleep(0.001)
        return moment

    def let_go(self, stream_id: str) -> None:
        """The worker of a stream ends."""
        with (self._folder / f"{stream_id}.gate").open("w") as gate:
            gate.write("\n")

    def _read_lines(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            moment = time.monotonic_ns()
            row: dict[str, Any] = json.loads(line)
            self.said.setdefault((row["happened"], row.get("streamId", "")), moment)

    def _read_workers(self) -> None:
        with os.fdopen(self._begun, buffering=1) as lines:
            for line in lines:
                self._workers.put((line.split()[0], time.monotonic_ns()))


@contextmanager
def orchestrator(
    box: Sandbox, streams: list[str], *options: str, **environment: str
) -> Iterator[Orchestrator]:
    """One that works on `streams`, until the context is left; they have to exist."""
    with _running(box, [*options, "--worker", _worker(box, streams)], environment) as process:
        begun = os.open(box.folder / "begun", os.O_RDWR)  # of two ends, so that it never ends
        yield Orchestrator(process, box.folder, begun)


def _worker(box: Sandbox, streams: list[str]) -> str:
    (box.folder / "worker.sh").write_text(WORKER)
    os.mkfifo(box.folder / "begun")
    for stream_id in streams:
        os.mkfifo(box.folder / f"{stream_id}.gate")
    folder = shlex.quote(str(box.folder))
    return f"/bin/sh {folder}/worker.sh {folder} {{stream}}"


@contextmanager
def _running(
    box: Sandbox, options: list[str], environment: Mapping[str, str]
) -> Iterator["subprocess.Popen[str]"]:
    process: subprocess.Popen[str] = subprocess.Popen(
        [*ORCHESTRATE, *options],
        env=box.environment | dict(environment),
        cwd=box.folder,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()  # which ends the workers too
                try:
                    process.wait(PATIENCE_SECONDS)
                finally:
                    process.kill()
