"""MCP over HTTP: the tools at ``/mcp``, each request for itself, in either era of the protocol.

`endpoint` is what the hub imports; the SDK behind it is imported at the first request.
"""

from task_copilot.mcp_http.address import PATH
from task_copilot.mcp_http.endpoint import McpEndpoint
from task_copilot.mcp_http.parts import Parts

__all__ = ["PATH", "McpEndpoint", "Parts"]
