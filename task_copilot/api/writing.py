"""The routes that write as the tools do: the same arguments, checks, sentences and answers."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from task_copilot import overview, workspaces
from task_copilot.api.endpoint import Context, body_of, encoded, parameters, refused
from task_copilot.api.handlers import ACTOR, check_workspace, no_task
from task_copilot.api.parameters import ChangedTask
from task_copilot.api.routes import ApiRoute
from task_copilot.clock import Clock
from task_copilot.database.store import Database
from task_copilot.database.transaction import Transaction
from task_copilot.errors import InvalidInput, NotFound, TaskCopilotError
from task_copilot.events import log
from task_copilot.events.log import LogRow
from task_copilot.events.types import camel
from task_copilot.identity import identity_of
from task_copilot.ids import parse_task_id
from task_copilot.requests import Request as KnownRequest
from task_copilot.schema import explain
from task_copilot.stream_queries import Ambiguous
from task_copilot.tools import operations
from task_copilot.tools.answers import Answer
from task_copilot.tools.registry import TOOLS_BY_NAME, Tool
from task_copilot.tools.requests import Change, once
from task_copilot.workspaces import Scope, Workspace

T = TypeVar("T")

ACTOR_CHARACTERS = 100
OF_OUR_PAGE = "dashboard"
"""Who acts where a person does in a browser."""

_PRODUCT = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
"""The name at the beginning of a ``User-Agent`` (RFC 9110, a token)."""

_ARGUMENT = re.compile(r"([A-Za-z]+)[.\[:]")
"""The argument at the beginning of a sentence about it."""


class WhichWorkspace(Ambiguous):
    """A new task without a workspace, where there are several; `workspaces` are their names."""

    def __init__(self, names: list[str]) -> None:
        NotFound.__init__(
            self,
            f"The database has several workspaces: {', '.join(names)}. Say which with ?workspace=",
        )
        self.workspaces = names


@dataclass
class RequestSession:
    """What the tools need, for one request; its workspace is found in its transaction.

    `task` is the task that the request names, None for a new one.
    """

    database: Database[LogRow]
    checkpoints_kept: int
    clock: Clock
    workspace: str | None
    task: int | None

    async def write(
        self, actor: str, change: Change, request: KnownRequest | None = None
    ) -> Answer:
        """Commits `change` and returns its answer; a known `request` is answered as before."""

        def run(transaction: Transaction) -> Answer:
            return once(transaction, Scope(self._place(transaction), actor), change, request)

        return await self.database.write(run)

    async def read(self, query: Callable[[Connection, Workspace | None], T]) -> T:
        """The result of `query` in one read transaction."""
        return await self.database.read(
            lambda connection: query(connection, self._place_of_task(connection))
        )

    def _place(self, transaction: Transaction) -> Workspace:
        if self.task is not None:
            return self._place_of_task(transaction.connection)
        if self.workspace is not None:
            return workspaces.by_name(transaction, self.workspace)
        return _only_one(transaction.connection)

    def _place_of_task(self, connection: Connection) -> Workspace:
        """The named workspace, in which the tool looks for the task, else the task's own."""
        check_workspace(connection, self.workspace)
        name = self.workspace
        if name is None and self.task is not None:
            row = overview.one_task(connection, self.task)
            if row is None:
                raise no_task(self.task)
            name = row.workspace
        found = None if name is None else workspaces.named(connection, name)
        assert found is not None  # noqa: S101 - it was found in this very transaction
        return found


def _only_one(connection: Connection) -> Workspace:
    every = workspaces.every(connection)
    if not every:
        raise InvalidInput(
            "workspace: is missing, and there is none yet; name one with ?workspace=, and it is "
            "made."
        )
    if len(every) > 1:
        raise WhichWorkspace([each.name for each in every])
    return every[0]


def tool_endpoint(route: ApiRoute, context: Context) -> Callable[[Request], Awaitable[Response]]:
    """The function that answers the requests of a `route` that has a tool."""
    tool = TOOLS_BY_NAME[route.tool or ""]

    async def respond(request: Request) -> Response:
        try:
            return await _carried_out(route, tool, context, request)
        except InvalidInput as error:
            return _rejected(tool, error)
        except TaskCopilotError as error:
            return refused(error)

    return respond


async def _carried_out(route: ApiRoute, tool: Tool, context: Context, request: Request) -> Response:
    query: Any = parameters(route, request)
    body = await body_of(route, request)
    task = query.task_id if isinstance(query, ChangedTask) else None
    arguments = _arguments(tool, body, task)
    session = RequestSession(
        *(context.database, context.checkpoints_kept, context.clock, query.workspace),
        None if task is None else parse_task_id(task, _id_argument(tool)),
    )
    actor = actor_of(request, getattr(body, "agent", None))
    operation: Callable[..., Awaitable[Answer]] = getattr(operations, tool.name)
    answer = await operation(session, actor, arguments)
    state = await context.database.read(log.state)
    return Response(
        encoded(route, _fields(route, answer), state),
        status_code=route.status,
        media_type="application/json",
    )


def _id_argument(tool: Tool) -> str:
    return "id" if "id" in tool.arguments.model_fields else "taskId"


def _arguments(tool: Tool, body: BaseModel, task: str | None) -> Any:
    """The tool's arguments: those of the body, and the task of the address."""
    given = body.model_dump(by_alias=True, exclude_unset=True)
    if task is not None:
        given[_id_argument(tool)] = task
    try:
        return tool.arguments.model_validate(given)
    except ValidationError as error:
        raise InvalidInput(explain(tool.name, tool.input_schema, error)) from None


def _fields(route: ApiRoute, answer: Answer) -> dict[str, Any]:
    """The tool's answer with every field, null where it has no value."""
    assert route.answer is not None  # noqa: S101 - such routes answer JSON
    names = [camel(name) for name in route.answer.model_fields if name not in {"seq", "epoch"}]
    return {**dict.fromkeys(names), **(answer.structured or {})}


def actor_of(request: Request, agent: str | None) -> str:
    """Who acts: `agent` if one is named, else the name that the token gives, else our page in a
    browser, else the program that asks."""
    said = agent or identity_of(request.scope).subject
    return (said or _program(request))[:ACTOR_CHARACTERS]


def _program(request: Request) -> str:
    origin, host = request.headers.get("origin"), request.headers.get("host")
    if origin is not None and origin.partition("://")[2] == host:
        return OF_OUR_PAGE
    product = _PRODUCT.match(request.headers.get("user-agent", ""))
    return ACTOR if product is None else product[0]


def _rejected(tool: Tool, error: InvalidInput) -> Response:
    """What was wrong, with the argument that it is about where the sentence begins with one."""
    if isinstance(error, NotFound):
        return refused(error)
    found = _ARGUMENT.match(str(error))
    names = {"workspace", *tool.input_schema["properties"]}
    field = found[1] if found is not None and found[1] in names else None
    return JSONResponse({"error": str(error), "field": field}, status_code=422)
