"""The messages of a listener's connection, declared once.

What either side may send is a frozen dataclass: its fields are the ``payload``, in camelCase.
The listener's code and the published description of the protocol both read these tables.
"""

from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Literal

from task_copilot.events.types import camel

MAX_ID_CHARACTERS = 200
MAX_ID_NUMBER = 2**63
"""A message's own ``id`` is a text of at most so many characters or a smaller number."""

ErrorCode = Literal[
    "WS_INVALID_MESSAGE",
    "WS_UNKNOWN_TYPE",
    "WS_INVALID_TOPIC",
    "WS_SUBSCRIPTION_LIMIT",
    "WS_NOT_SUBSCRIBED",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscribe:
    """Asks for the events whose topics match."""

    topics: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsubscribe:
    """Gives patterns back that this connection holds."""

    topics: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping:
    """Asks for a pong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pong:
    """Answers a ping; so that the connection is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscribed:
    """Answers subscribe; every matching event after `seq` follows."""

    topics: list[str]
    active_subscriptions: int
    epoch: str
    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsubscribed:
    """Answers unsubscribe."""

    topics: list[str]
    active_subscriptions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EventPayload:
    """Something happened."""

    seq: int
    topic: str
    event_type: str
    workspace: str
    actor: str
    timestamp: str
    data: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Details:
    """What an error is about; only what applies is there."""

    allowed: list[str] | None = None
    unknown: list[str] | None = None
    topic: str | None = None
    topics: list[str] | None = None
    limit: int | None = None
    active_subscriptions: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Answers what cannot be done; the connection stays open and nothing was changed."""

    code: ErrorCode
    message: str
    details: Details


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerPing:
    """Asks for a sign of life; the client has everything up to `seq`, also where none matched."""

    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerPong:
    """Answers a ping."""


CLIENT_MESSAGES: dict[str, type] = {
    "subscribe": Subscribe,
    "unsubscribe": Unsubscribe,
    "ping": Ping,
    "pong": Pong,
}

SERVER_MESSAGES: dict[str, type] = {
    "subscribed": Subscribed,
    "unsubscribed": Unsubscribed,
    "event": EventPayload,
    "error": Failure,
    "ping": ServerPing,
    "pong": ServerPong,
}

ANSWERS: dict[str, tuple[str, ...]] = {
    "subscribe": ("subscribed", "error"),
    "unsubscribe": ("unsubscribed", "error"),
    "ping": ("pong", "error"),
    "pong": (),
}
"""What the server answers to each message of a client."""

ERRORS: dict[ErrorCode, str] = {
    "WS_INVALID_MESSAGE": "not JSON, not an object, or of another shape than the type has",
    "WS_UNKNOWN_TYPE": "the type does not exist",
    "WS_INVALID_TOPIC": "no topics, or one that is no pattern",
    "WS_SUBSCRIPTION_LIMIT": "more patterns than one connection may hold",
    "WS_NOT_SUBSCRIBED": "unsubscribing from a pattern that this connection does not hold",
}

CLOSE_CODES: dict[int, str] = {
    1009: "a message of the client was too big",
    1012: "the server ends; come back at once",
    1013: "no answer to pings, answers left unread, or a failure; come back later",
}


def wire(content: Any) -> Any:
    """A payload as it goes into a frame; what has no value is left out."""
    if not is_dataclass(content):
        return content
    values = {camel(item.name): getattr(content, item.name) for item in fields(content)}
    return {name: wire(value) for name, value in values.items() if value is not None}
