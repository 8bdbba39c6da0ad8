"""The transport between the descriptors and the SDK's server."""

import asyncio
import json
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Self

import anyio
import mcp_types as types
from mcp.server.caching import apply_cache_hint
from mcp.server.lowlevel import Server
from mcp.shared.inbound import InboundLadderRejection, classify_inbound_request
from mcp.shared.jsonrpc_dispatcher import handler_exception_to_error_data
from mcp.shared.message import MessageMetadata, ServerMessageMetadata, SessionMessage
from mcp_types.methods import serialize_server_result, validate_client_request
from mcp_types.version import LATEST_MODERN_VERSION, MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError

from task_copilot.stdio.descriptors import Input, Output, claim_standard_streams
from task_copilot.stdio.messages import LineSplitter, Refused, find_id, read_message

log = logging.getLogger(__name__)

MAX_LINE_BYTES = 64 << 20
# A script that pipes requests in waits for slow ones; beyond this a tool is taken to be stuck.
DRAIN_SECONDS = 10.0
# Claude Code follows SIGINT with SIGTERM after 0.1 s and with SIGKILL 0.4 s later.
SIGNAL_GRACE_SECONDS = 0.1
MAX_QUEUED, MAX_IN_FLIGHT = 128, 1024
DISCOVER = "server/discover"
# Answered when the connection ends, so the end of the connection must not wait for them.
ENDLESS_METHODS = frozenset({"subscriptions/listen"})


class _Stream:
    """What `Server.run` expects of both streams: closing is left to the transport."""

    async def aclose(self) -> None:
        pass

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass


class _ReadStream(_Stream):
    def __init__(self, receive: Callable[[], Awaitable[SessionMessage | Exception]]) -> None:
        self._receive = receive

    async def receive(self) -> SessionMessage | Exception:
        return await self._receive()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        try:
            return await self._receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None


class _WriteStream(_Stream):
    def __init__(self, send: Callable[[SessionMessage], Awaitable[None]]) -> None:
        self._send = send

    async def send(self, item: SessionMessage, /) -> None:
        await self._send(item)


def _discover_fault(params: dict[str, Any]) -> types.ErrorData | None:
    """Return the server's own objection, except that a client need not name a version."""
    meta = params.get("_meta")
    if not isinstance(meta, dict) or types.PROTOCOL_VERSION_META_KEY not in meta:
        return None
    route = classify_inbound_request({"method": DISCOVER, "params": params})
    if isinstance(route, InboundLadderRejection):
        return types.ErrorData(code=route.code, message=route.message, data=route.data)
    try:
        validate_client_request(DISCOVER, route.protocol_version, params)
    except ValidationError as error:
        return handler_exception_to_error_data(error)
    return None


