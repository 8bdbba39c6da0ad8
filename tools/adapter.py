"""The tools as an MCP server offers them: the list, the checks, and errors as answers."""

import logging
from collections.abc import Awaitable, Callable
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from pydantic import ValidationError

from task_copilot.errors import TaskCopilotError
from task_copilot.schema import explain
from task_copilot.tools.registry import TOOLS, TOOLS_BY_NAME, Tool, instructions

if TYPE_CHECKING:
    from task_copilot.tools.answers import Answer
    from task_copilot.tools.session import ToolSession

logger = logging.getLogger(__name__)

ACTOR_CHARACTERS = 100


def listed(tool: Tool) -> types.Tool:
    """A tool as ``tools/list`` shows it."""
    hints = types.ToolAnnotations(read_only_hint=True, open_world_hint=False)
    if tool.writes:
        hints = types.ToolAnnotations(
            read_only_hint=False,
            destructive_hint=False,
            idempotent_hint=tool.idempotent,
            open_world_hint=False,
        )
    return types.Tool(
        name=tool.name,
        description=tool.description,
        input_schema=tool.input_schema,
        annotations=hints,
        _meta={"anthropic/alwaysLoad": True} if tool.always_load else None,
    )


def build_server(
    *,
    version: str,
    workspace: str,
    session: "Callable[[], Awaitable[ToolSession]]",
    actor: Callable[[str | None], str],
    admit: Callable[[Tool], Awaitable[None]] | None = None,
) -> Server[Any]:
    """The MCP server of the tools.

    `session` is asked at each call and may raise a TaskCopilotError, which the agent then
    reads; so may `admit`, before the arguments are looked at. `actor` says who acts, given
    the client's name, where a call does not.
    """

    async def list_tools(_context: object, _params: object) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[listed(tool) for tool in TOOLS])

    async def call_tool(
        context: ServerRequestContext[Any], params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        tool = TOOLS_BY_NAME.get(params.name)
        if tool is None:
            return failure(unknown(params.name))
        if admit is not None:
            try:
                await admit(tool)
            except TaskCopilotError as error:
                return failure(str(error))
        return await call(tool, params.arguments or {}, session, actor(client_name(context)))

    server = Server[Any](
        "task-copilot",
        title="Task Copilot",
        version=version,
        instructions=instructions(workspace),
        get_tool_input_schema=schema_of,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )
    server.middleware.clear()  # OpenTelemetry's, which nobody configures in a stdio server
    return server


def unknown(name: str) -> str:
    """What an agent reads that calls a tool that does not exist."""
    return f"There is no tool {name!r}. There are: {', '.join(TOOLS_BY_NAME)}."


def schema_of(name: str) -> dict[str, Any] | None:
    """What a tool takes; over HTTP the SDK would make the whole list for it, at each call."""
    tool = TOOLS_BY_NAME.get(name)
    return None if tool is None else tool.input_schema


def client_name(context: ServerRequestContext[Any]) -> str | None:
    """What the client calls itself, in either era of the protocol; None if it does not."""
    params = context.session.client_params
    return None if params is None else params.client_info.name


@cache
def operation_of(tool: Tool) -> "Callable[[ToolSession, str, Any], Awaitable[Answer]]":
    """The function that carries out `tool`; imported at the first call of any."""
    function: Callable[[ToolSession, str, Any], Awaitable[Answer]] = getattr(
        import_module("task_copilot.tools.operations"), tool.name
    )
    return function


async def call(
    tool: Tool,
    arguments: dict[str, Any],
    session: "Callable[[], Awaitable[ToolSession]]",
    actor: str,
) -> types.CallToolResult:
    """Carries out one call; every failure becomes an answer that the agent can act on."""
    try:
        given = tool.arguments.model_validate(arguments)
        operation = operation_of(tool)
        said = getattr(given, "agent", None) or actor
        return success(await operation(await session(), said[:ACTOR_CHARACTERS], given))
    except ValidationError as error:
        return failure(explain(tool.name, tool.input_schema, error))
    except TaskCopilotError as error:
        return failure(str(error))
    except Exception:
        logger.exception("%s failed; the agent was told that nothing was written.", tool.name)
        return failure(
            f"{tool.name} failed inside Task Copilot and nothing was written. "
            "This is a defect; the server's log on stderr has the details."
        )


def success(answer: "Answer") -> types.CallToolResult:
    """An answer as MCP sends it."""
    return types.CallToolResult(
        content=[types.TextContent(type="text", text=answer.text)],
        structured_content=answer.structured,
    )


def failure(message: str) -> types.CallToolResult:
    """An error that the model reads."""
    return types.CallToolResult(
        is_error=True, content=[types.TextContent(type="text", text=message)]
    )
