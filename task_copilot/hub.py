"""The hub: the process that holds the port and serves events and HTTP."""

import asyncio
import contextlib
import errno
import logging
import socket
from collections.abc import Iterator
from enum import Enum

import httpx2
import uvicorn
from starlette.types import ASGIApp

from task_copilot.api.endpoint import Context
from task_copilot.api.events import SERVICE
from task_copilot.clock import Clock
from task_copilot.database.store import Database
from task_copilot.events.bus import Bus
from task_copilot.events.feed import Feed
from task_copilot.events.listeners import Listeners
from task_copilot.events.log import LogRow
from task_copilot.events.websocket import WebSocketEndpoint, WebSocketLimits
from task_copilot.protocols import ImpatientHttp, PatientWebSocket
from task_copilot.settings import Settings
from task_copilot.web import build_app

logger = logging.getLogger(__name__)

PORTS_TRIED = 10
"""The wanted port and the nine after it: 9090 to 9099."""

PROBE_SECONDS = 2.0
STOP_SECONDS = 0.15
"""Listeners get their close code within this time when the hub stops; Claude Code kills a
server half a second after it asked it to end."""

BACKLOG = 256


class Holder(Enum):
    """Who has a port that could not be bound."""

    SAME_DATABASE = "another Task Copilot process on this database"
    OTHER = "another program"


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the process has its own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Hub:
    """Serves one database's events on the first port that is free."""

    def __init__(
        self, settings: Settings, bus: Bus, clock: Clock, database: Database[LogRow]
    ) -> None:
        self._settings = settings
        self._bus = bus
        self._clock = clock
        self._database = database
        self.listeners = Listeners(settings.max_listeners)
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None
        self._listening: socket.socket | None = None
        self.port: int | None = None
        self.takeovers = 1

    @property
    def address(self) -> str:
        """Where events and HTTP are served."""
        return f"http://{_in_url(self._settings.host)}:{self.port}"

    async def start(self) -> bool:
        """Binds a port and serves; False if another process serves this database already."""
        listening = await self._bind()
        if listening is None:
            return False
        self.port = listening.getsockname()[1]
        self._server = _Server(_configuration(self._app(self.port), self._settings))
        self._listening = listening
        self._serving = asyncio.create_task(self._serve(self._server, listening))
        return True

    def _app(self, port: int) -> ASGIApp:
        settings = self._settings
        limits = WebSocketLimits(
            max_patterns=settings.max_patterns,
            ping_interval=settings.ping_interval,
            listener_timeout=settings.listener_timeout,
        )
        websocket = WebSocketEndpoint(
            self._bus, self.listeners, limits, self._clock, refuse=settings.no_websocket
        )
        feed = Feed(self._bus, self.listeners, settings.max_patterns, settings.ping_interval)
        context = Context(self._database, self._clock, settings.checkpoints_kept)
        return build_app(feed, websocket, context, self._measured, port=port)

    def _measured(self) -> bytes:
        from task_copilot.metrics import HubMetrics, exposition

        times = self._database.committer.times
        return exposition(HubMetrics(self._bus, self.listeners, times, self.takeovers))

    async def _serve(self, server: _Server, listening: socket.socket) -> None:
        try:
            await server.serve(sockets=[listening])
        except Exception:
            logger.exception("Events and HTTP are no longer served; the tools go on working.")

    async def _bind(self) -> socket.socket | None:
        wanted = self._settings.port
        for port in range(wanted, min(wanted + PORTS_TRIED, 65536)):
            try:
                listening = bind(self._settings.host, port)
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    logger.error(  # noqa: TRY400 - expected, no traceback
                        "Events are not served: %s port %d: %s. The tools work; set "
                        "TASK_COPILOT_HOST or TASK_COPILOT_PORT.",
                        *(self._settings.host, port, error.strerror),
                    )
                    return None
                if await self._holder_of(port) is Holder.SAME_DATABASE:
                    logger.warning(
                        "Events on port %d are served by another Task Copilot process; the "
                        "tools of this one work, and listeners get its events there.",
                        port,
                    )
                    return None
                continue
            if port != wanted:
                logger.warning(
                    "Port %d is held by another program: events are served on port %d.",
                    *(wanted, port),
                )
            return listening
        logger.error(
            "Events are not served: ports %d to %d are held by other programs. The tools work; "
            "set TASK_COPILOT_PORT to a free port.",
            *(wanted, wanted + PORTS_TRIED - 1),
        )
        return None

    async def _holder_of(self, port: int) -> Holder:
        url = f"http://{_in_url(self._settings.host)}:{port}/health"
        try:
            async with httpx2.AsyncClient(trust_env=False, timeout=PROBE_SECONDS) as client:
                answer = (await client.get(url)).json()
        except (httpx2.HTTPError, ValueError):
            return Holder.OTHER
        ours = isinstance(answer, dict) and answer.get("service") == SERVICE
        if ours and answer.get("epoch") == self._bus.epoch:
            return Holder.SAME_DATABASE
        return Holder.OTHER

    async def stop(self) -> None:
        """Closes every listener with 1012, "come back at once", and lets go of the port."""
        server, self._server = self._server, None
        if server is None or self._serving is None or self._listening is None:
            return
        # Not `should_exit`: uvicorn looks at it every 0.1 s only.
        self._serving.cancel()
        await asyncio.gather(self._serving, return_exceptions=True)
        if server.started:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(server.shutdown(), STOP_SECONDS)
        for connection in tuple(server.server_state.connections):
            connection.transport.abort()
        self._listening.close()


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; raises OSError.

    IPPROTO_TCP is said because asyncio sets TCP_NODELAY only where it is; without that each
    small frame waits 40 ms for the client's acknowledgement.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if hasattr(socket, "SO_EXCLUSIVEADDRUSE"):  # Windows, where REUSEADDR shares the port
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(BACKLOG)
        listening.setblocking(False)
    except OSError:
        listening.close()
        raise
    return listening


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _configuration(app: object, settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        app,  # type: ignore[arg-type]
        http=ImpatientHttp,
        ws=PatientWebSocket,
        ws_max_size=settings.max_message_bytes,
        ws_ping_interval=None,
        ws_per_message_deflate=False,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=1,
    )
