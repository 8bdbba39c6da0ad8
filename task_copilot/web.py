"""The HTTP application of the hub."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from task_copilot import jsontext
from task_copilot.access.bodies import Bodies
from task_copilot.access.rates import RequestRates
from task_copilot.api import events
from task_copilot.api.endpoint import Context, endpoint
from task_copilot.api.routes import EVENT_STREAM, EVENTS, HEALTH, METRICS, ROUTES
from task_copilot.clock import Clock
from task_copilot.database.store import Database
from task_copilot.events.bus import Bus
from task_copilot.events.feed import Feed
from task_copilot.events.listeners import Listeners
from task_copilot.events.log import LogRow
from task_copilot.events.websocket import WebSocketEndpoint, WebSocketLimits
from task_copilot.guard import HostAndOriginGuard
from task_copilot.settings import Settings

METRICS_TYPE = "text/plain; version=0.0.4"
DOCUMENTS = ("openapi", "asyncapi")
PLACES = (
    *(route.path for route in ROUTES),
    *(f"/{name}.json" for name in DOCUMENTS),
    "/ws (WebSocket)",
)


@dataclass(frozen=True, slots=True)
class Served:
    """What a hub serves, and to whom."""

    bus: Bus
    listeners: Listeners
    database: Database[LogRow]
    clock: Clock


def served_app(
    log: Served, settings: Settings, metrics: Callable[[], bytes], *, port: int
) -> ASGIApp:
    """The application of a hub with these settings."""
    # Who is dropped for not answering has to be asked first, and given time to answer.
    ping_interval = min(settings.ping_interval, settings.listener_timeout / 2)
    limits = WebSocketLimits(
        max_patterns=settings.max_patterns,
        ping_interval=ping_interval,
        listener_timeout=settings.listener_timeout,
        max_message_rate=settings.max_message_rate,
    )
    websocket = WebSocketEndpoint(
        log.bus, log.listeners, limits, log.clock, refuse=settings.no_websocket
    )
    feed = Feed(log.bus, log.listeners, settings.max_patterns, ping_interval)
    context = Context(log.database, log.clock, settings.checkpoints_kept)
    app = build_app(feed, websocket, context, metrics, port=port)
    return RequestRates(app, settings.max_request_rate)


def build_app(
    feed: Feed,
    websocket: WebSocketEndpoint,
    context: Context,
    metrics: Callable[[], bytes],
    *,
    port: int,
) -> ASGIApp:
    """The application of all routes, behind the guard."""
    served = {
        HEALTH.path: events.health(feed, context.clock),
        EVENTS.path: events.events(feed),
        EVENT_STREAM.path: events.event_stream(feed),
        METRICS.path: measured(metrics),
    }
    routes: list[BaseRoute] = [
        Route(
            route.path,
            served.get(route.path) or endpoint(route, context),
            methods=[route.method],
        )
        for route in ROUTES
    ]
    routes += [Route(f"/{name}.json", described(name), methods=["GET"]) for name in DOCUMENTS]
    routes.append(WebSocketRoute("/ws", websocket))
    routes.append(Route("/ws", upgrade_required, methods=["GET"]))
    app = Starlette(
        routes=routes, exception_handlers={HTTPException: _explain, Exception: _explain}
    )
    app.router.redirect_slashes = False  # "/api/streams/" is as unknown as any other path
    app.router.default = _nothing_there
    return HostAndOriginGuard(Bodies(app), port=port)


async def _nothing_there(scope: Scope, receive: Receive, send: Send) -> None:
    """The answer on paths that do not exist, for WebSockets too."""
    if scope["type"] == "websocket":
        await receive()
    body = {"error": f"There is nothing at {scope['path'][:200]}. There are {', '.join(PLACES)}."}
    await JSONResponse(body, status_code=404)(scope, receive, send)


async def upgrade_required(_request: Request) -> Response:
    """``GET /ws`` without the headers of a WebSocket."""
    body = {"error": "/ws is a WebSocket: connect with a WebSocket client to ws://…/ws."}
    return JSONResponse(body, status_code=426, headers={"Upgrade": "websocket"})


def measured(metrics: Callable[[], bytes]) -> Callable[[Request], Awaitable[Response]]:
    """``GET /metrics``: the numbers of this hub, for Prometheus."""

    async def respond(_request: Request) -> Response:
        return Response(metrics(), media_type=METRICS_TYPE)

    return respond


def described(name: str) -> Callable[[Request], Awaitable[Response]]:
    """``GET /openapi.json`` or ``/asyncapi.json``: the contract, made of the declarations."""

    async def respond(_request: Request) -> Response:
        text = await asyncio.to_thread(_document, name)
        return Response(text, media_type="application/json")

    return respond


@cache
def _document(name: str) -> str:
    # Imported when asked for: the start of a session does not need it.
    module = import_module(f"task_copilot.description.{name}")
    return jsontext.encode(module.document())


async def _explain(request: Request, error: Exception) -> Response:
    """Errors as JSON that says what does exist."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    messages = {
        405: f"{request.url.path[:200]} does not take {request.method}.",
    }
    headers = error.headers if isinstance(error, HTTPException) else None
    body = {"error": messages.get(status, "The request failed; the log on stderr says why.")}
    return JSONResponse(body, status_code=status, headers=headers)
