"""The program itself, which also notes when a call passes its stations: for calls in turn.

Run by path, with the file for the notes in the environment variable `STATIONS`. A note is a line
of JSON for each call that is committed: the nanoseconds of the monotonic clock by station. It is
written once the answer is, and the stations cost the call some 5 µs.
"""

import json
import os
import time
from inspect import iscoroutinefunction
from typing import Any

from task_copilot import cli
from task_copilot.database import sqlite
from task_copilot.database.committer import Committer
from task_copilot.database.writer import Writer
from task_copilot.stdio.transport import StdioTransport
from task_copilot.tools import adapter

STATIONS = "BENCH_STATIONS"

RECEIVED, CALLED, QUEUED, TAKEN, BEGUN = "received", "called", "queued", "taken", "begun"
CARRIED_OUT, COMMITTED, BACK, TOLD, ANSWERED = (
    *("carried out", "committed", "back", "told", "answered"),
)
IN_ORDER = (
    *(RECEIVED, CALLED, QUEUED, TAKEN, BEGUN),
    *(CARRIED_OUT, COMMITTED, BACK, TOLD, ANSWERED),
)

_passed: dict[str, int] = {}


def passes(station: str) -> None:
    """The call under way is there now."""
    _passed[station] = time.monotonic_ns()


def _note(owner: Any, name: str, before: str | None = None, behind: str | None = None) -> None:
    """From now on the function notes that a call is there, before and behind it."""
    function = getattr(owner, name)

    def noted(*arguments: Any) -> Any:
        if before is not None:
            passes(before)
        result = function(*arguments)
        if behind is not None:
            passes(behind)
        return result

    async def noted_when_done(*arguments: Any) -> Any:
        if before is not None:
            passes(before)
        result = await function(*arguments)
        if behind is not None:
            passes(behind)
        return result

    setattr(owner, name, noted_when_done if iscoroutinefunction(function) else noted)


def note_stations(path: str) -> None:
    """Notes each call of this process in the file, as soon as it is answered."""
    _note(StdioTransport, "_on_chunk", RECEIVED)
    _note(adapter, "call", CALLED)
    _note(Writer, "run", QUEUED, TOLD)
    _note(Committer, "commit", TAKEN)
    _note(sqlite, "begin", behind=BEGUN)
    _note(sqlite, "commit", CARRIED_OUT, COMMITTED)
    _note(Writer, "_finish", BACK)
    _note(StdioTransport, "_write", behind=ANSWERED)
    _keep(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))


def _keep(notes: int) -> None:
    name = "_write"
    write = getattr(StdioTransport, name)

    def kept(*arguments: Any) -> None:
        write(*arguments)
        if COMMITTED in _passed:
            os.write(notes, json.dumps(_passed).encode() + b"\n")
        _passed.clear()

    setattr(StdioTransport, name, kept)


if __name__ == "__main__":
    note_stations(os.environ[STATIONS])
    cli.main()
