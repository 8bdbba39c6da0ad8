"""A small MCP server on `task_copilot.stdio`, for the tests of that transport.

Its environment chooses what is special about a run:
STDIO_MAX_LINE, STDIO_DRAIN  the limits of the transport
STDIO_GATE                   a FIFO: the server starts to read when somebody has written to it
STDIO_ANNOUNCE_FIRST_ANSWER  start to read after the first answer, and say so on stderr
STDIO_PRINT_AT_EXIT          print without a newline, before serving, in a tool and at exit
STDIO_STOCK                  the SDK's own transport instead, to compare with
"""

import asyncio
import atexit
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import mcp_types as types
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server

from task_copilot.stdio import StdioTransport, serve_stdio
from task_copilot.stdio.transport import DRAIN_SECONDS, MAX_LINE_BYTES

ToolFunction = Callable[[dict[str, Any]], Awaitable[str]]


class Tools:
    def __init__(self) -> None:
        self.released = asyncio.Event()
        self.made_big = 0

    async def echo(self, arguments: dict[str, Any]) -> str:
        return str(arguments.get("text", ""))

    async def inspect(self, arguments: dict[str, Any]) -> str:
        """Answer ASCII only, whatever came in."""
        depth, value = 0, arguments.get("nested")
        while isinstance(value, list):
            depth, value = depth + 1, value[0] if value else None
        return f"depth {depth} text {arguments.get('text')!a}"

    async def noisy(self, arguments: dict[str, Any]) -> str:
        print("stray print")  # noqa: T201
        print("stray flushed print", flush=True)  # noqa: T201
        print("stray original stdout", file=sys.__stdout__, flush=True)
        os.write(1, b"stray os.write\n")
        await asyncio.to_thread(subprocess.run, ["echo", "stray child"], check=True)
        read = await asyncio.to_thread(subprocess.run, ["cat"], capture_output=True, check=True)
        return f"the child read {read.stdout!r}"

    async def slow(self, arguments: dict[str, Any]) -> str:
        log("slow has started")
        await self.released.wait()
        return "released"

    async def release(self, arguments: dict[str, Any]) -> str:
        self.released.set()
        return "ok"

    async def big(self, arguments: dict[str, Any]) -> str:
        self.made_big += 1
        return "x" * int(arguments["size"])

    async def surrogate(self, arguments: dict[str, Any]) -> str:
        return "a lone \ud800"

    async def fail(self, arguments: dict[str, Any]) -> str:
        raise ValueError(f"no such task: {arguments.get('text')}")


def log(text: str) -> None:
    if sys.stderr:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()


def build_server(tools: Tools) -> Server[Any]:
    names = [name for name in vars(Tools) if not name.startswith("_")]
    schema = {"type": "object"}

    async def list_tools(ctx: object, params: object) -> types.ListToolsResult:
        listed = [types.Tool(name=name, input_schema=schema) for name in names]
        return types.ListToolsResult(tools=listed)

    async def call_tool(ctx: object, params: types.CallToolRequestParams) -> types.CallToolResult:
        if params.name not in names:
            text, failed = f"no tool {params.name!a}", True
        else:
            function: ToolFunction = getattr(tools, params.name)
            text, failed = await function(params.arguments or {}), False
        content = types.TextContent(type="text", text=text)
        return types.CallToolResult(content=[content], is_error=failed)

    async def listen(ctx: object, params: object) -> types.SubscriptionsListenResult:
        log("listening")
        await asyncio.Event().wait()
        raise AssertionError

    return Server(
        "echo",
        version="1",
        instructions="For tests.",
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        on_subscriptions_listen=listen,
    )


async def ready(tools: Tools, transport: StdioTransport) -> None:
    if sys.platform != "win32":
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, transport.request_eof)
        loop.add_signal_handler(signal.SIGUSR1, lambda: log(f"made {tools.made_big} big"))
    log("ready")
    if gate := os.environ.get("STDIO_GATE"):
        await asyncio.to_thread(Path(gate).read_bytes)
    if "STDIO_ANNOUNCE_FIRST_ANSWER" in os.environ:
        await transport.first_answer.wait()
        log("first answer")


async def main() -> None:
    tools = Tools()
    server = build_server(tools)
    if "STDIO_PRINT_AT_EXIT" in os.environ:
        print("buffered before", end="")  # noqa: T201
        old_stdout = sys.stdout
        atexit.register(lambda: print("buffered at exit", end="", file=old_stdout))
        atexit.register(lambda: print("printed at exit", end=""))  # noqa: T201
    if "STDIO_STOCK" in os.environ:
        async with stdio_server() as (read_stream, write_stream):
            await server.run(read_stream, write_stream, server.create_initialization_options())
        return
    await serve_stdio(
        server,
        ready=partial(ready, tools),
        max_line_bytes=int(os.environ.get("STDIO_MAX_LINE", MAX_LINE_BYTES)),
        drain_seconds=float(os.environ.get("STDIO_DRAIN", DRAIN_SECONDS)),
    )
    log("served")


if __name__ == "__main__":
    asyncio.run(main())
