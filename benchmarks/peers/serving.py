"""uvicorn as all servers on ASGI here use it, on a free port."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import uvicorn


def listening() -> socket.socket:
    """On a free port of the loopback. That it is TCP is said, since asyncio turns Nagle's delay
    off only where it knows."""
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    found.bind(("127.0.0.1", 0))
    return found


@contextlib.asynccontextmanager
async def served(app: Any) -> AsyncIterator[int]:
    """Serves `app` without compression, pings and logs; the port."""
    configuration = uvicorn.Config(
        app,
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        ws_ping_interval=None,
        lifespan="off",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=1,
    )
    server, socket_ = uvicorn.Server(configuration), listening()
    serving = asyncio.create_task(server.serve(sockets=[socket_]))
    while not server.started:  # noqa: ASYNC110 - uvicorn tells nobody
        await asyncio.sleep(0.01)
    yield socket_.getsockname()[1]
    server.should_exit = True
    await serving
