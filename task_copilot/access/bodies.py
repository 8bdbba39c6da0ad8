"""Reads the body of a request before anything else does, within limits of size and time."""

import asyncio

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MIB = 1024 * 1024

MAX_BODY_BYTES = 2 * MIB
MAX_LARGE_BODY_BYTES = 8 * MIB
"""Where a checkpoint is made, whose draft JSON may spell with six bytes a character, and for
MCP, which can make one too."""

MAX_BODIES_BYTES = 64 * MIB
"""Of all bodies together that are read or worked on; beyond it the next gets 503."""

FIRST_SECONDS = 10.0
BYTES_A_SECOND = 256 * 1024
"""A body may take the first seconds, and one more for each so many bytes that have come."""

STALL_SECONDS = 5.0
CROWDED_SECONDS = 1.0
"""How long nothing may come of a body; the shorter where all together are half of what they may
be, so that a few that stop before their end do not keep all others out."""

WITH_BODY = ("POST", "PUT", "PATCH")
"""Of others nobody reads the body, so that it is never held."""

MCP_PATH = "/mcp"
CHECKPOINT_ENDINGS = ("/checkpoint", "/checkpoints")
HTTP_BUSY = 503


class _Gone(Exception):
    """The client has left."""


class _Refused(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Bodies:
    """ASGI middleware: what is inside gets the whole body as one message, or no request."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.held = 0
        """Bytes of all bodies at this moment."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or _has_none(scope):
            await self._app(scope, receive, send)
            return
        body = _Body(self)
        try:
            await body.read(scope, receive)
            await self._app(scope, body.replayed(receive), send)
        except _Gone:
            return
        except _Refused as refusal:
            await _answer(refusal)(scope, receive, send)
        finally:
            self.held -= body.size


class _Body:
    def __init__(self, bodies: Bodies) -> None:
        self._bodies = bodies
        self._whole: bytes | None = None
        self.size = 0

    async def read(self, scope: Scope, receive: Receive) -> None:
        """Reads all of it; raises _Refused, or _Gone."""
        limit = _limit(scope)
        _check_size(scope, _declared(scope) or 0, limit)
        loop = asyncio.get_running_loop()
        begun = loop.time()
        parts: list[bytes] = []
        more = True
        while more:
            whole = begun + FIRST_SECONDS + self.size / BYTES_A_SECOND
            message = await _next(receive, min(whole, loop.time() + self._patience()))
            parts.append(message.get("body", b""))
            self._count(len(parts[-1]))
            _check_size(scope, self.size, limit)
            more = message.get("more_body", False)
        self._whole = b"".join(parts)

    def _patience(self) -> float:
        """How long the next piece may take: less where bodies that wait keep others out."""
        crowded = self._bodies.held > MAX_BODIES_BYTES / 2
        return CROWDED_SECONDS if crowded else STALL_SECONDS

    def _count(self, size: int) -> None:
        if self._bodies.held + size > MAX_BODIES_BYTES:
            raise _Refused(
                503,
                f"The bodies of all requests under way take {MAX_BODIES_BYTES // MIB} MiB "
                "together, as much as they may; try again in a moment.",
            )
        self.size += size
        self._bodies.held += size

    def replayed(self, receive: Receive) -> Receive:
        """What brings the whole body first, and then what the server says."""

        async def again() -> Message:
            if self._whole is None:
                return await receive()
            whole, self._whole = self._whole, None
            return {"type": "http.request", "body": whole, "more_body": False}

        return again


def _has_none(scope: Scope) -> bool:
    return scope["method"] not in WITH_BODY


def _declared(scope: Scope) -> int | None:
    """The size that the headers name, None where it is not known before the end."""
    headers = dict(scope["headers"])
    if b"transfer-encoding" in headers:
        return None
    given = headers.get(b"content-length", b"0")
    return int(given) if given.isdigit() else None


def _limit(scope: Scope) -> int:
    path = scope["path"]
    makes_checkpoint = scope["method"] == "POST" and path.endswith(CHECKPOINT_ENDINGS)
    return MAX_LARGE_BODY_BYTES if path == MCP_PATH or makes_checkpoint else MAX_BODY_BYTES


def _check_size(scope: Scope, size: int, limit: int) -> None:
    if size > limit:
        raise _Refused(413, f"A body on {scope['path'][:200]} is at most {limit:,} bytes.")


async def _next(receive: Receive, until: float) -> Message:
    try:
        async with asyncio.timeout_at(until):
            message = await receive()
    except TimeoutError:
        raise _Refused(
            408,
            f"The body took too long: it has {FIRST_SECONDS:.0f} seconds, and one more for each "
            f"{BYTES_A_SECOND:,} bytes.",
        ) from None
    if message["type"] == "http.disconnect":
        raise _Gone
    return message


def _answer(refusal: _Refused) -> JSONResponse:
    # What is not read of a body would be taken for the next request.
    headers = {"Connection": "close"}
    if refusal.status == HTTP_BUSY:
        headers["Retry-After"] = "1"
    return JSONResponse({"error": str(refusal)}, status_code=refusal.status, headers=headers)
