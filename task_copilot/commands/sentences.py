"""A change as one line for people."""

from collections.abc import Iterable
from datetime import datetime

from task_copilot import clock
from task_copilot.commands.changes import ARCHIVED, Change, Payload
from task_copilot.commands.lines import DAY, HOUR, MINUTE
from task_copilot.text import plain, shortened

MILLISECONDS = 1000
LONGEST = 3_000
"""A title and a reason that are as long as they can be have room in it."""

BY_STATUS = {"status", "blockedReason"}
"""Fields whose change is told as a change of the status."""


def sentence(change: Change, now: datetime, *, everywhere: bool = False) -> str:
    """``14:03:12 ada TASK-12 Pay by card: pending → in_progress (Stream-B 25 %)``.

    Local time, with the date where that is another day's than `now`; with the workspace where
    the changes of `everywhere` are shown. Always one line of at most `LONGEST` signs that does
    no harm to a terminal.
    """
    first = change.events[0]
    place = f"{first['workspace']} " if everywhere else ""
    text = f"{moment(first['timestamp'], now)} {place}{first['actor']} {what(change)}"
    return shortened(plain(text), LONGEST)


def what(change: Change) -> str:
    """What happened, to which task or stream."""
    tasks, streams = change.of("task"), change.of("stream")
    if tasks:
        data = tasks[0]["data"]
        aside = f" ({', '.join(_progress(streams))})" if streams else ""
        return f"{data['taskId']} {data['taskTitle']}: {_task(tasks)}{aside}"
    if streams:
        data = streams[0]["data"]
        return f"{stream_label(data['streamId'], data['streamName'])}: {_stream(streams)}"
    (event,) = change.events
    return _checkpoint(event)


def stream_label(stream_id: str, name: str) -> str:
    """Id and name, once where both are the same."""
    return stream_id if name in {stream_id, ""} else f"{stream_id} {name}"


def moment(timestamp: str, now: datetime) -> str:
    """``14:03:12`` by the clock on the wall, with the date of another day."""
    local = clock.parse(timestamp).astimezone()
    same_day = local.date() == now.astimezone().date()
    return local.strftime("%H:%M:%S" if same_day else "%Y-%m-%d %H:%M:%S")


def span(seconds: float) -> str:
    """``40 s``, ``3 min``, ``2 h``, ``5 days``."""
    seconds = max(0.0, seconds)
    if seconds < MINUTE:
        return f"{int(seconds)} s"
    if seconds < HOUR:
        return f"{int(seconds // MINUTE)} min"
    if seconds < 2 * DAY:
        return f"{int(seconds // HOUR)} h"
    return f"{int(seconds // DAY)} days"


def percent(percentage: float) -> str:
    """Whole percent, never more than there are: only what is done is 100 %."""
    return f"{int(percentage)} %"


def _task(events: list[Payload]) -> str:
    data = events[-1]["data"]
    types = {event["eventType"] for event in events}
    parts = []
    if "task.created" in types:
        agent = data["assignedAgent"]
        parts.append(f"created for {agent}" if agent else "created")
    elif data["oldStatus"] != data["newStatus"]:
        parts.append(f"{data['oldStatus']} → {data['newStatus']}{_why_or_after(data)}")
    for event in events:
        parts += _fields(event)
    return ", ".join(parts) or "changed"


def _why_or_after(data: Payload) -> str:
    if data["newStatus"] == "blocked":
        return f": {data['blockedReason']}" if data["blockedReason"] else ""
    if data.get("duration") is not None:
        return f" after {span(data['duration'] / MILLISECONDS)}"
    return ""


def _fields(event: Payload) -> list[str]:
    """What else an event of a task says."""
    data = event["data"]
    if event["eventType"] == "task.redacted":
        return [f"redacted {' '.join(data['fields'])}"]
    if event["eventType"] != "task.updated":
        return []
    new = {change["field"]: change["newValue"] for change in data["changes"]}
    found = []
    if "assignedAgent" in new:
        found.append(f"assigned to {data['assignedAgent'] or 'nobody'}")
    if "streamId" in new:
        found.append(f"moved to {data['streamId']}" if data["streamId"] else "left its stream")
    if "blockedReason" in new and data["oldStatus"] == data["newStatus"] == "blocked":
        found.append(f"blocked: {data['blockedReason']}")
    others = [field for field in new if field not in {*BY_STATUS, "assignedAgent", "streamId"}]
    return [*found, *([f"changed {' '.join(others)}"] if others else [])]


def _progress(events: list[Payload]) -> Iterable[str]:
    """``Stream-B 25 %, started`` for each stream that a task's change has moved."""
    of_each: dict[str, list[Payload]] = {}
    for event in events:
        of_each.setdefault(event["data"]["streamId"], []).append(event)
    for stream_id, found in of_each.items():
        data = found[-1]["data"]
        types = {event["eventType"] for event in found}
        said = [f"{stream_id} {percent(data['progressPercentage'])}"]
        said += [word for word in ("started", "completed") if f"stream.{word}" in types]
        if data["blockedTasks"]:
            said.append(f"{data['blockedTasks']} blocked")
        yield ", ".join(said)


def _stream(events: list[Payload]) -> str:
    if events[0]["eventType"] == ARCHIVED:
        return "archived"
    (text,) = _progress(events)
    data = events[-1]["data"]
    reason = next((e["data"]["blockedReason"] for e in events if "blockedReason" in e["data"]), "")
    duration = data.get("duration")
    after = "" if duration is None else f" after {span(duration / MILLISECONDS)}"
    text = text.removeprefix(f"{data['streamId']} ")
    return f"{text}{after}{f': {reason}' if reason else ''}"


def _checkpoint(event: Payload) -> str:
    data = event["data"]
    done = str(event["eventType"]).partition(".")[2]
    trigger = f" ({data['trigger']})" if "trigger" in data else ""
    return (
        f"{data['taskId']} {data['taskTitle']}: checkpoint {data['checkpointId']} {done}{trigger}"
    )
