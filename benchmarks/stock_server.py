"""The program itself on the SDK's own stdio transport instead of its own.

Run as ``python -m benchmarks.stock_server``.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server

from task_copilot import cli, server


class _Stock:
    """What the program asks of a transport beside its streams."""

    def __init__(self) -> None:
        self.first_answer = asyncio.Event()
        self.first_answer.set()

    def request_eof(self) -> None:
        """Nobody ends it in order: whoever measures kills it."""


async def serve_stock(
    served: Server[Any], *, ready: Callable[[Any], Awaitable[None]] | None = None
) -> None:
    """The same as `serve_stdio`, as the SDK's documentation has it."""
    if ready:
        await ready(_Stock())
    async with stdio_server() as (incoming, outgoing):
        await served.run(incoming, outgoing, served.create_initialization_options())


if __name__ == "__main__":
    server.serve_stdio = serve_stock  # type: ignore[attr-defined, assignment]
    cli.main()
