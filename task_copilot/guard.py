"""Refuses every request whose Host or Origin is not ours, before anything else sees it.

A browser sends the user's requests for any page: without this, any web page could read and
write here (DNS rebinding through Host, cross-site WebSockets through Origin).
"""

from collections.abc import Collection

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

HTTP_PORT = 80
LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")


class HostAndOriginGuard:
    """ASGI middleware for all routes, HTTP and WebSocket alike."""

    def __init__(self, app: ASGIApp, *, port: int, names: Collection[str] = LOOPBACK_NAMES) -> None:
        self._app = app
        hosts = {f"{name}:{port}" for name in names}
        if port == HTTP_PORT:  # the one that clients leave out
            hosts.update(names)
        self._hosts = frozenset(hosts)
        self._origins = frozenset(f"http://{host}" for host in self._hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        reason = self._refusal(scope) if scope["type"] in {"http", "websocket"} else None
        if reason is None:
            await self._app(scope, receive, send)
            return
        refusal = JSONResponse({"error": reason}, status_code=403)
        if scope["type"] == "websocket":
            await receive()
        await refusal(scope, receive, send)

    def _refusal(self, scope: Scope) -> str | None:
        headers = [(name.lower(), value) for name, value in scope["headers"]]
        hosts = [value for name, value in headers if name == b"host"]
        origins = [value for name, value in headers if name == b"origin"]
        if len(hosts) != 1 or _normal(hosts[0]) not in self._hosts:
            return (
                f"Host {_shown(hosts)} is not this server. Use one of "
                f"{', '.join(sorted(self._hosts))}; TASK_COPILOT_PORT sets the port."
            )
        if any(_normal(origin) not in self._origins for origin in origins):
            return (
                f"Origin {_shown(origins)} is not allowed. Only pages of this server itself, at "
                f"{', '.join(sorted(self._origins))}, may use it; TASK_COPILOT_PORT sets the port."
            )
        return None


def _normal(value: bytes) -> str:
    """Lower case, and without the dot that may end a host name."""
    text = value.decode("latin-1").strip().lower()
    name, colon, port = text.rpartition(":")
    return f"{name.removesuffix('.')}{colon}{port}" if colon else text


def _shown(values: list[bytes]) -> str:
    return ascii(b", ".join(values)[:100].decode("latin-1"))
