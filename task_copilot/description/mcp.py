"""MCP over HTTP in the OpenAPI document: the outside only, the inside is MCP's own."""

from typing import Any

from task_copilot.description.schemas import Schema, reference
from task_copilot.mcp_http.address import NAME_CHARACTERS

MESSAGE = "McpMessage"
REFUSED = "McpRefused"
REFUSALS = {
    400: "The body is no message, or MCP does not allow it.",
    401: "A token is needed, and none or no valid one was sent.",
    403: "The Host or the Origin of the request is not this server's, or the token allows nothing.",
    404: "MCP has no such method.",
    406: "The client does not accept JSON.",
    408: "The body did not come in time.",
    413: "The body is too big.",
    415: "The body is not declared as JSON.",
    422: "A parameter is not allowed.",
    429: "More requests than one client may send; wait as long as Retry-After says.",
    503: "The hub is ending; the next one serves the same address.",
}


def operation() -> dict[str, Any]:
    """What is posted to ``/mcp``."""
    return {
        "operationId": "postMcp",
        "summary": "The tools over MCP's Streamable HTTP: JSON-RPC, a message a request.",
        "parameters": [
            _parameter("workspace", "Where the tools act; without it they refuse."),
            _parameter("agent", "Who acts, where a call does not say."),
        ],
        "requestBody": {"required": True, "content": _json(MESSAGE)},
        "responses": {
            "200": {"description": "The answer to a request.", "content": _json(MESSAGE)},
            "202": {"description": "A notification, which has no answer."},
            **{
                str(status): {"description": about, "content": _json(REFUSED)}
                for status, about in REFUSALS.items()
            },
        },
    }


def schemas(error: Schema) -> dict[str, Schema]:
    """The schemas that only `operation` refers to; `error` is that of all other routes."""
    message = {
        "type": "object",
        "description": "A message of JSON-RPC 2.0, as MCP describes it.",
        "properties": {
            "jsonrpc": {"const": "2.0", "description": "The version of JSON-RPC."},
            "id": {"type": ["string", "number", "null"], "description": "Of a request."},
            "method": {"type": "string", "description": "What is asked for: `tools/call`."},
            "params": {"description": "What belongs to the method."},
            "result": {"description": "The answer."},
            "error": {"description": "Why there is none: code, message and data."},
        },
        "required": ["jsonrpc"],
        "additionalProperties": False,
    }
    refused = {
        "description": "An error of JSON-RPC, or of what stands before it.",
        "anyOf": [reference(MESSAGE), error],
    }
    return {MESSAGE: message, REFUSED: refused}


def _parameter(name: str, about: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "query",
        "description": about,
        "required": False,
        "schema": {"type": "string", "minLength": 1, "maxLength": NAME_CHARACTERS},
    }


def _json(schema: str) -> dict[str, Any]:
    return {"application/json": {"schema": reference(schema)}}
