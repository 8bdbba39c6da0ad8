"""How a client reaches its hub, with the numbers that hold unless others are given."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from ssl import SSLContext
from typing import Protocol
from urllib.parse import urlsplit

import httpx2

from task_copilot.bearer import Given, given_token
from task_copilot.settings import CA_FILE_VARIABLE, TOKEN_VARIABLE

DEFAULT_ADDRESS = "http://127.0.0.1:9090"

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

    def http_client(
        self, options: "Options", context: SSLContext | None = None
    ) -> httpx2.AsyncClient:
        """A client for HTTP, which the caller closes; over TLS it trusts `context`, or nobody."""

    async def open_websocket(
        self,
        url: str,
        options: "Options",
        headers: Mapping[str, str] | None = None,
        context: SSLContext | None = None,
    ) -> Connection:
        """A connection to `url`, asked for with these headers; raises NoWebSocket."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """All times are in seconds."""

    api_base: str | None = None
    token: str | None = field(default=None, repr=False)
    ca_file: str | None = None
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
        given_token(self.token, None)

    @property
    def given(self) -> Given | None:
        """The token that was given; raises ValueError for a variable that holds none."""
        return given_token(self.token, os.environ.get(TOKEN_VARIABLE))

    @property
    def trusted(self) -> str | None:
        """The file with certificates that are trusted beside the system's."""
        return self.ca_file or os.environ.get(CA_FILE_VARIABLE) or None


def checked_address(text: str) -> str:
    """The address of a hub without a slash at its end; raises ValueError."""
    parts = urlsplit(text)
    try:
        parts.port  # noqa: B018 - raises ValueError for what is no port
    except ValueError:
        raise ValueError(f"{text!a} is no address of a hub: it has no valid port") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"{text!a} is no address of a hub; it looks like http://127.0.0.1:9090")
    return text.rstrip("/")
