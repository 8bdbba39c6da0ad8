"""MCP over stdin and stdout: one JSON-RPC message per line, every line answered.

Runs in the event loop without tasks or threads of its own; only an input that the loop cannot
watch (a regular file, ``/dev/null``, Windows) is read by a thread.
"""

from task_copilot.stdio.transport import StdioTransport, serve_stdio

__all__ = ["StdioTransport", "serve_stdio"]
