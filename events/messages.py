"""The messages of a listener's connection, declared once.

What either side may send is a frozen dataclass: its fields are the ``payload``, in camelCase.
The checks of what a client sends, the listener's code and the published description of the
protocol all read these declarations.
"""

from dataclasses import dataclass, fields, is_dataclass
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, Strict

from task_copilot.events.types import camel

MAX_ID_CHARACTERS = 200
MAX_ID_NUMBER = 2**63
"""A message's own ``id`` is a text of at most so many characters or a smaller number."""

MAX_SEQ = 2**63 - 1
MAX_REPLAY = 100_000
"""As many events as the log keeps whatever their age, unless set otherwise."""

MAX_BATCH_EVENTS = 1_000
DEFAULT_BATCH_EVENTS = 100
MAX_BATCH_DELAY_MS = 10_000
MAX_FILTER_ITEMS = 100
MAX_NAME_CHARACTERS = 200

ErrorCode = Literal[
    "WS_INVALID_MESSAGE",
    "WS_UNKNOWN_TYPE",
    "WS_INVALID_TOPIC",
    "WS_SUBSCRIPTION_LIMIT",
    "WS_NOT_SUBSCRIBED",
    "WS_INVALID_CURSOR",
]

CLIENT_CONFIG = ConfigDict(extra="forbid", alias_generator=camel)

Seq = Annotated[int, Strict(), Field(ge=0, le=MAX_SEQ)]
Count = Annotated[int, Strict(), Field(ge=0, le=MAX_REPLAY)]
Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARACTERS)]
Names = Annotated[list[Name], Field(min_length=1, max_length=MAX_FILTER_ITEMS)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Conditions on events beside their topics; all that are given have to hold."""

    __pydantic_config__ = CLIENT_CONFIG

    event_types: Names | None = None
    streams: Names | None = None
    agents: Names | None = None
    not_actors: Names | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Topics with a filter of their own."""

    __pydantic_config__ = CLIENT_CONFIG

    topics: list[str]
    filter: Filter | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Asks for events in `events` messages: what waits, up to `max_events`, in one."""

    __pydantic_config__ = CLIENT_CONFIG

    max_events: Annotated[int, Strict(), Field(ge=1, le=MAX_BATCH_EVENTS)] = DEFAULT_BATCH_EVENTS
    max_delay_ms: Annotated[int, Strict(), Field(ge=0, le=MAX_BATCH_DELAY_MS)] = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscribe:
    """Asks for the events whose topics match: give `topics`, with a `filter` if one is wanted,
    or several such pairs as `subscriptions`. Where a connection begins in the log, `since` or
    `replay`, is said with its first subscribe only."""

    __pydantic_config__ = CLIENT_CONFIG

    topics: list[str] | None = None
    filter: Filter | None = None
    subscriptions: Annotated[list[Selection], Field(min_length=1)] | None = None
    since: Seq | None = None
    epoch: Name | None = None
    replay: Count | None = None
    batch: Batch | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsubscribe:
    """Gives patterns back that this connection holds."""

    __pydantic_config__ = CLIENT_CONFIG

    topics: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping:
    """Asks for a pong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pong:
    """Answers a ping; so that the connection is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscribed:
    """Answers subscribe. `seq` is the head of the log where this was the connection's first
    subscribe, else its position, after which the new topics begin."""

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
class Events:
    """Several events in order, for a connection that asked for batches."""

    events: list[dict[str, Any]]


GapReason = Literal["pruned"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GapPayload:
    """The events `from` to `to` can no longer be had; delivery goes on after them."""

    from_: int
    to: int
    reason: GapReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Details:
    """What an error is about; only what applies is there."""

    allowed: list[str] | None = None
    unknown: list[str] | None = None
    topic: str | None = None
    topics: list[str] | None = None
    limit: int | None = None
    active_subscriptions: int | None = None
    seq: int | None = None
    epoch: str | None = None


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
    "events": Events,
    "gap": GapPayload,
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
    "WS_INVALID_TOPIC": "an empty list of topics, or one that is no pattern",
    "WS_SUBSCRIPTION_LIMIT": "more patterns than one connection may hold",
    "WS_NOT_SUBSCRIBED": "unsubscribing from a pattern that this connection does not hold",
    "WS_INVALID_CURSOR": "since, epoch or replay that is no position of this log, or that comes "
    "after the first subscribe",
}

CLOSE_CODES: dict[int, str] = {
    1008: "too many messages, or one that was begun and never finished; the reason says which",
    1009: "a message of the client was too big",
    1012: "the server ends, or has another database now; come back at once",
    1013: "no answer to pings, nothing read for too long, or a failure; come back later",
}


def wire_name(name: str) -> str:
    """The wire's name of a field: camelCase, and ``from`` for `from_`."""
    return camel(name.removesuffix("_"))


def wire(content: Any) -> Any:
    """A payload as it goes into a frame; what has no value is left out."""
    if not is_dataclass(content):
        return content
    values = {wire_name(item.name): getattr(content, item.name) for item in fields(content)}
    return {name: wire(value) for name, value in values.items() if value is not None}
