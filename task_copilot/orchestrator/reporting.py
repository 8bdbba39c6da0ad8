"""What a person, or a program, is told of a run: line by line, as JSON, or live."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Protocol

from task_copilot.clock import system_clock
from task_copilot.commands.common import print_json, say
from task_copilot.orchestrator.machine import Machine
from task_copilot.orchestrator.plan import Planned, is_open
from task_copilot.text import plain

Row = dict[str, Any]


class Reporter(Protocol):
    """Told of all that happens, in order."""

    def happened(self, kind: str, stream_id: str | None, text: str, **fields: Any) -> None:
        """Something happened, to a stream or to the run; `fields` say it to programs."""

    def changed(self) -> None:
        """Something in the summary may have changed."""

    def end(self) -> None:
        """The run is over: the last summary."""


def rows_of(machine: Machine) -> list[Row]:
    """Where each stream of the run stands, for programs."""
    return [
        {
            "streamId": stream_id,
            "streamName": track.stream.name,
            "state": machine.stage(stream_id),
            "totalTasks": track.stream.total,
            "completedTasks": track.stream.completed,
            "progressPercentage": track.stream.progress_percentage,
            "waitsFor": machine.waits_for(stream_id) if is_open(track.stream) else [],
            "blockedReason": track.reason or None,
            "help": track.help,
            "pid": None if track.worker is None else track.worker.pid,
            "launches": track.launches,
            "failures": track.failures,
        }
        for stream_id, track in machine.chosen()
    ]


def summary_of(machine: Machine) -> Row:
    """The run in numbers, and its streams."""
    rows = rows_of(machine)
    states = [row["state"] for row in rows]
    counts = {state: states.count(state) for state in dict.fromkeys(states)}
    return {"complete": machine.complete, "counts": counts, "streams": rows}


class JsonReporter:
    """A line of JSON for each thing that happens; the last one is the summary."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def happened(self, kind: str, stream_id: str | None, text: str, **fields: Any) -> None:
        row = {"at": system_clock(), "happened": kind, "streamId": stream_id, "text": text}
        print_json(_whole({**row, **fields}))

    def changed(self) -> None:
        pass

    def end(self) -> None:
        summary = _whole(summary_of(self._machine))
        print_json({"at": system_clock(), "happened": "summary", **summary})


def _whole(value: Any) -> Any:
    """A value without halves of signs, which names of files may have and JSON cannot."""
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if isinstance(value, list):
        return [_whole(one) for one in value]
    return {name: _whole(one) for name, one in value.items()} if isinstance(value, dict) else value


class LineReporter:
    """A line for each thing that happens, for people, also in a file or a pipe."""

    def __init__(self, machine: Machine, show: Callable[[str], None] = say) -> None:
        self._machine = machine
        self._show = show

    def happened(self, kind: str, stream_id: str | None, text: str, **fields: Any) -> None:  # noqa: ARG002
        self._show(sentence(stream_id, text))

    def changed(self) -> None:
        pass

    def end(self) -> None:
        for line in last_words(self._machine):
            self._show(line)


def sentence(stream_id: str | None, text: str) -> str:
    """A line of what happened, with the time of this machine."""
    moment = f"{datetime.now().astimezone():%H:%M:%S}"
    return plain(f"{moment} {stream_id} {text}" if stream_id else f"{moment} {text}")


def last_words(machine: Machine) -> Iterable[str]:
    """How a run ended: one line, and one for each stream that is not complete."""
    rows = rows_of(machine)
    done = sum(row["state"] == "completed" for row in rows)
    yield f"{done} of {len(rows)} streams are complete."
    for row in rows:
        if row["state"] != "completed":
            yield "  " + plain(f"{row['streamId']}: {_state(row)}")


def _state(row: Mapping[str, Any]) -> str:
    state = row["state"]
    if state == "needs help":
        return f"needs help: {row['help']}"
    if state == "blocked":
        return f"blocked: {row['blockedReason']}"
    if state == "waiting":
        return f"waits for {', '.join(row['waitsFor'])}"
    return f"{state}, {of_tasks(row['completedTasks'], row['totalTasks'])} completed"


def plan_lines(rows: Iterable[Planned]) -> Iterable[str]:
    """A plan for people: a line a stream, in the order of its steps."""
    step = -1
    for row in rows:
        if row.step != step:
            step = row.step
            yield f"step {step}" if step else "nothing to do"
        yield "  " + plain(f"{row.stream.stream_id} {_name(row)}{_work(row)}")


def _name(row: Planned) -> str:
    name, stream_id = row.stream.name, row.stream.stream_id
    return "" if name == stream_id else f"{name} "


def _work(row: Planned) -> str:
    stream = row.stream
    tasks = f"({stream.phase}, {of_tasks(stream.completed, stream.total)} completed)"
    needs = f", waits for {', '.join(row.waits_for)}" if row.waits_for else ""
    blocked = f", {stream.blocked} blocked" if stream.blocked else ""
    return tasks + blocked + needs


def of_tasks(completed: int, total: int) -> str:
    """How many tasks are completed: ``2 of 3 tasks``."""
    return f"{completed} of {total} {'task' if total == 1 else 'tasks'}"


def plan_row(row: Planned, command: list[str], folder: str) -> Row:
    """A plan's line for programs."""
    return {
        "streamId": row.stream.stream_id,
        "streamName": row.stream.name,
        "streamPhase": row.stream.phase,
        "step": row.step,
        "waitsFor": list(row.waits_for),
        "totalTasks": row.stream.total,
        "completedTasks": row.stream.completed,
        "folder": _whole(folder),
        "command": _whole(command),
    }
