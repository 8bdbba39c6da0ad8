"""Lines that a client may write to the stdin of a server, and how often each is answered."""

import json
import math
import random
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import mcp_types as types

from e2e.raw_mcp import CLIENT_INFO, HANDSHAKE_VERSION, MODERN_META
from fuzz.inputs import USES, drawn, of_schema
from fuzz.listening import SURROGATE
from fuzz.mutations import mutated, mutated_text, odd_value, text_of
from task_copilot.tools.registry import TOOLS

LONG = 1 << 20
FEWEST = 15
"""Drawn arguments of each tool, at least."""

INITIALIZE = {
    "protocolVersion": HANDSHAKE_VERSION,
    "capabilities": {},
    "clientInfo": CLIENT_INFO,
}
METHODS: dict[str, dict[str, Any]] = {
    "initialize": INITIALIZE,
    "ping": {},
    "tools/list": {},
    "server/discover": {},
    "resources/list": {},
    "prompts/get": {"name": "x"},
    "completion/complete": {},
    "logging/setLevel": {"level": "debug"},
    "no/such": {},
    "": {},
}
NOTIFICATIONS: dict[str, dict[str, Any]] = {
    "notifications/initialized": {},
    "notifications/cancelled": {"requestId": "nobody's"},
    "notifications/progress": {"progressToken": 1, "progress": 0.5},
    "notifications/roots/list_changed": {},
    "notifications/none": {},
}
CANCELLED = "notifications/cancelled"

ODD_IDS: tuple[Any, ...] = (
    None,
    True,
    1.5,
    -0.0,
    1e300,
    math.inf,
    2**53 + 1,
    10**40,
    -1,
    0,
    [],
    {},
    "",
    "\ud800",
    "\u202e",
    "x" * LONG,
)


@dataclass(frozen=True)
class Line:
    """What is written, and the ids of the answers to it, as JSON; ``null`` where it has none."""

    data: bytes
    answers: tuple[str, ...]
    pieces: int = 1
    """In so many writes."""


def lines(count: int, seed: int, *, modern: bool) -> list[Line]:
    """Lines in one of the two eras of the protocol, most with something wrong."""
    rng = random.Random(seed)
    arguments = {
        tool.name: drawn(
            of_schema(tool.input_schema), max(count // USES // len(TOOLS), FEWEST), seed
        )
        for tool in TOOLS
    }
    return [_line(rng, f"{seed}-{number}", arguments, modern) for number in range(count)]


def _line(rng: random.Random, name: str, arguments: dict[str, list[Any]], modern: bool) -> Line:
    kind = rng.random()
    if kind < 0.04:
        return _raw(rng, name)
    message: Any = _message(rng, name, arguments, modern)
    for _ in range(rng.choice([0, 0, 1, 1, 2])):
        message = mutated(rng, message)
    if isinstance(message, dict) and message.get("method") == CANCELLED:
        message["params"] = NOTIFICATIONS[CANCELLED]  # of somebody else's it would keep the answer
    if isinstance(message, dict) and rng.random() < 0.1:
        message = {**message, "id": rng.choice(ODD_IDS)}
    text = text_of(rng, message)
    if rng.random() < 0.25:
        text = mutated_text(rng, text)
    data = text.encode("utf-8", "surrogatepass").replace(b"\n", b" ")
    if rng.random() < 0.1:
        data = _mutated_bytes(rng, data)
    pieces = rng.choice([1, 1, 1, 1, 5, 20])
    return Line(data + rng.choice([b"\n", b"\r\n"]), answers_to(data), pieces)


def _message(
    rng: random.Random, name: str, arguments: dict[str, list[Any]], modern: bool
) -> dict[str, Any]:
    kind = rng.random()
    if kind < 0.1:
        result = {"jsonrpc": "2.0", "id": name}
        return result | rng.choice([{"result": {}}, {"error": {"code": 1, "message": "no"}}])
    if kind < 0.2:
        method = rng.choice(list(NOTIFICATIONS))
        return {"jsonrpc": "2.0", "method": method, "params": NOTIFICATIONS[method]}
    if kind < 0.45:
        method = rng.choice(list(METHODS))
        params = METHODS[method]
    else:
        tool = rng.choice(list(arguments))
        method = "tools/call"
        params = {"name": tool, "arguments": mutated_arguments(rng, rng.choice(arguments[tool]))}
    if modern:
        params = {**params, "_meta": MODERN_META}
    return {"jsonrpc": "2.0", "id": name, "method": method, "params": params}


def mutated_arguments(rng: random.Random, arguments: Any) -> Any:
    """The arguments of a call, often with something wrong; ids may be those that exist."""
    known = {
        key: f"TASK-{rng.randrange(1, 9)}"
        for key in ("id", "taskId", "parentId")
        if key in arguments and rng.random() < 0.7
    }
    changed = {**arguments, **known}
    if changed and rng.random() < 0.3:
        changed[rng.choice(list(changed))] = odd_value(rng)
    return mutated(rng, changed) if rng.random() < 0.3 else changed


def _raw(rng: random.Random, name: str) -> Line:
    """Lines that are no message at all, or too long a one."""
    ping = json.dumps({"jsonrpc": "2.0", "id": name, "method": "ping"}).encode()
    data = rng.choice(
        [
            b"",
            b" \t",
            b"\r",
            b"\x00",
            b"\x00" * 1000,
            b"\xff\xfe",
            ping + ping,
            b"[" + ping + b"," + ping + b"]",
            b"\xef\xbb\xbf" + ping,
            ping.decode().encode("utf-16"),
            ping.replace(b"ping", b"\xed\xa0\x80"),
            b"Content-Length: 50",
            b"[" * 100_000,
            b'{"a":' * 5_000,
            ping[:-1] + b',"params":{"a":"' + b"x" * (2 * LONG) + b'"}}',
            b'"' + b"y" * (2 * LONG),
        ]
    ).replace(b"\n", b" ")
    return Line(data + b"\n", answers_to(data))


def _mutated_bytes(rng: random.Random, data: bytes) -> bytes:
    place = rng.randrange(len(data) + 1)
    changed = rng.choice([b"\xff", b"\x00", b"\r", b"\xc3", b"\xed\xb0\x80", b""])
    return data[:place] + changed + data[place + rng.randrange(2) :]


def answers_to(data: bytes) -> tuple[str, ...]:
    """The ids of the answers to a line; ``any`` for an error whose id may be read or not."""
    if not data.strip(b" \t\r\n\x0b\x0c"):
        return ()
    try:
        value = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return ("any",)
    if not isinstance(value, dict):
        return ("null",)
    if "method" in value and "id" in value:
        return (json.dumps(usable(value["id"])),)
    with suppress(ValueError, RecursionError):
        message = types.jsonrpc_message_adapter.validate_python(value, by_name=False)
        halves = SURROGATE.search(f"{value.get('id')}{value.get('method')}")
        if not isinstance(message, types.JSONRPCRequest) and not halves:
            return ()
    return ("any",)


def usable(value: object) -> object:
    """`value` where it can be an id of an answer, else None."""
    if type(value) is float and math.isfinite(value):
        return value
    return value if type(value) in {int, str} else None
