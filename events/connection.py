"""What a WebSocket server offers beside ASGI, and the limits and codes of a connection."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

CLOSE_SECONDS = 1.0
"""How long a client may take to answer a close."""

CLOSE_NOT_ALLOWED = 1008
CLOSE_COME_BACK = 1012
CLOSE_TRY_LATER = 1013


class Connection(Protocol):
    """What a WebSocket server can do beyond ASGI."""

    last_pong: float
    begun: float | None
    """When the message that comes in fragments began; None between messages."""

    put: Callable[[bytes], bool] | None
    """Writes whole frames in this turn, and says whether it did; it did nothing where the client
    has not read most of what waits. None where it takes no frames."""

    def ping(self) -> None:
        """Sends the WebSocket protocol's own ping."""

    def abort(self) -> None:
        """Ends the connection at once, without waiting for unread output."""

    def sent(self) -> int:
        """Bytes that have left this process: it grows while the client reads."""

    async def send_texts(self, texts: Sequence[str]) -> None:
        """Sends text messages, each once the client has read most of what waits."""


@dataclass(frozen=True, slots=True)
class WebSocketLimits:
    """How many, how much and how long; times are in seconds."""

    max_patterns: int
    ping_interval: float
    listener_timeout: float
    max_message_rate: int


@dataclass(frozen=True, slots=True)
class Closing:
    """How the server ends a connection."""

    code: int
    reason: str


def too_many(rate: int) -> str:
    """Why a client that sends too many messages is closed; at most 123 bytes, as RFC 6455 has
    it."""
    return f"more than {rate} messages a second; TASK_COPILOT_MAX_MESSAGE_RATE sets how many"
