"""A body to one JSON-RPC message, by the rules of a line on stdin."""

import re

import mcp_types as types

from task_copilot.mcp_http.replies import Fault
from task_copilot.stdio.messages import Refused, find_id, read_message

MAX_VALUES = 100_000
"""In one message: all that a tool takes are fewer, and 8 MiB of empty lists would keep
everybody waiting for seconds."""

_VALUE = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|([\[{,])', re.DOTALL)


def message_of(body: bytes) -> types.JSONRPCMessage:
    """The message of a body; raises Fault."""
    if _has_too_many_values(body):
        raise Fault(
            400,
            f"a message of more than {MAX_VALUES:,} values; no tool takes so many",
            request_id=find_id(body),
        )
    try:
        return read_message(body)
    except Refused as refused:
        raise Fault(
            400, refused.message, code=refused.code, request_id=refused.request_id
        ) from None


def _has_too_many_values(body: bytes) -> bool:
    if sum(map(body.count, (b",", b"[", b"{"))) <= MAX_VALUES:
        return False
    # Those in texts do not count: a draft may be a million commas.
    values = 0
    for found in _VALUE.finditer(body):
        values += found.lastindex is not None
        if values > MAX_VALUES:
            return True
    return False
