"""What a client brings: events, gaps, and marks of how far it has come."""

from dataclasses import dataclass
from typing import Any, Literal

from task_copilot.client.errors import Unusable

Mode = Literal["websocket", "http", "disconnected"]
GapReason = Literal["pruned", "replaced"]
Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something happened. `seq` and `epoch` are the cursor to go on from after it."""

    seq: int
    epoch: str
    topic: str
    event_type: str
    workspace: str
    actor: str
    timestamp: str
    """When it was stored: UTC, ISO 8601."""
    data: Json
    """Its fields as docs/events.md lists them, in camelCase."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """The events `from_` to `to` of `epoch` do not come.

    Where `reason` is ``pruned`` they are no longer kept. Where it is ``replaced`` the database
    is another one, or was restored to an older state: read the state anew; events go on after
    `to`, the head of what is there now.
    """

    from_: int
    to: int
    reason: GapReason
    epoch: str


@dataclass(frozen=True, slots=True)
class Mark:
    """Everything up to `position` was brought or not asked for."""

    epoch: str
    position: int


Item = Event | Gap | Mark


def mark_of(item: Item) -> Mark:
    """How far one has come after an item."""
    if isinstance(item, Event):
        return Mark(item.epoch, item.seq)
    return Mark(item.epoch, item.to) if isinstance(item, Gap) else item


def read_event(payload: object, epoch: str) -> Event:
    """An event of the wire; raises Unusable for anything else."""
    if not isinstance(payload, dict):
        raise Unusable("an event is no object")
    data = payload.get("data")
    if not isinstance(data, dict):
        raise Unusable("an event without data")
    return Event(
        seq=whole(payload, "seq"),
        epoch=epoch,
        topic=text(payload, "topic"),
        event_type=text(payload, "eventType"),
        workspace=text(payload, "workspace"),
        actor=text(payload, "actor"),
        timestamp=text(payload, "timestamp"),
        data=data,
    )


def whole(content: Json, name: str) -> int:
    """A whole number of a message; raises Unusable."""
    value = content.get(name)
    if type(value) is not int or value < 0:
        raise Unusable(f"{name} is no whole number")
    return value


def text(content: Json, name: str) -> str:
    """A text of a message; raises Unusable."""
    value = content.get(name)
    if not isinstance(value, str):
        raise Unusable(f"{name} is no text")
    return value
