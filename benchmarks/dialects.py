"""What a listener says to each kind of server until it listens, and how it answers pings."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.framing import ChunkedFraming, Framing, WebSocketFraming

EVERYTHING = "*"


@dataclass(frozen=True, slots=True)
class Step:
    """Says something, or nothing, and waits for a message that holds `answer`."""

    say: str
    answer: bytes


@dataclass(frozen=True, slots=True)
class Dialect:
    """`path` may name the topic. `ping` is what a message holds that wants `pong`."""

    path: str
    opening: Callable[[str], list[Step]]
    framing: Callable[[], Framing] = WebSocketFraming
    is_websocket: bool = True
    ping: bytes = b""
    pong: str = ""


def task_copilot(**subscribe: Any) -> Dialect:
    """This program's own protocol; `subscribe` is what a listener asks for beside its topic."""

    def opening(topic: str) -> list[Step]:
        payload = {"topics": [topic], **subscribe}
        message = json.dumps({"type": "subscribe", "payload": payload})
        return [Step(message, b'"type":"subscribed"')]

    return Dialect("/ws", opening, ping=b'{"type":"ping"', pong='{"type":"pong"}')


def _socketio_opening(topic: str) -> list[Step]:
    return [
        Step("", b'0{"sid"'),  # of the transport
        Step("40", b'40{"sid"'),  # of Socket.IO
        Step(f'42["subscribe",{json.dumps(topic)}]', b'42["ok"'),
    ]


DIALECTS: dict[str, Dialect] = {
    "plain": Dialect("/", lambda topic: [Step(topic, b"ok")]),
    "socketio": Dialect(
        "/socket.io/?EIO=4&transport=websocket",
        _socketio_opening,
        ping=b"\x81\x012",
        pong="3",
    ),
    "sse": Dialect(
        "/?topic={topic}", lambda _topic: [], framing=ChunkedFraming, is_websocket=False
    ),
    "task_copilot": task_copilot(),
    "task_copilot in batches": task_copilot(batch={"maxEvents": 500}),
}
