"""The measuring stick: an MCP server on the program's own transport, whose one tool does nothing.

Run as ``python -m benchmarks.noop_server``; with ``stock`` behind it on the SDK's own transport.
"""

import asyncio
import gc
import sys
from typing import Any

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server

from benchmarks.stock_server import serve_stock
from task_copilot.stdio import serve_stdio

DONE = types.CallToolResult(content=[types.TextContent(type="text", text="done")])


async def call_tool(
    _context: ServerRequestContext[Any], _params: types.CallToolRequestParams
) -> types.CallToolResult:
    """The answer that was made before."""
    return DONE


if __name__ == "__main__":
    gc.freeze()  # as the program itself does
    serve = serve_stock if "stock" in sys.argv else serve_stdio
    asyncio.run(serve(Server("noop", on_call_tool=call_tool)))
