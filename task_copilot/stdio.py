"""MCP over stdin and stdout: one JSON-RPC message per line, every line answered.

Runs in the event loop without tasks or threads of its own; only an input that the loop cannot
watch (a regular file, ``/dev/null``, Windows) is read by a thread.
"""

import asyncio
import json
import logging
import math
import os
import re
import stat
import sys
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
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

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

log = logging.getLogger("task_copilot.stdio")

MAX_LINE_BYTES = 64 << 20
# json.loads recurses: this stays below the interpreter's limit of 1000 with room for our frames.
MAX_NESTING = 900
# A script that pipes requests in waits for slow ones; beyond this a tool is taken to be stuck.
DRAIN_SECONDS = 10.0
# Claude Code follows SIGINT with SIGTERM after 0.1 s and with SIGKILL 0.4 s later.
SIGNAL_GRACE_SECONDS = 0.1
CHUNK_BYTES = 256 << 10
MAX_UNREAD_OUTPUT_BYTES = 64 << 10
MAX_QUEUED, MAX_IN_FLIGHT = 128, 1024
# What is kept of a line over the limit: clients write the id first or last.
HEAD_BYTES, TAIL_BYTES = 64 << 10, 1 << 10
DISCOVER = "server/discover"
# Answered when the connection ends, so the end of the connection must not wait for them.
ENDLESS_METHODS = frozenset({"subscriptions/listen"})

_ID = rb'(-?\d{1,18}(?![\d.eE])|"(?:[^"\\]|\\.){0,1000}+")'
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|[{}\[\]]', re.DOTALL)
_ID_HERE = re.compile(rb"\s*:\s*" + _ID, re.DOTALL)
_ID_LAST = re.compile(
    rb'"id"\s*:\s*' + _ID + rb'\s*(?:,\s*"jsonrpc"\s*:\s*"2\.0"\s*)?\}\s*\Z', re.DOTALL
)
_TOO_DEEP = f"nested deeper than {MAX_NESTING} levels"
_SURROGATE = re.compile("[\ud800-\udfff]")
_EXPECTED = {
    "jsonrpc": '"jsonrpc" must be "2.0"',
    "id": '"id" must be a string or an integer',
    "method": '"method" must be a string',
    "params": '"params" must be an object',
}

_Message = (
    types.JSONRPCRequest | types.JSONRPCNotification | types.JSONRPCResponse | types.JSONRPCError
)


class _Refused(Exception):
    """A line that gets a JSON-RPC error instead of reaching the server."""

    def __init__(self, request_id: object, code: int, message: str) -> None:
        super().__init__(message)
        self.request_id, self.code, self.message = request_id, code, message


def _find_id(line: bytes | bytearray) -> object:
    """Return the "id" of the outermost object of a line that is not JSON, or None."""
    head, depth, found = line[:HEAD_BYTES], 0, None
    for token in _TOKEN.finditer(head):
        text = token.group()
        if text == b'"id"' and depth == 1 and (found := _ID_HERE.match(head, token.end())):
            break
        depth += (text in b"{[") - (text in b"}]")
    if not found and len(line) > HEAD_BYTES:
        found = _ID_LAST.search(line[-TAIL_BYTES:])
    try:
        return json.loads(found.group(1)) if found else None
    except ValueError:
        return None


def _decode(line: bytes | bytearray) -> object:
    try:
        return json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        reason = f"not UTF-8 at byte {error.start + 1}"
    except json.JSONDecodeError as error:
        reason = f"not JSON at character {error.pos + 1}: {error.msg}"
    except RecursionError:
        reason = _TOO_DEEP
    except ValueError:
        reason = "a number with too many digits"
    raise _Refused(_find_id(line), types.PARSE_ERROR, reason)


def _children(value: object) -> list[object]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _is_too_deep(value: object) -> bool:
    level = [value]
    for _ in range(MAX_NESTING):
        level = [child for item in level for child in _children(item)]
        if not level:
            return False
    return True


def _usable_id(value: object) -> object:
    """Return `value` if it can be sent back as an id, else None."""
    finite = type(value) is float and math.isfinite(value)
    return value if finite or type(value) in (int, str) else None


def _model_of(value: dict[str, Any]) -> type[_Message]:
    if "method" in value or not value.keys() & {"result", "error"}:
        # Any "id" makes it a request: with a bad one it must not pass for a notification.
        return types.JSONRPCRequest if "id" in value else types.JSONRPCNotification
    return types.JSONRPCResponse if "result" in value else types.JSONRPCError


