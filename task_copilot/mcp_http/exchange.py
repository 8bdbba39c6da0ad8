"""One request over HTTP to the tools, by way of the SDK.

Imported at the first request: the SDK takes longer to import than a hub may to start.
"""

import logging
from codecs import BOM_UTF8

import mcp_types as types
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from mcp.shared.inbound import unsupported_protocol_version_rejection
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, MODERN_PROTOCOL_VERSIONS
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Send

import task_copilot.tools.operations  # noqa: F401 - needed at the first call
from task_copilot import __version__
from task_copilot.mcp_http.address import Address
from task_copilot.mcp_http.bodies import message_of
from task_copilot.mcp_http.calls import Call
from task_copilot.mcp_http.parts import MAX_BODY_BYTES, Exchange, Parts, finished
from task_copilot.mcp_http.replies import INTERNAL_ERROR, Fault, Replies
from task_copilot.tools.adapter import build_server

CHECKED_BEFORE = TransportSecuritySettings(enable_dns_rebinding_protection=False)
"""Host and Origin, for all routes alike."""

TALKATIVE = ("mcp.server.streamable_http", "mcp.server.streamable_http_manager")
"""Loggers of the SDK that would tell of each request."""

VERSION_HEADER = "mcp-protocol-version"

ENDING = (
    "This Task Copilot process is ending and cannot say whether the call was carried out. The next "
    "one serves the same address: look there first, or send the call again with its requestId."
)


def exchange_of(parts: Parts) -> Exchange:
    """What answers the requests to the hub of `parts`."""
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)

    async def exchange(address: Address, body: bytes, request: Request, send: Send) -> None:
        _check_version(request)
        message = message_of(body)
        if _is_of_no_use(message, request):
            await Response(status_code=202)(request.scope, request.receive, send)
            return
        request_id = message.id if isinstance(message, types.JSONRPCRequest) else None
        replies = Replies(request.scope, request.receive, send, request_id)
        run = _by_the_sdk(Call(parts, address, request), body, replies)
        if not await finished(parts.bus, run) and not replies.begun:
            raise Fault(503, ENDING, code=INTERNAL_ERROR, request_id=request_id)

    return exchange


def _check_version(request: Request) -> None:
    version = request.headers.get(VERSION_HEADER)
    if version is None or version in HANDSHAKE_PROTOCOL_VERSIONS:
        return
    if (refused := unsupported_protocol_version_rejection(version)) is not None:
        raise Fault(400, refused.message, code=refused.code, data=refused.data)


def _is_of_no_use(message: types.JSONRPCMessage, request: Request) -> bool:
    """Whether it needs no answer and changes nothing: where no session is kept, there is none
    that a notification could be about. What the newest era makes of it, the SDK says."""
    modern = request.headers.get(VERSION_HEADER) in MODERN_PROTOCOL_VERSIONS
    return not modern and not isinstance(message, types.JSONRPCRequest)


async def _by_the_sdk(call: Call, body: bytes, replies: Replies) -> None:
    server = build_server(
        version=__version__,
        workspace=call.described,
        session=call.session,
        actor=call.actor,
        admit=call.admit,
    )
    # Of this request alone, which costs less than half of what a call does and leaves
    # nothing to be ended with the hub.
    manager = StreamableHTTPSessionManager(
        server,
        stateless=True,
        json_response=True,
        security_settings=CHECKED_BEFORE,
        max_request_body_size=MAX_BODY_BYTES,
    )
    async with manager.run():
        await manager.handle_request(
            call.request.scope, _again(body, call.request.receive), replies
        )


def _again(body: bytes, receive: Receive) -> Receive:
    body = body.removeprefix(BOM_UTF8)  # which only one of the SDK's two parsers takes
    waiting: list[Message] = [{"type": "http.request", "body": body}]

    async def given() -> Message:
        return waiting.pop() if waiting else await receive()

    return given
