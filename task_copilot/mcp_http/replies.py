"""Errors as JSON-RPC, whoever found them: an MCP client reads no others."""

import json
from http import HTTPStatus
from typing import Any

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

INVALID_REQUEST = -32600
INTERNAL_ERROR = -32603
"""Codes of JSON-RPC 2.0."""


class Fault(Exception):
    """A request that is answered with an HTTP status and a JSON-RPC error."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: int = INVALID_REQUEST,
        request_id: object = None,
        data: object = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.request_id, self.data = status, code, request_id, data

    def response(self) -> Response:
        """The answer."""
        error = {"code": self.code, "message": str(self)}
        more = {} if self.data is None else {"data": self.data}
        content = {"jsonrpc": "2.0", "id": self.request_id, "error": error | more}
        return _response(self.status, content)


def _response(status: int, content: dict[str, Any]) -> Response:
    # ASCII with escapes: can be written whatever the client has put into its id.
    return Response(json.dumps(content), status_code=status, media_type="application/json")


class Replies:
    """ASGI's send for the SDK. Where it refuses with a text, with nothing, or without the id of
    the request, the client gets a JSON-RPC error that has it."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, request_id: object) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        self._request_id = request_id
        self._refused: int | None = None
        self._body = b""
        self.begun = False
        """Whether something went to the client."""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] >= HTTPStatus.BAD_REQUEST:
            self._refused = message["status"]
        elif self._refused is None:
            self.begun = True
            await self._send(message)
        else:
            self._body += message.get("body", b"")
            if not message.get("more_body", False):
                self.begun = True
                await self._refusal(self._refused)(self._scope, self._receive, self._send)

    def _refusal(self, status: int) -> Response:
        try:
            content = json.loads(self._body)
        except ValueError:
            content = None
        if not isinstance(content, dict) or "error" not in content:
            text = self._body.decode(errors="replace") or HTTPStatus(status).phrase
            return Fault(status, text, request_id=self._request_id).response()
        if content.get("id") is None:
            content["id"] = self._request_id
        return _response(status, content)
