"""One line to one JSON-RPC message, or to the error that answers it."""

import json
import math
import re
from collections.abc import Callable
from typing import Any

import mcp_types as types
from pydantic import ValidationError

# json.loads recurses: this stays below the interpreter's limit of 1000 with room for our frames.
MAX_NESTING = 900
# What is kept of a line over the limit: clients write the id first or last.
HEAD_BYTES, TAIL_BYTES = 64 << 10, 1 << 10

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


class Refused(Exception):
    """A line that gets a JSON-RPC error instead of reaching the server."""

    def __init__(self, request_id: object, code: int, message: str) -> None:
        super().__init__(message)
        self.request_id, self.code, self.message = request_id, code, message


def find_id(line: bytes | bytearray) -> object:
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
    raise Refused(find_id(line), types.PARSE_ERROR, reason)


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
        raise Refused(request_id, types.PARSE_ERROR, _TOO_DEEP)
    for key in ("id", "method"):
        if isinstance(text := value.get(key), str) and (bad := _SURROGATE.search(text)):
            reason = f'a lone surrogate \\u{ord(bad.group()):x} in "{key}"'
            raise Refused(request_id, types.INVALID_REQUEST, reason)
    try:
        return model.model_validate(value)
    except ValidationError as error:
        field = str(error.errors(include_url=False)[0]["loc"][0])
    reason = _EXPECTED.get(field, f'"{field}" is not valid')
    raise Refused(request_id, types.INVALID_REQUEST, reason)


def read_message(line: bytes | bytearray) -> types.JSONRPCMessage:
    """Return the message of one line; raise `Refused` with the error to answer otherwise."""
    try:
        return types.JSONRPCRequest.model_validate_json(line)
    except ValidationError:
        value = _decode(line)
    if isinstance(value, dict):
        return _read_tolerantly(value)
    reason = "a message must be a JSON object"
    if isinstance(value, list):
        reason = "batches are not supported: send one message at a time"
    raise Refused(None, types.INVALID_REQUEST, reason)


class LineSplitter:
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
