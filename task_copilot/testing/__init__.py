"""A server in memory, for the tests of programs that listen to Task Copilot.

from task_copilot.testing import MemoryServer

with MemoryServer() as server:
    client = server.client()
    client.subscribe(["task:*"], callback)
    server.call("task_create", title="Pay by card", streamId="Stream-A")
"""

from task_copilot.testing.server import CallbackOptions, ClientOptions, MemoryServer
from task_copilot.testing.serving import ToolRefused

__all__ = ["CallbackOptions", "ClientOptions", "MemoryServer", "ToolRefused"]
