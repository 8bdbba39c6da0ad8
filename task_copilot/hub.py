"""The hub: the process that holds the port and serves events and HTTP."""

import asyncio
import contextlib
import errno
import logging
import socket
from collections.abc import Iterator
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from websockets.exceptions import InvalidState

from task_copilot.access.configuration import Access, access_of
from task_copilot.access.tls import follow_renewals
from task_copilot.clock import Clock
from task_copilot.database.store import Database
from task_copilot.entrance import Crowd, behind_tls
from task_copilot.errors import InvalidInput
from task_copilot.events.bus import Bus
from task_copilot.events.listeners import Listeners
from task_copilot.events.log import LogRow
from task_copilot.ports import (
    ACCEPTED_AT_ONCE,
    BACKLOG,
    Holder,
    bind,
    holder_of,
    local_address,
    local_host,
    most_connections,
)
from task_copilot.protocols import impatient_http, patient_websocket
from task_copilot.settings import Settings
from task_copilot.web import Served, served_app

logger = logging.getLogger(__name__)

PORTS_TRIED = 10
"""The wanted port and the nine after it: 9090 to 9099."""

LAST_PORT = 65_535

BESIDE_LISTENERS = 200
"""Connections beside those of listeners: pages, requests, and what says nothing yet."""

ENDING_SECONDS = 0.5
"""The system frees the port of a process that was killed a moment after its lock; for so long
a port where nobody answers is taken for one of those."""

BIND_AGAIN_SECONDS = 0.003

STOP_SECONDS = 0.1
"""How long listeners may take for their close code when the hub stops; Claude Code kills a
server half a second after it asked it to end."""

STOP_LOOK_SECONDS = 0.005

CUT_SECONDS = 0.05
"""What cutting off the rest may take: a turn or two of the event loop."""

