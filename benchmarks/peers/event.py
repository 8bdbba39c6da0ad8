"""The event that every server sends: about 200 bytes of JSON, the same of all of them."""

import json
from typing import Any, NamedTuple

TIMESTAMP = "2026-01-01T00:00:00.000Z"
EVENT_TYPE = "task.updated"
NOTE = "Every node gets a type"
"""So long that a message has about 200 bytes."""


class Event(NamedTuple):
    """`seq` counts from 1, `at` are the microseconds of the monotonic clock, which all processes
    of a machine share, when it was published."""

    seq: int
    at: int
    topic: str

    @property
    def payload(self) -> dict[str, Any]:
        """The generator of the load looks for `seq` and `at` next to each other."""
        return {
            "seq": self.seq,
            "at": self.at,
            "topic": self.topic,
            "eventType": EVENT_TYPE,
            "note": NOTE,
        }

    @property
    def message(self) -> dict[str, Any]:
        """What a listener gets, before it is JSON."""
        return {"type": "event", "timestamp": TIMESTAMP, "payload": self.payload}


def topic_of(seq: int, topics: int) -> str:
    """Events are of all topics in turns."""
    return f"task:TASK-{seq % topics}"


def encode(message: Any) -> str:
    """JSON without spaces, as JavaScript writes it."""
    return _ENCODER.encode(message)


_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)
