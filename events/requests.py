"""Reads what a listener asks for: what comes in is checked here, whole, before any effect.

The WebSocket's messages and the parameters of the HTTP routes lead to the same `Wanted`.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from pydantic import TypeAdapter, ValidationError

from task_copilot.errors import InvalidInput, TaskCopilotError
from task_copilot.events.filters import EVERYTHING, EventFilter, check_event_types
from task_copilot.events.log import LogState
from task_copilot.events.messages import (
    CLIENT_MESSAGES,
    MAX_ID_CHARACTERS,
    MAX_ID_NUMBER,
    Batch,
    Details,
    ErrorCode,
    Failure,
    Filter,
    Selection,
    Subscribe,
    Unsubscribe,
)
from task_copilot.events.topics import ALLOWED, is_pattern
from task_copilot.schema import compact, explain

SHOWN_CHARACTERS = 80
DETAILS_SHOWN = 10
CURSOR_FIELDS = {"since", "epoch", "replay"}


class Refused(TaskCopilotError):
    """What was asked for is not done, and nothing else of the request either."""

    def __init__(self, code: ErrorCode, message: str, **details: Any) -> None:
        super().__init__(message)
        self.code = code
        self.failure = Failure(code=code, message=message, details=Details(**details))


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a listener begins: after `since`, before the newest `replay`, else at the head."""

    since: int | None = None
    epoch: str | None = None
    replay: int | None = None

    @property
    def given(self) -> bool:
        """Whether it says anything."""
        return self != NOWHERE

    def check(self, state: LogState) -> None:
        """Raises Refused where this is no position of the log that is at `state`."""
        if self.epoch is not None and self.epoch != state.epoch:
            raise Refused(
                "WS_INVALID_CURSOR",
                f"epoch: {self.epoch[:SHOWN_CHARACTERS]!a} is another database's, or this one's "
                f"before it was restored; it is {state.epoch!r} now. Read the state anew and "
                "begin at its seq.",
                epoch=state.epoch,
                seq=state.head,
            )
        if self.since is not None and self.since > state.head:
            raise Refused(
                "WS_INVALID_CURSOR",
                f"since: {self.since} is above the head of the log, which is {state.head}. "
                "0 begins at the oldest event.",
                epoch=state.epoch,
                seq=state.head,
            )


NOWHERE = Cursor()


def cursor_of(since: int | None, epoch: str | None, replay: int | None) -> Cursor:
    """The cursor of a request; raises Refused for fields that exclude each other."""
    if since is not None and replay is not None:
        raise Refused("WS_INVALID_CURSOR", "Give since or replay, not both.")
    if epoch is not None and since is None:
        raise Refused("WS_INVALID_CURSOR", "epoch: belongs to since, which is missing.")
    return Cursor(since, epoch, replay)


class Topics(NamedTuple):
    """Patterns with the filter that they were asked with."""

    patterns: list[str]
    filter: EventFilter