def _read_tolerantly(value: dict[str, Any]) -> types.JSONRPCMessage:
    """Check the envelope only: what is odd inside the params is for the tool to name."""
    model = _model_of(value)
    # A broken response is answered without its id: that is the server's, not the client's.
    request_id = _usable_id(value.get("id")) if model is types.JSONRPCRequest else None
    if _is_too_deep(value):
        raise _Refused(request_id, types.PARSE_ERROR, _TOO_DEEP)
    for key in ("id", "method"):
        if isinstance(text := value.get(key), str) and (bad := _SURROGATE.search(text)):
            reason = f'a lone surrogate \\u{ord(bad.group()):x} in "{key}"'
            raise _Refused(request_id, types.INVALID_REQUEST, reason)
    try:
        return model.model_validate(value)
    except ValidationError as error:
        field = str(error.errors(include_url=False)[0]["loc"][0])
    reason = _EXPECTED.get(field, f'"{field}" is not valid')
    raise _Refused(request_id, types.INVALID_REQUEST, reason)


def read_message(line: bytes | bytearray) -> types.JSONRPCMessage:
    """Return the message of one line; raise `_Refused` with the error to answer otherwise."""
    try:
        return types.JSONRPCRequest.model_validate_json(line)
    except ValidationError:
        value = _decode(line)
    if isinstance(value, dict):
        return _read_tolerantly(value)
    reason = "a message must be a JSON object"
    if isinstance(value, list):
        reason = "batches are not supported: send one message a line"
    raise _Refused(None, types.INVALID_REQUEST, reason)


class _Lines:
    """Splits chunks into lines; of one over the limit only the head and the tail are kept."""

    def __init__(
        self,
        limit: int,
        on_line: Callable[[bytes | bytearray], None],
        on_oversize: Callable[[bytearray], None],
    ) -> None:
        self._limit, self._on_line, self._on_oversize = limit, on_line, on_oversize
        self._partial, self._oversize = bytearray(), False

    def feed(self, chunk: bytes) -> None:
        *complete, rest = chunk.split(b"\n")
        for piece in complete:
            if self._partial or len(piece) > self._limit:
                self._append(piece)
                self.end_line()
            else:
                self._on_line(piece)
        self._append(rest)

    def end_line(self) -> None:
        line, handle = self._partial, self._on_oversize if self._oversize else self._on_line
        self._partial, self._oversize = bytearray(), False
        handle(line)

    def _append(self, piece: bytes) -> None:
        self._partial += piece
        self._oversize = self._oversize or len(self._partial) > self._limit
        if self._oversize:
            del self._partial[HEAD_BYTES:-TAIL_BYTES]


class _Input:
    """Passes on what is read from a descriptor while resumed; an empty chunk is the end."""

    def __init__(self, fd: int, on_chunk: Callable[[bytes], None]) -> None:
        self._fd, self._on_chunk, self._loop = fd, on_chunk, asyncio.get_running_loop()
        self._running = self._closed = False
        self._gate: threading.Event | None = None

    def resume(self) -> None:
        if self._running or self._closed:
            return
        self._running = True
        if self._gate is None and not self._watch():
            self._gate = threading.Event()
            threading.Thread(target=self._read_in_thread, args=(self._gate,), daemon=True).start()
        if self._gate:
            self._gate.set()

    def pause(self) -> None:
        if self._running and self._gate is None:
            self._loop.remove_reader(self._fd)
        self._running = False

    def close(self) -> None:
        if self._closed:
            return
        self.pause()
        self._closed = True
        # A thread may still be blocked on the descriptor: its number must not be used again.
        if self._gate is None:
            os.close(self._fd)

    def _watch(self) -> bool:
        if stat.S_ISREG(os.fstat(self._fd).st_mode):
            return False
        try:
            self._loop.add_reader(self._fd, self._on_readable)
        except (OSError, NotImplementedError):
            return False
        return True

    def _read(self) -> bytes:
        try:
            return os.read(self._fd, CHUNK_BYTES)
        except BlockingIOError:
            raise
        except OSError:
            return b""

    def _on_readable(self) -> None:
        with suppress(BlockingIOError):
            self._deliver(self._read())

    def _read_in_thread(self, gate: threading.Event) -> None:
        chunk = b"\n"
        while chunk:
            gate.wait()
            gate.clear()
            chunk = self._read()
            try:
                self._loop.call_soon_threadsafe(self._deliver, chunk)
            except RuntimeError:
                return  # the loop is closed

    def _deliver(self, chunk: bytes) -> None:
        if self._closed:
            return
        self._on_chunk(chunk)
        if self._running and self._gate:
            self._gate.set()