class StdioTransport:
    """Takes over stdin and stdout for `server`; to be entered inside the running loop, once.

    `server/discover` is answered here, at any time and without a trace: the server itself would
    take it for the client's choice of the 2026 protocol era and refuse a later `initialize`.
    """

    def __init__(
        self,
        server: Server[Any],
        *,
        max_line_bytes: int = MAX_LINE_BYTES,
        drain_seconds: float = DRAIN_SECONDS,
    ) -> None:
        self._server, self._max_line, self._drain_seconds = server, max_line_bytes, drain_seconds
        # Set once the first answer has been written to stdout.
        self.first_answer = asyncio.Event()
        self.read_stream, self.write_stream = _ReadStream(self._receive), _WriteStream(self._send)
        self._lines = LineSplitter(max_line_bytes, self._on_line, self._on_oversize)
        self._queue: deque[SessionMessage] = deque()
        self._unanswered: set[object] = set()
        self._wakeup: asyncio.Future[None] | None = None
        self._ended = self._expired = False
        self._expiry: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        wire_in, wire_out = claim_standard_streams()
        self._output = Output(wire_out, self._on_output_change, partial(self._end, 0))
        self._input = Input(wire_in, self._on_chunk)
        self._input.resume()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._input.close()
        left = self._expiry.when() - self._loop.time() if self._expiry else self._drain_seconds
        await self._output.close(max(left, SIGNAL_GRACE_SECONDS))
        if self._expiry:
            self._expiry.cancel()

    def request_eof(self) -> None:
        """End as if the client had closed stdin, but wait only 0.1 s for answers under way."""
        self._end(SIGNAL_GRACE_SECONDS)

    def _end(self, grace: float) -> None:
        """Read no more; end the server's stream when all is answered or `grace` has passed."""
        self._input.close()
        self._ended = True
        deadline = self._loop.time() + grace
        if self._expiry is None or deadline < self._expiry.when():
            if self._expiry:
                self._expiry.cancel()
            self._expiry = self._loop.call_at(deadline, self._expire)
        self._wake()

    def _expire(self) -> None:
        self._expired = True
        self._wake()

    def _wake(self) -> None:
        if self._wakeup and not self._wakeup.done():
            self._wakeup.set_result(None)

    def _regulate(self) -> None:
        """Read on only while the client takes its answers and the server keeps up."""
        queued, unanswered = len(self._queue), len(self._unanswered)
        if self._output.full or queued >= MAX_QUEUED or unanswered >= MAX_IN_FLIGHT:
            self._input.pause()
        else:
            self._input.resume()

    def _on_output_change(self) -> None:
        self._regulate()
        self._wake()

    def _on_chunk(self, chunk: bytes) -> None:
        if chunk:
            self._lines.feed(chunk)
            self._regulate()
        else:
            self._lines.end_line()
            self._end(self._drain_seconds)

    def _on_line(self, line: bytes | bytearray) -> None:
        if not line or line.isspace():
            return
        try:
            self._accept(read_message(line))
        except Refused as refused:
            self._write_error(refused.request_id, refused.code, refused.message)
        except Exception:
            log.exception("a line could not be handled")
            self._write_error(find_id(line), types.INTERNAL_ERROR, "Internal server error")

    def _on_oversize(self, line: bytearray) -> None:
        message = f"a line longer than {self._max_line} bytes"
        self._write_error(find_id(line), types.PARSE_ERROR, message)

    def _accept(self, message: types.JSONRPCMessage) -> None:
        metadata: MessageMetadata = None
        if isinstance(message, types.JSONRPCRequest):
            if message.method == DISCOVER:
                self._discover(message)
                return
            if message.method not in ENDLESS_METHODS:
                self._unanswered.add(message.id)
                # The server calls this for a request that the client has cancelled.
                settle = partial(self._settle_unanswered, message.id)
                metadata = ServerMessageMetadata(on_request_unanswered=settle)
        self._queue.append(SessionMessage(message, metadata))
        self._wake()

    def _discover(self, request: types.JSONRPCRequest) -> None:
        if fault := _discover_fault(request.params or {}):
            self._write_error(request.id, fault.code, fault.message, fault.data)
        else:
            result = self._discover_result()
            self._write(types.JSONRPCResponse(jsonrpc="2.0", id=request.id, result=result))

    def _discover_result(self) -> dict[str, Any]:
        server, version = self._server, LATEST_MODERN_VERSION
        result = types.DiscoverResult(
            supported_versions=list(MODERN_PROTOCOL_VERSIONS),
            capabilities=server.get_capabilities(protocol_version=version),
            instructions=server.instructions,
        )
        if hint := server.cache_hints.get(DISCOVER):
            result = apply_cache_hint(result, hint)
        dumped = result.model_dump(by_alias=True, mode="json", exclude_none=True)
        dumped = serialize_server_result(DISCOVER, version, dumped)
        return dumped | {"_meta": {types.SERVER_INFO_META_KEY: server.server_info_stamp}}

    async def _receive(self) -> SessionMessage:
        while not self._expired:
            # Not while the client leaves answers unread: each request would add one to memory.
            if self._queue and not self._output.full:
                message = self._queue.popleft()
                self._regulate()
                return message
            if self._ended and not self._queue and not self._unanswered:
                break
            self._wakeup = self._loop.create_future()
            await self._wakeup
        raise anyio.EndOfStream

    async def _send(self, item: SessionMessage) -> None:
        while self._output.full and not self._expired:
            await self._output.empty.wait()
        if self._output.closed:
            raise anyio.BrokenResourceError
        self._write(item.message)

    def _write(self, message: types.JSONRPCMessage) -> None:
        try:
            text = message.model_dump_json(by_alias=True, exclude_unset=True)
        except Exception:
            log.exception("a message could not be written as JSON")
            if isinstance(message, types.JSONRPCResponse | types.JSONRPCError):
                reason = "the answer could not be written as JSON"
                self._write_error(message.id, types.INTERNAL_ERROR, reason)
        else:
            self._output.write(text.encode() + b"\n")
        if isinstance(message, types.JSONRPCResponse | types.JSONRPCError):
            self.first_answer.set()
            self._settle(message.id)

    def _write_error(
        self, request_id: object, code: int, message: str, data: object = None
    ) -> None:
        error = {"code": code, "message": message} | ({} if data is None else {"data": data})
        # ASCII with escapes: can be written whatever the client has put into its id.
        answer = json.dumps({"jsonrpc": "2.0", "id": request_id, "error": error})
        self._output.write(answer.encode() + b"\n")
        self.first_answer.set()

    def _settle(self, request_id: object) -> None:
        self._unanswered.discard(request_id)
        self._regulate()
        if self._ended and not self._unanswered:
            self._wake()

    async def _settle_unanswered(self, request_id: object) -> None:
        self._settle(request_id)


async def serve_stdio(
    server: Server[Any],
    *,
    ready: Callable[[StdioTransport], Awaitable[None]] | None = None,
    max_line_bytes: int = MAX_LINE_BYTES,
    drain_seconds: float = DRAIN_SECONDS,
) -> None:
    """Serve `server` on stdin and stdout until the client closes either, or `request_eof()`.

    `ready` is awaited before the server reads its first message; what the client sends meanwhile
    is kept. The standard streams are not given back.
    """
    transport = StdioTransport(server, max_line_bytes=max_line_bytes, drain_seconds=drain_seconds)
    async with transport:
        if ready:
            await ready(transport)
        options = server.create_initialization_options()
        await server.run(transport.read_stream, transport.write_stream, options)
