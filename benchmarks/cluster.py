"""Several servers on one database, as several sessions of one user are."""

from collections.abc import Sequence
from contextlib import ExitStack

from benchmarks.mcp_process import McpProcess
from benchmarks.sandbox import SERVER, Sandbox


def start_cluster(
    stack: ExitStack, sandbox: Sandbox, count: int, command: Sequence[str] = SERVER
) -> list[McpProcess]:
    """As many servers; the first is the hub, and the nth has made TASK-n."""
    hub = start_session(stack, sandbox, command)
    sandbox.wait_for_hub()
    return [hub, *(start_session(stack, sandbox, command) for _ in range(count - 1))]


def start_session(
    stack: ExitStack, sandbox: Sandbox, command: Sequence[str] = SERVER
) -> McpProcess:
    """A server that has opened the database and written."""
    server = stack.enter_context(McpProcess(command, sandbox.environment, sandbox.folder))
    server.initialize()
    server.call("task_create", {"title": "Implement the types", "streamId": "Stream-A"})
    return server
