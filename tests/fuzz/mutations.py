"""What may be wrong with a JSON message: in its values, and in its text."""

import json
import math
import random
from collections.abc import Callable
from typing import Any

DEEP = 3_000
"""Levels: more than a parser that calls itself can take."""

LONG = 10_000
ODD_TEXTS = (
    "",
    "*",
    "**",
    "task:*",
    "task:TASK-1",
    "\ud800",
    "a\udfffb",
    "\x00",
    "\u202e\u2066",
    "\ufeff",
    "\U0001f600" * 60,
    "task:" + "A" * LONG,
    "x" * LONG,
    "../../etc/passwd",
    "'; DROP TABLE tasks; --",
    "__proto__",
)
ODD_NUMBERS = (
    0,
    -1,
    1.0,
    1.5,
    -0.0,
    1e300,
    2**31,
    2**53 + 1,
    2**63 - 1,
    2**63,
    -(2**63),
    10**40,
    math.nan,
    math.inf,
    -math.inf,
)
ODD_NAMES = ("", "id", "type", "payload", "extra", "__class__", "\ud800", "x" * 500)


def nested(levels: int, *, objects: bool = False) -> Any:
    """Lists or objects within each other."""
    value: Any = 1
    for _ in range(levels):
        value = {"a": value} if objects else [value]
    return value


def odd_value(rng: random.Random) -> Any:
    """A value that few expect."""
    choices: tuple[Callable[[], Any], ...] = (
        lambda: rng.choice(ODD_TEXTS),
        lambda: rng.choice(ODD_NUMBERS),
        lambda: rng.choice([None, True, False, [], {}, [[]], [None], {"": None}]),
        lambda: nested(rng.choice([3, 40, 200]), objects=rng.random() < 0.5),
        lambda: [rng.choice(ODD_TEXTS[:10]) for _ in range(rng.randrange(1, 70))],
        lambda: {f"key{number}": number for number in range(rng.randrange(1, 30))},
    )
    return rng.choice(choices)()


def mutated(rng: random.Random, value: Any) -> Any:
    """The same with one thing wrong, somewhere in it."""
    if isinstance(value, dict) and value and rng.random() < 0.8:
        return _mutated_object(rng, value)
    if isinstance(value, list) and value and rng.random() < 0.8:
        place = rng.randrange(len(value))
        changed = [*value]
        changed[place] = mutated(rng, value[place])
        return changed if rng.random() < 0.7 else changed * rng.choice([0, 2, 60])
    return odd_value(rng)


def _mutated_object(rng: random.Random, value: dict[str, Any]) -> dict[str, Any]:
    name = rng.choice(list(value))
    kind = rng.random()
    if kind < 0.15:
        return {key: item for key, item in value.items() if key != name}
    if kind < 0.3:
        return {**value, rng.choice(ODD_NAMES): odd_value(rng)}
    if kind < 0.4:
        return {(rng.choice(ODD_NAMES) if key == name else key): value[key] for key in value}
    if kind < 0.6:
        return {**value, name: odd_value(rng)}
    return {**value, name: mutated(rng, value[name])}


def text_of(rng: random.Random, value: Any) -> str:
    """The JSON of a value in one of the ways of writing it. No lone surrogate is left as it is."""
    plain = rng.random() < 0.6 or "\\ud" in json.dumps(value)
    text = json.dumps(
        value,
        ensure_ascii=plain,
        separators=(",", ":") if rng.random() < 0.5 else (", ", ": "),
        sort_keys=rng.random() < 0.3,
    )
    return text.replace("\n", " ")


def mutated_text(rng: random.Random, text: str) -> str:
    """A JSON text with one thing wrong in how it is written."""
    place = rng.randrange(len(text) + 1)
    choices: tuple[Callable[[], str], ...] = (
        lambda: text[:place],
        lambda: text[place:],
        lambda: text[:place] + rng.choice('{}[]",:\\x0-. \t\x00\x1f') + text[place:],
        lambda: text[:place] + text[place + 1 :],
        lambda: "\ufeff" + text,
        lambda: text + text,
        lambda: text + rng.choice([" ", ",", "\x00", "}", "null"]),
        lambda: text.replace('"', "'"),
        lambda: text.replace("}", ',"id":"second"}', 1),
        lambda: '{"type":"pong",' + text.removeprefix("{"),
        lambda: text.replace(":", ":NaN,", 1),
        lambda: "[" * DEEP + text + "]" * DEEP,
        lambda: '{"a":' * DEEP + "1" + "}" * DEEP,
        lambda: text.replace(":", ":" + "9" * 5_000 + ",", 1),
        lambda: rng.choice(["", " ", "null", "1", '"', "{}", "[]", "true", "-", "{", "\\u0000"]),
        lambda: f"[{text},{text}]",
        lambda: rng.randbytes(rng.randrange(1, 60)).decode("latin-1").replace("\n", " "),
    )
    return rng.choice(choices)()
