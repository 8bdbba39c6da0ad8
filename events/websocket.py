"""The WebSocket side of a listener: who may connect, and what answers the others."""

from urllib.parse import parse_qsl

from starlette.types import Receive, Scope, Send

from task_copilot import jsontext
from task_copilot.clock import Clock
from task_copilot.events.bus import Bus
from task_copilot.events.connection import WebSocketLimits
from task_copilot.events.listener import Listener
from task_copilot.events.listeners import Listeners, TooMany
from task_copilot.events.live import LiveSet
from task_copilot.events.session import Session, Surroundings
from task_copilot.identity import identity_of

EXTENSION = "task_copilot.connection"
"""Where the server's own connection stands in the ASGI scope, if it offers one."""

HTTP_BUSY = 503

NO_WEBSOCKET = (
    "WebSockets are turned off on this hub (--no-websocket, TASK_COPILOT_NO_WEBSOCKET). "
    "/api/events and /api/events/stream serve the same events."
)


class WebSocketEndpoint:
    """The ASGI application of ``/ws``. With `refuse` every upgrade gets 403."""

    def __init__(
        self,
        bus: Bus,
        listeners: Listeners,
        limits: WebSocketLimits,
        clock: Clock,
        *,
        refuse: bool = False,
    ) -> None:
        live = LiveSet(bus, listeners, clock)
        self._around = Surroundings(bus, live, limits, clock)
        self._listeners = listeners
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        if self._refuse:
            await _refuse(send, 403, NO_WEBSOCKET)
            return
        try:
            workspace = _workspace_of(scope)
            with self._listeners.place():
                await self._serve(scope, receive, send, workspace)
        except ValueError as error:
            await _refuse(send, 422, str(error))
        except TooMany as error:
            await _refuse(send, 503, str(error))

    async def _serve(
        self, scope: Scope, receive: Receive, send: Send, workspace: str | None
    ) -> None:
        await send({"type": "websocket.accept"})
        listener = Listener(
            head=self._around.bus.head,
            max_patterns=self._around.limits.max_patterns,
            workspace=workspace,
            errors=self._listeners.errors,
        )
        connection = scope.get("extensions", {}).get(EXTENSION)
        session = Session(self._around, listener, connection, send, identity_of(scope))
        with self._listeners.following(listener.reader):
            await session.run(receive)


def _workspace_of(scope: Scope) -> str | None:
    """The one workspace that a connection wants to see, None for all; raises ValueError."""
    given = parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
    names = [value for name, value in given if name == "workspace"]
    if len(names) != len(given) or len(names) > 1 or "" in names:
        raise ValueError("/ws takes one parameter, workspace=NAME, or none.")
    return names[0] if names else None


async def _refuse(send: Send, status: int, message: str) -> None:
    headers = [(b"content-type", b"application/json")]
    if status == HTTP_BUSY:
        headers.append((b"retry-after", b"5"))
    await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
    body = jsontext.encode({"error": message}).encode()
    await send({"type": "websocket.http.response.body", "body": body})