CUT_OFF_SECONDS = 1.0
"""How long they may take where the hub goes on: there is no hurry then."""


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the process has its own."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        # With the context uvicorn would not know of a connection before it has agreed on TLS.
        context, self.config.ssl = self.config.ssl, None
        if context is not None:
            http: Any = self.config.http_protocol_class
            self.config.http_protocol_class = behind_tls(context, http)  # type: ignore[assignment]
        await super().startup(sockets=sockets)
        for listening in sockets or ():
            listening.listen(BACKLOG)  # of the system's queue, not of what is taken at once

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
        self._following: asyncio.Task[None] | None = None
        self._crowd = Crowd(most_connections(settings.max_listeners + BESIDE_LISTENERS))
        self._said = ""
        self.port: int | None = None
        self.access = Access(settings)
        self.takeovers = 1

    @property
    def address(self) -> str:
        """Where programs of this machine find events and HTTP."""
        return local_address(self._settings.host, self.port or 0, self.access.scheme)

    async def start(self, auth_before: str | None = None) -> bool:
        """Binds a port and serves. False if there is none to be had, or who may come in cannot
        be told; that is said once, however often this is tried. `auth_before` is how the
        database was served before: where the settings say nothing, it stays so."""
        try:
            self.access = await asyncio.to_thread(
                lambda: access_of(self._settings, before=auth_before)
            )
        except InvalidInput as error:
            self._say(logging.ERROR, f"Events are not served; the tools work. {error}")
            return False
        listening = await self._bind()
        if listening is None:
            return False
        self.port = listening.getsockname()[1]
        self._server = _Server(_configuration(self._app(self.port), self.access, self._crowd))
        self._listening = listening
        self._serving = asyncio.create_task(self._serve(self._server, listening))
        self._follow_certificate()
        return True

    def _follow_certificate(self) -> None:
        certificate, key = self._settings.tls_certificate, self._settings.tls_key
        if self.access.tls is not None and certificate is not None and key is not None:
            used = self.access.tls_stamps
            following = follow_renewals(self.access.tls, certificate, key, used)
            self._following = asyncio.create_task(following)

    def _app(self, port: int) -> ASGIApp:
        log = Served(self._bus, self.listeners, self._database, self._clock)
        return served_app(log, self.access, self._measured, port=port)

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
        for port in range(wanted, min(wanted + PORTS_TRIED, LAST_PORT + 1)):
            try:
                found = await self._bind_or_holder(port)
            except OSError as error:
                self._say_impossible(port, error)
                return None
            if isinstance(found, socket.socket):
                self._say_where(port)
                return found
            if found is Holder.SAME_DATABASE:
                self._say_served(port)
                return None
        last = min(wanted + PORTS_TRIED - 1, LAST_PORT)
        self._say(
            logging.ERROR,
            f"Events are not served: ports {wanted} to {last} are held by "
            "other programs. The tools work; set TASK_COPILOT_PORT to a free port.",
        )
        return None

    async def _bind_or_holder(self, port: int) -> socket.socket | Holder:
        """A socket on `port`, or else who has it; raises OSError where it is not that."""
        host, loop = self._settings.host, asyncio.get_running_loop()
        tls = self.access.tls is not None
        deadline = loop.time() + ENDING_SECONDS
        while True:
            try:
                return bind(host, port)
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
            holder = await holder_of(local_host(host), port, self._bus.epoch, tls=tls)
            if holder is not Holder.NOBODY or loop.time() > deadline:
                return holder
            await asyncio.sleep(BIND_AGAIN_SECONDS)

    def _say_impossible(self, port: int, error: OSError) -> None:
        self._say(
            logging.ERROR,
            f"Events are not served: {self._settings.host} port {port}: {error.strerror}. The "
            "tools work; set TASK_COPILOT_HOST or TASK_COPILOT_PORT.",
        )

    def _say_served(self, port: int) -> None:
        self._say(
            logging.WARNING,
            f"Events on port {port} are served by another Task Copilot process, which keeps its "
            "lock in another data directory; this one waits for the port.",
        )

    def _say_where(self, port: int) -> None:
        wanted = self._settings.port
        if port != wanted:
            self._say(
                logging.WARNING,
                f"Port {wanted} is held by another program: events are served on port {port}.",
            )

    def _say(self, level: int, text: str) -> None:
        if text != self._said:
            self._said = text
            logger.log(level, "%s", text)

    def dismiss(self) -> None:
        """Closes every listener with 1012, "come back at once"; the hub goes on."""
        if self._server is None:
            return
        loop = asyncio.get_running_loop()
        for connection in tuple(self._server.server_state.connections):
            _shut(connection)
            loop.call_later(CUT_OFF_SECONDS, connection.transport.abort)

    def leave(self) -> None:
        """Closes every listener with 1012 and lets go of the port, at once."""
        listening, self._listening = self._listening, None
        if self._following is not None:
            self._following.cancel()
        if self._server is None or self._serving is None or listening is None:
            return
        # Not `should_exit`: uvicorn looks at it every 0.1 s only.
        self._serving.cancel()
        for server in getattr(self._server, "servers", ()):  # none before it has started
            server.close()
        listening.close()
        for connection in tuple(self._server.server_state.connections):
            _shut(connection)

    async def stop(self) -> None:
        """`leave`, and gives the listeners a moment to get what was sent to them."""
        self.leave()
        server, self._server = self._server, None
        if server is None or self._serving is None:
            return
        await asyncio.gather(self._serving, return_exceptions=True)
        state = server.server_state
        await _all_gone(state, STOP_SECONDS)
        for connection in tuple(state.connections):
            connection.transport.abort()
        for transport in tuple(self._crowd.below):
            transport.abort()
        await _all_gone(state, CUT_SECONDS)


async def _all_gone(state: uvicorn.server.ServerState, seconds: float) -> None:
    """Waits until no connection is left, for so long at most."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    # uvicorn tells nobody when the last connection is gone.
    while (state.connections or state.tasks) and loop.time() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(STOP_LOOK_SECONDS)


def _shut(connection: Any) -> None:
    try:
        connection.shutdown()
    except InvalidState:  # its client was a moment faster
        connection.transport.close()


def _configuration(app: object, access: Access, crowd: Crowd) -> uvicorn.Config:
    settings, tls = access.settings, access.tls
    return uvicorn.Config(
        app,  # type: ignore[arg-type]
        http=impatient_http(
            unread_seconds=settings.listener_timeout,
            crowd=crowd,
        ),
        ws=patient_websocket(max_message_rate=settings.max_message_rate),
        ws_max_size=settings.max_message_bytes,
        ws_ping_interval=None,
        ws_per_message_deflate=False,
        backlog=ACCEPTED_AT_ONCE,
        lifespan="off",
        ssl_context_factory=None if tls is None else lambda _config, _default: tls,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # a client could call itself another with each request
        timeout_graceful_shutdown=1,
    )
