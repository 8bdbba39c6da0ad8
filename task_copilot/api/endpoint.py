"""Serves a declared route: checks what comes in, reads one state, answers it or 304."""

import asyncio
import contextlib
import json
import logging
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ValidationError
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from task_copilot.api.answers import Answer
from task_copilot.api.handlers import make_stream_checkpoint
from task_copilot.api.parameters import OneStream, Parameters, StreamCheckpointBody
from task_copilot.api.routes import ApiRoute
from task_copilot.clock import Clock
from task_copilot.database.store import Database
from task_copilot.errors import InvalidInput, NotFound, StorageError, TaskCopilotError
from task_copilot.events import log
from task_copilot.events.log import LogRow, LogState
from task_copilot.events.requests import CURSOR_FIELDS, Refused
from task_copilot.schema import explain
from task_copilot.stream_queries import Ambiguous

logger = logging.getLogger(__name__)

MAX_QUERY_PARAMETERS = 50

READS_AT_ONCE = 2
"""Reads of the database for HTTP at the same time; the others wait for their turn, so that the
tools of this process never wait behind a crowd of them."""

TEN_SECONDS = len("2026-01-08T12:00:3")
"""So much of a timestamp stays the same for ten seconds."""


class Refusal(TaskCopilotError):
    """A request that is answered with `status` before any handler sees it."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Context:
    """What the routes share. `turns` are the reads of the database under way for HTTP."""

    database: Database[LogRow]
    clock: Clock
    checkpoints_kept: int
    turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(READS_AT_ONCE))


def endpoint(route: ApiRoute, context: Context) -> Callable[[Request], Any]:
    """The function that answers the requests of `route`."""
    turns = contextlib.nullcontext() if route.at_once is None else asyncio.Semaphore(route.at_once)

    async def respond(request: Request) -> Response:
        try:
            given = parameters(route, request)
            if route.body is not None:
                return await _write(route, context, given, await body_of(route, request))
            async with turns:
                return await _read(route, context, given, request)
        except TaskCopilotError as error:
            return refused(error)

    return respond


async def _read(route: ApiRoute, context: Context, given: Parameters, request: Request) -> Response:
    now = context.clock()
    known = etags(request.headers.get("if-none-match", ""))

    def query(connection: Connection) -> tuple[str, bytes | None]:
        state = log.state(connection)
        etag = _etag(state, request, now if route.volatile else "")
        if etag in known:
            return etag, None
        assert route.handler is not None  # noqa: S101 - only such routes come here
        return etag, encoded(route, route.handler(connection, given, now), state)

    async with context.turns:
        etag, body = await context.database.read(query)
    headers = {"ETag": etag, "Cache-Control": "no-cache"}
    if body is None:
        return Response(status_code=304, headers=headers)
    return Response(body, media_type="application/json", headers=headers)


def encoded(route: ApiRoute, fields: dict[str, Any], state: LogState) -> bytes:
    """The JSON of an answer at a state of the log."""
    assert route.answer is not None  # noqa: S101 - only such routes come here
    assert issubclass(route.answer, Answer)  # noqa: S101 - likewise
    answer = route.answer(**fields, seq=state.head, epoch=state.epoch)
    return answer.model_dump_json(by_alias=True).encode()


def _etag(state: LogState, request: Request, now: str) -> str:
    # With the request in it: an ETag that is known was given for this very resource, so the
    # resource exists as long as the state is the same.
    asked = zlib.crc32(f"{request.url.path}?{request.url.query}".encode())
    return f'"{state.epoch}-{state.head}-{asked:08x}{now and "-" + now[:TEN_SECONDS]}"'


def etags(header: str) -> set[str]:
    """What an ``If-None-Match`` header names."""
    return {item.strip().removeprefix("W/") for item in header.split(",")}


async def _write(route: ApiRoute, context: Context, given: Parameters, body: BaseModel) -> Response:
    if not isinstance(given, OneStream) or not isinstance(body, StreamCheckpointBody):
        raise TypeError(f"{route.path} has no operation")
    kept = context.checkpoints_kept
    fields = await context.database.write(
        lambda transaction: make_stream_checkpoint(transaction, given, body, kept)
    )
    async with context.turns:
        state = await context.database.read(log.state)
    return Response(
        encoded(route, fields, state), status_code=route.status, media_type="application/json"
    )


def parameters(route: ApiRoute, request: Request) -> Parameters:
    """The checked parameters of a request; raises InvalidInput, or Refused for a cursor."""
    pairs = request.query_params.multi_items()
    if len(pairs) > MAX_QUERY_PARAMETERS:
        raise InvalidInput(f"A request takes at most {MAX_QUERY_PARAMETERS} parameters.")
    raw: dict[str, str] = {}
    for name, value in pairs:
        if name in raw or name in request.path_params:
            raise InvalidInput(f"{name[:60]!a} is given more than once.")
        raw[name] = value
    return checked(route, {**raw, **request.path_params})


def checked(route: ApiRoute, raw: Mapping[str, str]) -> Parameters:
    """The parameters of `route` from their texts; raises InvalidInput, or Refused for a cursor."""
    try:
        return route.query.model_validate(raw)
    except ValidationError as error:
        message = explain(route.path, route.parameters_schema, error)
        if {item["loc"][:1] for item in error.errors()} <= {(name,) for name in CURSOR_FIELDS}:
            raise Refused("WS_INVALID_CURSOR", message) from None
        raise InvalidInput(message) from None


async def body_of(route: ApiRoute, request: Request) -> BaseModel:
    """The checked body of a request; raises Refusal and InvalidInput."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise Refusal(415, "The body of a request is JSON: send Content-Type: application/json.")
    try:
        value = json.loads(await request.body())
    except RecursionError:
        raise Refusal(400, "The body is nested too deep.") from None
    except ValueError as error:
        raise Refusal(400, f"The body is not JSON: {error}.") from None
    if not isinstance(value, dict):
        raise InvalidInput("The body must be a JSON object.")
    assert route.body is not None  # noqa: S101 - only such routes come here
    try:
        return route.body.model_validate(value)
    except ValidationError as error:
        raise InvalidInput(explain("the body", route.body_schema, error)) from None


def refused(error: TaskCopilotError) -> Response:
    """An expected failure as JSON."""
    content: dict[str, Any] = {"error": str(error)}
    if isinstance(error, Refused):
        content["code"] = error.code
    if isinstance(error, Ambiguous):
        content["workspaces"] = error.workspaces
    return JSONResponse(content, status_code=_status(error))


def _status(error: TaskCopilotError) -> int:
    if isinstance(error, Refusal):
        return error.status
    if isinstance(error, Ambiguous):
        return 409
    if isinstance(error, NotFound):
        return 404
    if isinstance(error, InvalidInput | Refused):
        return 422
    return 503 if isinstance(error, StorageError) else 500
