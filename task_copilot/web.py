"""The HTTP application of the hub."""

from collections.abc import Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp

from task_copilot import __version__
from task_copilot.clock import Clock
from task_copilot.events.bus import Bus
from task_copilot.events.websocket import WebSocketEndpoint
from task_copilot.guard import HostAndOriginGuard

SERVICE = "task-copilot"


def build_app(bus: Bus, websocket: WebSocketEndpoint, clock: Clock, *, port: int) -> ASGIApp:
    """The application of all routes, behind the guard."""
    routes = [
        Route("/health", health(bus, websocket, clock), methods=["GET"]),
        WebSocketRoute("/ws", websocket),
    ]
    app = Starlette(
        routes=routes, exception_handlers={HTTPException: _explain, Exception: _explain}
    )
    return HostAndOriginGuard(app, port=port)


def health(bus: Bus, websocket: WebSocketEndpoint, clock: Clock) -> Callable[[Request], Response]:
    """``GET /health``: that this is Task Copilot, and where its log stands."""

    async def respond(_request: Request) -> Response:
        return JSONResponse(
            {
                "status": "ok",
                "service": SERVICE,
                "timestamp": clock(),
                "version": __version__,
                "epoch": bus.epoch,
                "seq": bus.head,
                "clients": websocket.listeners,
            },
            headers={"Cache-Control": "no-store"},
        )

    return respond  # type: ignore[return-value]


async def _explain(request: Request, error: Exception) -> Response:
    """Errors as JSON that says what does exist."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    messages = {
        404: f"There is nothing at {request.url.path}. There are /health and, for WebSocket, /ws.",
        405: f"{request.url.path} does not take {request.method}; it takes GET.",
    }
    headers = error.headers if isinstance(error, HTTPException) else None
    body = {"error": messages.get(status, "The request failed; the log on stderr says why.")}
    return JSONResponse(body, status_code=status, headers=headers)
