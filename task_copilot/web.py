"""The HTTP application of the hub."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from task_copilot import jsontext
from task_copilot.access.addresses import texts
from task_copilot.access.bodies import Bodies
from task_copilot.access.configuration import Access
from task_copilot.access.gate import Gate
from task_copilot.access.headers import ProtectiveHeaders
from task_copilot.access.rates import RequestRates
from task_copilot.access.tickets import Cookies, Tickets
from task_copilot.access.tokens import Authority
from task_copilot.api import events
from task_copilot.api.endpoint import Context, endpoint
from task_copilot.api.pages import PAGE, page_routes
from task_copilot.api.routes import (
    EVENT_STREAM,
    EVENTS,
    HEALTH,
    METRICS,
    ROUTES,
    TICKETS,
    ApiRoute,
)
from task_copilot.api.tickets import give_ticket
from task_copilot.api.writing import tool_endpoint
from task_copilot.clock import Clock
from task_copilot.credentials import place_of
from task_copilot.database.store import Database
from task_copilot.events.bus import Bus
from task_copilot.events.connection import WebSocketLimits
from task_copilot.events.feed import Feed
from task_copilot.events.listeners import Listeners
from task_copilot.events.log import LogRow
from task_copilot.events.websocket import WebSocketEndpoint
from task_copilot.guard import HostAndOriginGuard
from task_copilot.mcp_http import PATH as MCP_PATH
from task_copilot.mcp_http import McpEndpoint, Parts
from task_copilot.ports import local_address
from task_copilot.settings import Settings

Respond = Callable[[Request], Awaitable[ASGIApp]]

CORS_HEADERS = (
    *("Authorization", "Content-Type", "If-None-Match", "Last-Event-ID"),
    *("Mcp-Protocol-Version", "Mcp-Session-Id", "Mcp-Method", "Mcp-Name"),
)
METRICS_TYPE = "text/plain; version=0.0.4"
DOCUMENTS = ("openapi", "asyncapi")
PLACES = (
    PAGE,
    *dict.fromkeys(route.path for route in ROUTES),
    *(f"/{name}.json" for name in DOCUMENTS),
    "/ws (WebSocket)",
    f"{MCP_PATH} (MCP)",
)


@dataclass(frozen=True, slots=True)
class Served:
    """What a hub serves, and to whom."""

    bus: Bus
    listeners: Listeners
    database: Database[LogRow]
    clock: Clock


def served_app(log: Served, access: Access, metrics: Callable[[], bytes], *, port: int) -> ASGIApp:
    """The application of a hub that listens on `port`, behind all that guards it."""
    tickets = Tickets()
    app = _application(log, access.settings, metrics, tickets)
    if access.authority is not None:
        cookies = Cookies(_sealing_key(access.authority), port, secure=access.tls is not None)
        app = Gate(
            *(app, access.authority, tickets, cookies),
            place=place_of(local_address(access.settings.host, port, access.scheme)) or "",
            reading=[MCP_PATH, *(route.path for route in ROUTES if route.is_reading_post)],
        )
    addresses = access.addresses(port)
    if addresses.origins:
        app = CORSMiddleware(
            app,
            allow_origins=texts(addresses.origins),
            allow_methods=["GET", "POST", "PATCH"],
            allow_headers=CORS_HEADERS,
            expose_headers=["ETag", "Retry-After"],
        )
    guarded = HostAndOriginGuard(app, addresses)
    return ProtectiveHeaders(RequestRates(guarded, access.settings.max_request_rate))


def _sealing_key(authority: Authority) -> Callable[[], bytes]:
    """Of this hub alone where tokens are signed by somebody else: the cookies end with it."""
    own = secrets.token_bytes(32)
    return lambda: authority.sealing_key() or own


def _application(
    log: Served, settings: Settings, metrics: Callable[[], bytes], tickets: Tickets
) -> ASGIApp:
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
    mcp = McpEndpoint(Parts(log.bus, log.database, log.clock, settings.checkpoints_kept))
    return build_app(feed, websocket, context, metrics, tickets, mcp)


def build_app(
    feed: Feed,
    websocket: WebSocketEndpoint,
    context: Context,
    metrics: Callable[[], bytes],
    tickets: Tickets,
    mcp: McpEndpoint,
) -> ASGIApp:
    """The application of all routes."""
    served: dict[str, Respond] = {
        HEALTH.path: events.health(feed, context.clock),
        EVENTS.path: events.events(feed),
        EVENT_STREAM.path: events.event_stream(feed),
        METRICS.path: measured(metrics),
        TICKETS.path: give_ticket(tickets),
    }
    # One for each path, so that a refused method is told of all that there are.
    methods: dict[str, dict[str, Respond]] = {}
    for route in ROUTES:
        respond = served.get(route.path) or _endpoint(route, context)
        methods.setdefault(route.path, {})[route.method] = respond
    routes: list[BaseRoute] = [
        Route(path, _by_method(responding), methods=list(responding))
        for path, responding in methods.items()
    ]
    routes += page_routes()
    routes += [Route(f"/{name}.json", described(name), methods=["GET"]) for name in DOCUMENTS]
    routes.append(WebSocketRoute("/ws", websocket))
    routes.append(Route("/ws", upgrade_required, methods=["GET"]))
    routes.append(Route(MCP_PATH, mcp, methods=["POST"]))
    app = Starlette(
        routes=routes, exception_handlers={HTTPException: _explain, Exception: _explain}
    )
    app.router.redirect_slashes = False  # "/api/streams/" is as unknown as any other path
    app.router.default = _nothing_there
    return Bodies(app)


def _endpoint(route: ApiRoute, context: Context) -> Respond:
    return endpoint(route, context) if route.tool is None else tool_endpoint(route, context)


def _by_method(responding: dict[str, Respond]) -> Respond:
    async def respond(request: Request) -> ASGIApp:
        method = "GET" if request.method == "HEAD" else request.method
        return await responding[method](request)

    return respond


async def _nothing_there(scope: Scope, receive: Receive, send: Send) -> None:
    """The answer on paths that do not exist, for WebSockets too."""
    if scope["type"] == "websocket":
        await receive()
    body = {"error": _nothing_at(scope["path"])}
    await JSONResponse(body, status_code=404)(scope, receive, send)


def _nothing_at(path: str) -> str:
    return f"There is nothing at {path[:200]}. There are {', '.join(PLACES)}."


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
        404: _nothing_at(request.url.path),
        405: f"{request.url.path[:200]} does not take {request.method}.",
    }
    headers = error.headers if isinstance(error, HTTPException) else None
    body = {"error": messages.get(status, "The request failed; the log on stderr says why.")}
    return JSONResponse(body, status_code=status, headers=headers)
