"""The HTTP side of ``/mcp``: what a request must look like, before any of it is understood."""

import asyncio

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from task_copilot.errors import InvalidInput
from task_copilot.mcp_http.address import address_of
from task_copilot.mcp_http.parts import MAX_BODY_BYTES, Exchange, Parts
from task_copilot.mcp_http.replies import Fault

JSON = "application/json"


class McpEndpoint:
    """ASGI application for POST requests, each of which is a call of its own: nothing is kept
    from one to the next, so they may go to different hubs."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._exchange: Exchange | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            address = address_of(request.query_params.multi_items())
            _check_headers(request)
            body = await _whole_body(request)
            if self._exchange is None:
                # In a thread: where no agent has spoken to this process, it takes half a second.
                self._exchange = await asyncio.to_thread(_load, self._parts)
            await self._exchange(address, body, request, send)
        except InvalidInput as error:
            answer = JSONResponse({"error": str(error)}, status_code=422)
            await answer(scope, receive, send)
        except Fault as fault:
            await fault.response()(scope, receive, send)
        except ClientDisconnect:  # nobody is there to be answered
            return


def _load(parts: Parts) -> Exchange:
    from task_copilot.mcp_http.exchange import exchange_of

    return exchange_of(parts)


def _check_headers(request: Request) -> None:
    if _media_type(request.headers.get("content-type", "")) != JSON:
        raise Fault(415, f"The body is a JSON-RPC message: send Content-Type: {JSON}.")
    accepted = {_media_type(part) for part in request.headers.get("accept", "").split(",")}
    if not accepted & {JSON, "application/*", "*/*"}:
        raise Fault(406, f"Answers are JSON: send Accept: {JSON}, text/event-stream.")


def _media_type(text: str) -> str:
    return text.partition(";")[0].strip().lower()


async def _whole_body(request: Request) -> bytes:
    taken = bytearray()
    async for chunk in request.stream():
        taken += chunk
        if len(taken) > MAX_BODY_BYTES:
            raise Fault(413, f"A body is at most {MAX_BODY_BYTES:,} bytes.")
    return bytes(taken)
