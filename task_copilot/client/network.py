"""The link to a hub over the network."""

import os

import httpx2
from websockets.asyncio.client import connect
from websockets.exceptions import (
    InvalidHandshake,
    InvalidMessage,
    InvalidStatus,
    WebSocketException,
)

from task_copilot.client.errors import NoWebSocket
from task_copilot.client.finding import DEFAULT_ADDRESS
from task_copilot.client.options import Connection, Link, Options, is_loopback

MAX_FRAME_BYTES = 4 * 1024 * 1024
"""A hub ends a batch at 256 KiB, and no event is larger than 32 KiB."""

CLOSE_SECONDS = 1.0


class Network:
    """Real connections; no proxy leads to this machine."""

    def http_client(self, options: Options) -> httpx2.AsyncClient:
        """A client for a hub, which the caller closes."""
        address = options.api_base or os.environ.get("TASK_COPILOT_URL") or DEFAULT_ADDRESS
        return httpx2.AsyncClient(
            headers=options.headers,
            timeout=options.answer_timeout,
            trust_env=not is_loopback(address),
        )

    async def open_websocket(self, url: str, options: Options) -> Connection:
        """A connection to `url`; raises NoWebSocket."""
        try:
            return await connect(
                url,
                additional_headers=options.headers,
                proxy=None if is_loopback(url) else True,
                compression=None,
                max_size=MAX_FRAME_BYTES,
                open_timeout=options.answer_timeout,
                ping_interval=options.keepalive,
                ping_timeout=options.keepalive,
                close_timeout=CLOSE_SECONDS,
            )
        except TimeoutError:
            reason = f"no answer to the handshake in {options.answer_timeout:g} s"
            raise NoWebSocket(reason, silent=True) from None
        except InvalidStatus as error:
            raise NoWebSocket(f"answered with {error.response.status_code}") from None
        except (OSError, EOFError, InvalidHandshake, InvalidMessage, WebSocketException) as error:
            raise NoWebSocket(str(error) or type(error).__name__) from None


def link_of(options: Options) -> Link:
    """What leads a client with these options to its hub."""
    return options.link or Network()
