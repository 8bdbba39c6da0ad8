"""Example events and messages: they agree with their schemas and with each other."""

from typing import Any

from task_copilot.description.schemas import example
from task_copilot.description.words import NOW, example_of
from task_copilot.events.messages import CLIENT_MESSAGES, SERVER_MESSAGES
from task_copilot.events.types import EVENT_CLASSES, Event

TASK_DEFAULTS: dict[str, Any] = {"blockedReason": None}

DIFFERENT: dict[str, dict[str, Any]] = {
    "task.created": {"oldStatus": None, "newStatus": "pending"},
    "task.blocked": {
        "oldStatus": "in_progress",
        "newStatus": "blocked",
        "blockedReason": "needs the cart",
    },
    "task.completed": {"oldStatus": "in_progress", "newStatus": "completed"},
    "stream.completed": {
        "completedTasks": 4,
        "inProgressTasks": 0,
        "pendingTasks": 0,
        "progressPercentage": 100.0,
        "status": "completed",
    },
    "stream.blocked": {"inProgressTasks": 0, "blockedTasks": 1, "status": "blocked"},
}


def event(event_class: type[Event]) -> dict[str, Any]:
    """The payload of an event of this type."""
    data = example(event_class)
    if event_class.kind == "task":
        data |= TASK_DEFAULTS
    data |= DIFFERENT.get(event_class.event_type, {})
    topic_id = data["streamId" if event_class.kind == "stream" else "taskId"]
    return {
        "seq": 97,
        "topic": f"{event_class.kind}:{topic_id}",
        "eventType": event_class.event_type,
        "workspace": data["workspace"],
        "actor": "ada",
        "timestamp": NOW,
        "data": data,
    }


def from_client(kind: str) -> dict[str, Any]:
    """A message of a client."""
    payload = example(CLIENT_MESSAGES[kind])
    if kind == "subscribe":
        payload = {name: example_of(name) for name in ("topics", "since", "epoch")}
    message: dict[str, Any] = {"type": kind, "payload": payload}
    return message if kind == "pong" else {**message, "id": "1"}


def from_server(kind: str) -> dict[str, Any]:
    """A message of the server; not for events."""
    payload = {} if kind == "events" else example(SERVER_MESSAGES[kind])
    if kind == "events":
        payload["events"] = [event(event_class) for event_class in EVENT_CLASSES[:2]]
    message: dict[str, Any] = {"type": kind, "timestamp": NOW, "payload": payload}
    return message if kind in {"events", "gap", "ping"} else {**message, "id": "1"}


def events() -> dict[str, dict[str, Any]]:
    """A message of the server for each type of event."""
    return {
        event_class.event_type: {"type": "event", "timestamp": NOW, "payload": event(event_class)}
        for event_class in EVENT_CLASSES
    }
