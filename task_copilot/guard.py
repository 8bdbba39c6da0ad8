"""Refuses every request whose Host or Origin is not ours, before anything else sees it.

A browser sends the user's requests for any page: without this, any web page could read and
write here (DNS rebinding through Host, cross-site WebSockets through Origin).
"""

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from task_copilot.access.addresses import Addresses, Authority, authority_of, origin_of

OWN_PAGES = {b"same-origin", b"none"}
"""What browsers say of requests of our own pages, and of what a person opens (W3C Fetch
Metadata)."""


class HostAndOriginGuard:
    """ASGI middleware for all routes, HTTP and WebSocket alike."""

    def __init__(self, app: ASGIApp, addresses: Addresses) -> None:
        self._app = app
        self._addresses = addresses

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
        host = authority_of(hosts[0].decode("latin-1")) if len(hosts) == 1 else None
        if host is None or not self._addresses.is_ours(host):
            return (
                f"Host {_shown(hosts)} is not this server. Use one of {self._addresses.shown}; "
                "TASK_COPILOT_PORT (--port) sets the port, TASK_COPILOT_ALLOWED_HOSTS "
                "(--allowed-hosts) adds names."
            )
        if not all(self._is_allowed(origin, host) for origin in origins):
            return (
                f"Origin {_shown(origins)} is not allowed. Pages of this server itself may use "
                "it, and those of TASK_COPILOT_ALLOWED_ORIGINS (--allowed-origins)."
            )
        if not origins and _is_of_another_page(scope, dict(headers)):
            return (
                "The request comes from a page of another site (Sec-Fetch-Site), which may not "
                "use this server; TASK_COPILOT_ALLOWED_ORIGINS (--allowed-origins) allows one "
                "that sends its Origin."
            )
        return None

    def _is_allowed(self, text: bytes, host: Authority) -> bool:
        origin = origin_of(text.decode("latin-1"))
        return origin is not None and self._addresses.allows(origin, host)


def _is_of_another_page(scope: Scope, headers: dict[bytes, bytes]) -> bool:
    """Whether a browser says that another site's page asks, as for an image or a form. A link
    to the dashboard is none: it shows the page to the person only."""
    if headers.get(b"sec-fetch-site", b"none").strip().lower() in OWN_PAGES:
        return False
    is_link = (
        headers.get(b"sec-fetch-mode") == b"navigate"
        and headers.get(b"sec-fetch-dest") == b"document"
        and scope.get("method") == "GET"
        and scope["path"] == "/"
    )
    return not is_link


def _shown(values: list[bytes]) -> str:
    return ascii(b", ".join(values)[:100].decode("latin-1"))