@dataclass(frozen=True, slots=True)
class Wanted:
    """A subscribe that may be carried out, as far as it can be seen by itself."""

    selections: Sequence[Topics]
    cursor: Cursor
    batch: Batch | None

    @property
    def topics(self) -> list[str]:
        """Every pattern once, in the order in which they were asked for."""
        return list(dict.fromkeys(name for each in self.selections for name in each.patterns))


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a client. `content` is a `Wanted`, the patterns of an unsubscribe, or
    None."""

    kind: str
    id: str | int | None
    content: Wanted | list[str] | None


class Unreadable(Exception):
    """A message that is refused, with the id that it had as far as that could be read."""

    def __init__(self, refusal: Refused, message_id: str | int | None) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal
        self.message_id = message_id


def read(text: str | bytes) -> Message:
    """Reads one message; raises Unreadable."""
    message_id = None
    try:
        message = _parse(text)
        message_id = _id_of(message)
        kind = _kind_of(message)
        return Message(kind, message_id, _content(kind, _payload_of(kind, message)))
    except Refused as refusal:
        raise Unreadable(refusal, message_id) from None


def _content(kind: str, payload: dict[str, Any]) -> Wanted | list[str] | None:
    if kind == "subscribe":
        return _wanted(_validated(Subscribe, kind, payload))
    if kind == "unsubscribe":
        return checked_patterns(_validated(Unsubscribe, kind, payload).topics, kind)
    return None


def _wanted(asked: Subscribe) -> Wanted:
    if asked.subscriptions is None:
        if asked.topics is None:
            raise Refused("WS_INVALID_MESSAGE", 'subscribe needs "topics", a list of texts.')
        pairs: Iterable[Selection] = [Selection(topics=asked.topics, filter=asked.filter)]
    elif asked.topics is not None or asked.filter is not None:
        raise Refused(
            "WS_INVALID_MESSAGE",
            "subscribe takes either topics, with a filter if wanted, or subscriptions, "
            "which hold topics and filters of their own.",
        )
    else:
        pairs = asked.subscriptions
    selections = [
        Topics(checked_patterns(pair.topics, "subscribe"), filter_of(pair.filter)) for pair in pairs
    ]
    return Wanted(selections, cursor_of(asked.since, asked.epoch, asked.replay), asked.batch)


def filter_of(given: Filter | None) -> EventFilter:
    """The filter to match with; raises Refused for types of events that do not exist."""
    if given is None:
        return EVERYTHING
    types = given.event_types or ()
    try:
        check_event_types(types)
    except InvalidInput as error:
        raise Refused("WS_INVALID_MESSAGE", str(error)) from None
    return EventFilter(
        event_types=frozenset(types),
        streams=frozenset(given.streams or ()),
        agents=frozenset(given.agents or ()),
        not_actors=frozenset(given.not_actors or ()),
    )


def checked_patterns(topics: Sequence[str], request: str) -> list[str]:
    """Each pattern once; raises Refused for none and for what is no pattern."""
    if not topics:
        raise Refused("WS_INVALID_TOPIC", f"{request} needs at least one topic; {ALLOWED}.")
    for topic in topics:
        if not is_pattern(topic):
            raise Refused(
                "WS_INVALID_TOPIC",
                f"{topic[:SHOWN_CHARACTERS]!a} is no topic; {ALLOWED}.",
                topic=ascii(topic[:SHOWN_CHARACTERS])[1:-1],
            )
    return list(dict.fromkeys(topics))


@cache
def _checks(declaration: type) -> tuple[TypeAdapter[Any], dict[str, Any]]:
    adapter: TypeAdapter[Any] = TypeAdapter(declaration)
    return adapter, compact(adapter)


def _validated(declaration: type, kind: str, payload: dict[str, Any]) -> Any:
    adapter, schema = _checks(declaration)
    known = schema["properties"]
    if unknown := sorted(name for name in payload if name not in known):
        raise Refused(
            "WS_INVALID_MESSAGE",
            f"{kind} takes {', '.join(known)}, not {unknown[0][:SHOWN_CHARACTERS]!a}.",
            unknown=[ascii(name[:SHOWN_CHARACTERS])[1:-1] for name in unknown[:DETAILS_SHOWN]],
        )
    try:
        return adapter.validate_python(payload)
    except ValidationError as error:
        of_the_cursor = {item["loc"][0] for item in error.errors()} <= CURSOR_FIELDS
        code: ErrorCode = "WS_INVALID_CURSOR" if of_the_cursor else "WS_INVALID_MESSAGE"
        raise Refused(code, explain(kind, schema, error)) from None


def _parse(text: str | bytes) -> dict[str, Any]:
    if isinstance(text, bytes):
        raise Refused("WS_INVALID_MESSAGE", "A message is a text frame, not a binary one.")
    try:
        message = json.loads(text, parse_constant=_refuse_constant)
        text.encode()
    except RecursionError:
        raise Refused("WS_INVALID_MESSAGE", "The message is nested too deep.") from None
    except ValueError as error:
        raise Refused("WS_INVALID_MESSAGE", f"The message is not JSON: {error}.") from None
    if not isinstance(message, dict):
        raise Refused("WS_INVALID_MESSAGE", "A message is one JSON object.")
    return message


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _id_of(message: dict[str, Any]) -> str | int | None:
    request_id = message.get("id")
    if request_id is None:
        return None
    if isinstance(request_id, str):
        allowed = len(request_id) <= MAX_ID_CHARACTERS and _is_text(request_id)
    else:
        allowed = type(request_id) is int and abs(request_id) < MAX_ID_NUMBER
    if not allowed:
        raise Refused(
            "WS_INVALID_MESSAGE",
            f'The "id" of a message is a text of at most {MAX_ID_CHARACTERS} characters, or a '
            "whole number.",
        )
    return request_id  # type: ignore[no-any-return]


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _kind_of(message: dict[str, Any]) -> str:
    kind = message.get("type")
    if not isinstance(kind, str):
        raise Refused("WS_INVALID_MESSAGE", 'A message needs a "type", which is a text.')
    if kind not in CLIENT_MESSAGES:
        raise Refused(
            "WS_UNKNOWN_TYPE",
            f"There is no message type {kind[:SHOWN_CHARACTERS]!r}.",
            allowed=list(CLIENT_MESSAGES),
        )
    return kind


def _payload_of(kind: str, message: dict[str, Any]) -> dict[str, Any]:
    if "payload" not in message and "topics" in message:
        raise Refused(
            "WS_INVALID_MESSAGE",
            f'What {kind} asks for stands in its "payload": '
            f'{{"type": "{kind}", "payload": {{"topics": […]}}}}.',
        )
    payload = message.get("payload", {})
    if not isinstance(payload, dict):
        raise Refused("WS_INVALID_MESSAGE", 'The "payload" of a message is an object.')
    return payload
