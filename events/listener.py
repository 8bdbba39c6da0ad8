"""One listener's side of the protocol: a message in, replies out; events in, frames out.

It knows no socket, no clock and no database, so that everything it promises can be tested
without them. What a reply needs of the outside, the time and the head of the log, comes
with each call.

    waiting ──subscribe──▶ listening ──unsubscribe of the last──▶ waiting
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from task_copilot import jsontext
from task_copilot.events.log import LogRow
from task_copilot.events.messages import (
    CLIENT_MESSAGES,
    MAX_ID_CHARACTERS,
    MAX_ID_NUMBER,
    Details,
    ErrorCode,
    Failure,
    ServerPing,
    ServerPong,
    Subscribed,
    Unsubscribed,
    wire,
)
from task_copilot.events.topics import ALLOWED, PatternSet, is_pattern

SHOWN_CHARACTERS = 80
DETAILS_SHOWN = 10


@dataclass(frozen=True, slots=True)
class LogHead:
    """Where the log stood when a message arrived."""

    epoch: str
    seq: int


class Refused(Exception):
    """A message that gets an ``error`` instead of what it asked for."""

    def __init__(self, code: ErrorCode, message: str, **details: Any) -> None:
        super().__init__(message)
        self.failure = Failure(code=code, message=message, details=Details(**details))


class Listener:
    """The state of one connection.

    `position` is the last event that this listener has or did not ask for; it only moves
    forward. `frames` gives what comes after it.
    """

    def __init__(self, *, head: int, max_patterns: int) -> None:
        self.position = head
        self.patterns = PatternSet()
        self._max_patterns = max_patterns

    @property
    def listening(self) -> bool:
        """Whether any event can interest this listener."""
        return len(self.patterns) > 0

    def receive(self, text: str | bytes, head: LogHead, now: str) -> list[str]:
        """Takes one message of the client and returns the frames that answer it."""
        request_id = None
        try:
            message = _parse(text)
            request_id = _id_of(message)
            return self._handle(message, request_id, head, now)
        except Refused as refusal:
            return [frame("error", refusal.failure, now, request_id)]

    def _handle(
        self, message: dict[str, Any], request_id: Any, head: LogHead, now: str
    ) -> list[str]:
        handlers: dict[str, Callable[[dict[str, Any], LogHead], tuple[str, Any] | None]] = {
            "subscribe": self._subscribe,
            "unsubscribe": self._unsubscribe,
            "ping": lambda _payload, _head: ("pong", ServerPong()),
            "pong": lambda _payload, _head: None,
        }
        kind = message.get("type")
        if not isinstance(kind, str):
            raise Refused("WS_INVALID_MESSAGE", 'A message needs a "type", which is a text.')
        handler = handlers.get(kind)
        if handler is None:
            raise Refused(
                "WS_UNKNOWN_TYPE",
                f"There is no message type {kind[:SHOWN_CHARACTERS]!r}.",
                allowed=list(CLIENT_MESSAGES),
            )
        reply = handler(_payload_of(message), head)
        return [] if reply is None else [frame(reply[0], reply[1], now, request_id)]

    def _subscribe(self, payload: dict[str, Any], head: LogHead) -> tuple[str, Any]:
        topics = _topics_of(payload, "subscribe")
        new = {topic for topic in topics if topic not in self.patterns}
        if len(self.patterns) + len(new) > self._max_patterns:
            raise Refused(
                "WS_SUBSCRIPTION_LIMIT",
                f"A connection holds at most {self._max_patterns} patterns; "
                f"this one has {len(self.patterns)} and asked for {len(new)} more.",
                limit=self._max_patterns,
                active_subscriptions=len(self.patterns),
            )
        if not self.listening:
            self.position = max(self.position, head.seq)
        self.patterns.add(topics)
        return "subscribed", Subscribed(
            topics=topics,
            active_subscriptions=len(self.patterns),
            epoch=head.epoch,
            seq=self.position,
        )

    def _unsubscribe(self, payload: dict[str, Any], _head: LogHead) -> tuple[str, Any]:
        topics = _topics_of(payload, "unsubscribe")
        unknown = [topic for topic in topics if topic not in self.patterns]
        if unknown:
            raise Refused(
                "WS_NOT_SUBSCRIBED",
                f"This connection does not hold {unknown[0]!r}.",
                topics=unknown[:DETAILS_SHOWN],
            )
        self.patterns.remove(topics)
        count = len(self.patterns)
        return "unsubscribed", Unsubscribed(topics=topics, active_subscriptions=count)

    def frames(self, rows: Iterable[LogRow]) -> list[str]:
        """The frames of the events that this listener asked for, in order.

        `rows` are the next of the log; those up to `position` are passed over.
        """
        found = []
        for row in rows:
            if row.seq <= self.position:
                continue
            self.position = row.seq
            if self.patterns.matches(row.topic):
                found.append(event_frame(row))
        return found

    def ping(self, head: LogHead, now: str) -> str:
        """A ping; its ``seq`` says up to where this listener has everything."""
        if not self.listening:
            self.position = max(self.position, head.seq)
        return frame("ping", ServerPing(seq=self.position), now, None)


def frame(kind: str, payload: Any, now: str, request_id: Any) -> str:
    """One message of the server as text."""
    message = {"type": kind, "timestamp": now, "payload": wire(payload)}
    if request_id is not None:
        message["id"] = request_id
    return jsontext.encode(message)


def event_frame(row: LogRow) -> str:
    """The frame of an event, made of the text that the log stores."""
    return f'{{"type":"event","timestamp":"{row.timestamp}","payload":{row.payload}}}'


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
            f'The "id" of a message is a text of at most {MAX_ID_CHARACTERS} characters.',
        )
    return request_id  # type: ignore[no-any-return]


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _payload_of(message: dict[str, Any]) -> dict[str, Any]:
    payload = message.get("payload", {})
    if not isinstance(payload, dict):
        raise Refused("WS_INVALID_MESSAGE", 'The "payload" of a message is an object.')
    return payload


def _topics_of(payload: dict[str, Any], request: str) -> list[str]:
    unknown = sorted(name for name in payload if name != "topics")
    if unknown:
        raise Refused(
            "WS_INVALID_MESSAGE",
            f"{request} takes topics, not {unknown[0][:SHOWN_CHARACTERS]!a}.",
            unknown=[ascii(name[:SHOWN_CHARACTERS])[1:-1] for name in unknown[:DETAILS_SHOWN]],
        )
    topics = payload.get("topics")
    if not isinstance(topics, list) or not all(isinstance(topic, str) for topic in topics):
        raise Refused("WS_INVALID_MESSAGE", f'{request} needs "topics", a list of texts.')
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
