"""The link to a hub over the network."""

import logging
import os
import ssl
from collections.abc import Mapping

import httpx2
from websockets.asyncio.client import connect
from websockets.exceptions import (
    InvalidHandshake,
    InvalidMessage,
    InvalidStatus,
    WebSocketException,
)

from task_copilot.client.errors import NoWebSocket
from task_copilot.client.options import DEFAULT_ADDRESS, Connection, Link, Options
from task_copilot.client.tls import tls_reason
from task_copilot.credentials import is_loopback
from task_copilot.settings import URL_VARIABLE

MAX_FRAME_BYTES = 4 * 1024 * 1024
"""A hub ends a batch at 256 KiB, and no event is larger than 32 KiB."""

CLOSE_SECONDS = 1.0

quiet = logging.getLogger("task_copilot_client.websockets")
quiet.setLevel(logging.INFO)  # below that, websockets logs every header, and so the token


class Network:
    """Real connections; no proxy leads to this machine."""

    def http_client(
        self, options: Options, context: ssl.SSLContext | None = None
    ) -> httpx2.AsyncClient:
        """A client for a hub, which the caller closes; over TLS it trusts `context`, or nobody."""
        address = options.api_base or os.environ.get(URL_VARIABLE) or DEFAULT_ADDRESS
        return httpx2.AsyncClient(
            timeout=options.answer_timeout,
            trust_env=not is_loopback(address),
            verify=context or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
        )

    async def open_websocket(
        self,
        url: str,
        options: Options,
        headers: Mapping[str, str] | None = None,
        context: ssl.SSLContext | None = None,
    ) -> Connection:
        """A connection to `url`, asked for with these headers; raises NoWebSocket."""
        try:
            return await connect(
                url,
                ssl=context,
                additional_headers=headers,
                proxy=None if is_loopback(url) else True,
                compression=None,
                logger=quiet,
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
            status = error.response.status_code
            raise NoWebSocket(f"answered with {status}", status=status) from None
        except (OSError, EOFError, InvalidHandshake, InvalidMessage, WebSocketException) as error:
            raise NoWebSocket(tls_reason(error) or str(error) or type(error).__name__) from None


def link_of(options: Options) -> Link:
    """What leads a client with these options to its hub."""
    return options.link or Network()