class _Output:
    """Writes to a descriptor, at once if it takes the bytes, else when it has room.

    Not asyncio's pipe transport: on a half-closed socket, which some clients give their children
    as stdout (Bun did until 2026), that one believes the client has left.
    """

    def __init__(self, fd: int, on_change: Callable[[], None], on_lost: Callable[[], None]) -> None:
        self._fd, self._on_change, self._on_lost = fd, on_change, on_lost
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray()
        self.full = self.closed = False
        self.empty = asyncio.Event()
        self.empty.set()
        mode = os.fstat(fd).st_mode
        self._is_pipe = sys.platform != "win32" and stat.S_ISFIFO(mode)
        self._was_blocking = sys.platform != "win32" and os.get_blocking(fd)
        if self._is_pipe or stat.S_ISSOCK(mode):
            os.set_blocking(fd, False)
        if self._is_pipe:
            # The write end of a pipe is "readable" only once nobody has the other end open.
            self._loop.add_reader(fd, self._lose)

    def write(self, data: bytes) -> None:
        if self.closed:
            return
        if not self._buffer:
            data = data[self._write_now(data) :]
            if not data or self.closed:
                return
            self._loop.add_writer(self._fd, self._flush)
            self.empty.clear()
        self._buffer += data
        if not self.full and len(self._buffer) > MAX_UNREAD_OUTPUT_BYTES:
            self.full = True
            self._on_change()

    async def close(self, timeout: float) -> None:
        """Close when all is written, or after `timeout` seconds."""
        try:
            await asyncio.wait_for(self.empty.wait(), timeout)
        except TimeoutError:
            log.warning("the client has left %d bytes of answers unread", len(self._buffer))
        finally:
            self._release()

    def _write_now(self, data: bytes | bytearray) -> int:
        done = 0
        try:
            with memoryview(data) as view:
                while done < len(view):
                    done += os.write(self._fd, view[done:])
        except BlockingIOError:
            pass
        except OSError as error:
            if not isinstance(error, ConnectionError):
                log.warning("stdout cannot be written: %s", error)
            self._lose()
        return done

    def _flush(self) -> None:
        del self._buffer[: self._write_now(self._buffer)]
        if not self._buffer and not self.closed:
            self._loop.remove_writer(self._fd)
            self.full = False
            self.empty.set()
            self._on_change()

    def _lose(self) -> None:
        if not self.closed:
            self._release()
            self._on_lost()

    def _release(self) -> None:
        if self.closed:
            return
        self.closed, self.full = True, False
        self.empty.set()
        if self._is_pipe:
            self._loop.remove_reader(self._fd)
        if self._buffer:
            self._loop.remove_writer(self._fd)
        if self._was_blocking:
            # The mode belongs to the pipe, which others (a shell) may go on using.
            os.set_blocking(self._fd, True)
        os.close(self._fd)


def _claim(fd: int, replacement: int) -> int:
    """Return a private duplicate of `fd`, which itself becomes `replacement`."""
    if sys.platform == "win32":
        private = os.dup(fd)
        msvcrt.setmode(private, os.O_BINARY)
    else:
        # From 3 up: with stderr closed, a plain dup() would make the wire the new stderr.
        private = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    os.dup2(replacement, fd)
    return private


def _claim_standard_streams() -> tuple[int, int]:
    """Return the wire's descriptors; fd 0 becomes the null device and fd 1 stderr, for good.

    They are not given back at the end, as text that is still buffered somewhere is written when
    the interpreter exits.
    """
    null = os.open(os.devnull, os.O_RDWR)
    # Where a stream was closed when the program started, its number may be anything by now.
    wire_in = _claim(0, null) if sys.__stdin__ else os.dup(null)
    wire_out = _claim(1, 2 if sys.__stderr__ else null) if sys.__stdout__ else os.dup(null)
    os.close(null)
    if sys.stdout:
        sys.stdout.flush()
    sys.stdout = sys.stderr
    return wire_in, wire_out


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
        self._lines = _Lines(max_line_bytes, self._on_line, self._on_oversize)
        self._queue: deque[SessionMessage] = deque()
        self._unanswered: set[object] = set()
        self._wakeup: asyncio.Future[None] | None = None
        self._ended = self._expired = False
        self._expiry: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        wire_in, wire_out = _claim_standard_streams()
        self._output = _Output(wire_out, self._on_output_change, partial(self._end, 0))
        self._input = _Input(wire_in, self._on_chunk)
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
        except _Refused as refused:
            self._write_error(refused.request_id, refused.code, refused.message)
        except Exception:
            log.exception("a line could not be handled")
            self._write_error(_find_id(line), types.INTERNAL_ERROR, "Internal server error")

    def _on_oversize(self, line: bytearray) -> None:
        message = f"a line longer than {self._max_line} bytes"
        self._write_error(_find_id(line), types.PARSE_ERROR, message)

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
