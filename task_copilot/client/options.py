"""How a client reaches its hub, with the numbers that hold unless others are given."""

import ipaddress
import os
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

import httpx2

from task_copilot.settings import TOKEN_VARIABLE

POLL_SECONDS = 30.0
"""Between two requests where waiting for an answer does not work."""

WAIT_SECONDS = 30.0
MAX_WAIT_SECONDS = 60.0
"""How long a request over HTTP may wait for an event."""

KEEPALIVE_SECONDS = 20.0
"""Between two pings on a WebSocket, and how long the answer may take."""

WEBSOCKET_RETRY_SECONDS = 30.0
"""Between two looks at whether WebSockets work again, half as much or half more by chance."""

ANSWER_SECONDS = 5.0
"""How long a hub may take to answer a handshake, a subscribe, or a request that does not wait."""


class Connection(Protocol):
    """An open WebSocket. `send` and `recv` raise websockets' ConnectionClosed once it has ended,
    `recv` behind the last message."""

    async def send(self, message: str, /) -> None:
        """Sends a text message."""

    async def recv(self) -> str | bytes:
        """The next message."""

    async def close(self) -> None:
        """Ends it."""


class Link(Protocol):
    """What leads to a hub: the network, or a server in memory."""

    def http_client(self, options: "Options") -> httpx2.AsyncClient:
        """A client for HTTP, which the caller closes."""

    async def open_websocket(self, url: str, options: "Options") -> Connection:
        """A connection to `url`; raises NoWebSocket."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """All times are in seconds."""

    api_base: str | None = None
    token: str | None = None
    workspace: str | None = None
    use_websocket: bool = True
    poll_interval: float = POLL_SECONDS
    wait: float = WAIT_SECONDS
    keepalive: float = KEEPALIVE_SECONDS
    websocket_retry: float = WEBSOCKET_RETRY_SECONDS
    answer_timeout: float = ANSWER_SECONDS
    link: Link | None = None
    """None: the network."""

    def __post_init__(self) -> None:
        if self.api_base is not None:
            checked_address(self.api_base)
        for name in ("poll_interval", "keepalive", "websocket_retry", "answer_timeout"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: is a number of seconds above 0")
        if not 0 <= self.wait <= MAX_WAIT_SECONDS:
            raise ValueError(f"wait: is 0 to {MAX_WAIT_SECONDS:.0f} seconds")
        if self.workspace == "":
            raise ValueError("workspace: is a name, or None for all")

    @property
    def headers(self) -> dict[str, str]:
        """The headers of every request."""
        token = self.token or os.environ.get(TOKEN_VARIABLE)
        return {"Authorization": f"Bearer {token}"} if token else {}


def checked_address(text: str) -> str:
    """The address of a hub without a slash at its end; raises ValueError."""
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"{text!a} is no address of a hub; it looks like http://127.0.0.1:9090")
    return text.rstrip("/")


def is_loopback(address: str) -> bool:
    """Whether an address is this machine's own, which no proxy can reach for it."""
    host = urlsplit(address).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
