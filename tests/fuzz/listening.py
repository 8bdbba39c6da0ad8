"""What a server may answer to a message of a listener, read off the published description."""

import json
import math
import random
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from fuzz.inputs import FEWEST, USES, drawn, of_schema
from fuzz.mutations import mutated, mutated_text, text_of
from task_copilot.description import asyncapi
from task_copilot.events.messages import ANSWERS, CLIENT_MESSAGES, MAX_ID_CHARACTERS, MAX_ID_NUMBER
from validation import schema_problems, valid_frame

MOST_BYTES = 60_000
"""Of a message: longer ones are another kind of input."""

OF_THE_STATE = {"WS_SUBSCRIPTION_LIMIT", "WS_NOT_SUBSCRIBED", "WS_INVALID_CURSOR"}
"""What is refused for how the connection or the log stands, however good the message."""

UNASKED = {"event", "events", "gap", "ping"}

OF_THE_MESSAGE = ("WS_INVALID_MESSAGE", "WS_INVALID_TOPIC", "WS_INVALID_CURSOR")

SURROGATE = re.compile("[\ud800-\udfff]")


def messages(count: int, seed: int) -> list[str]:
    """Texts of messages: as described, or with up to three things wrong."""
    schemas = asyncapi.document()["components"]["schemas"]
    kinds = [kind for kind in CLIENT_MESSAGES for _ in range(4 if kind == "subscribe" else 1)]
    valid = {kind: of_schema(schemas[f"Client{kind.title()}"]) for kind in CLIENT_MESSAGES}
    strategy = st.sampled_from(kinds).flatmap(valid.__getitem__)
    rng = random.Random(seed)
    made = drawn(strategy, max(count // USES, FEWEST), seed)
    return [_written(rng, rng.choice(made)) for _ in range(count)]


def _written(rng: random.Random, message: dict[str, Any]) -> str:
    for _ in range(rng.choice([0, 0, 1, 1, 1, 2, 3])):
        message = mutated(rng, message)
    text = text_of(rng, message)
    if rng.random() < 0.25:
        text = mutated_text(rng, text)
    return text if len(text.encode()) <= MOST_BYTES else text[:MOST_BYTES]


@dataclass(frozen=True)
class Expected:
    """The answer to one message; `kinds` empty: none."""

    kinds: frozenset[str]
    codes: frozenset[str] = frozenset()
    message_id: str | int | None = None

    def check(self, text: str, answers: Sequence[dict[str, Any]]) -> None:
        """Fails where `answers` to `text` are not this."""
        said = f"{answers} to {text[:2000]!r}, not {self}"
        assert len(answers) == (1 if self.kinds else 0), said
        for answer in answers:
            valid_frame(answer)
            assert answer["type"] in self.kinds, said
            assert answer.get("id") == self.message_id, said
            assert type(answer.get("id")) is type(self.message_id), said
            if answer["type"] == "error":
                assert answer["payload"]["code"] in self.codes, said


def expected(text: str) -> Expected:
    """What a server has to answer to a text frame."""
    try:
        message = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return _refused("WS_INVALID_MESSAGE")
    if not isinstance(message, dict):
        return _refused("WS_INVALID_MESSAGE")
    message_id = message.get("id")
    if message_id is not None and not _is_id(message_id):
        return _refused("WS_INVALID_MESSAGE")
    kind = message.get("type")
    if not isinstance(kind, str):
        return _refused("WS_INVALID_MESSAGE", message_id=message_id)
    if kind not in CLIENT_MESSAGES:
        return _refused("WS_UNKNOWN_TYPE", message_id=message_id)
    return _of_kind(kind, message, message_id)


def _of_kind(kind: str, message: dict[str, Any], message_id: str | int | None) -> Expected:
    payload = message.get("payload", {})
    if kind in {"ping", "pong"}:
        if isinstance(payload, dict) and not ("payload" not in message and "topics" in message):
            return Expected(frozenset(ANSWERS[kind]) - {"error"}, message_id=message_id)
        return _refused("WS_INVALID_MESSAGE", message_id=message_id)
    described = {"type": kind, "payload": _without_nulls(payload)}
    if schema_problems("asyncapi", f"Client{kind.title()}", described):
        return _refused(*OF_THE_MESSAGE, message_id=message_id)
    codes = frozenset(OF_THE_STATE)
    if _is_beyond_the_schema(payload) or described["payload"] != payload:
        codes |= {"WS_INVALID_MESSAGE"}
    return Expected(frozenset(ANSWERS[kind]), codes, message_id)


def _refused(*codes: str, message_id: str | int | None = None) -> Expected:
    return Expected(frozenset({"error"}), frozenset(codes), message_id)


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _is_id(value: object) -> bool:
    if isinstance(value, str):
        return len(value) <= MAX_ID_CHARACTERS and not SURROGATE.search(value)
    return type(value) is int and abs(value) < MAX_ID_NUMBER


def _is_beyond_the_schema(payload: dict[str, Any]) -> bool:
    """Whether something is not allowed that a schema cannot name: a type of events that does not
    exist, half of a character, 1.0 for 1."""
    return any(
        "eventTypes" in leaf
        if isinstance(leaf, dict)
        else isinstance(leaf, float) or (isinstance(leaf, str) and bool(SURROGATE.search(leaf)))
        for leaf in _parts(payload)
    )


def _without_nulls(value: Any) -> Any:
    """A field that is null counts as not given."""
    if isinstance(value, dict):
        return {name: _without_nulls(item) for name, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def _parts(value: Any) -> Iterator[Any]:
    yield value
    children: Iterable[Any] = ()
    if isinstance(value, dict):
        children = value.values()
    elif isinstance(value, list):
        children = value
    for child in children:
        yield from _parts(child)


def answers(frames: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The frames that answer something."""
    return [found for found in frames if found["type"] not in UNASKED]


def check_the_others(frames: Iterable[dict[str, Any]]) -> None:
    """Fails where what came by itself is not as described, or an event twice or out of order."""
    last = -math.inf
    for found in frames:
        if found["type"] in UNASKED:
            valid_frame(found)
        for event in found["payload"].get("events", [found["payload"]]):
            if found["type"] in {"event", "events"}:
                assert event["seq"] > last, f"event {event['seq']} after {last}"
                last = event["seq"]
