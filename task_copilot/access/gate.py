"""Lets in who has a token, or a cookie that a ticket became; everybody else gets 401."""

from collections.abc import Collection
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from task_copilot import credentials
from task_copilot.access.tickets import Cookies, Tickets
from task_copilot.access.tokens import Authority, Denied
from task_copilot.identity import IN_SCOPE, READ, WRITE, Identity

REALM = 'Bearer realm="task-copilot"'
OPEN = "/health"
"""Says who is there and nothing of what is kept: clients and monitors ask it first."""

PAGE = "/"
"""Where a ticket is taken."""

PROOF = credentials.PROOF_HEADER.lower().encode()

NEEDED = (
    "This server needs a token. Programs send it as 'Authorization: Bearer TOKEN' (the Python "
    "client and the commands: TASK_COPILOT_TOKEN); for the browser, 'task-copilot token "
    "--ticket' gives an address."
)
USED = (
    "This ticket was used already or is older than a minute. 'task-copilot token --ticket' "
    "gives another one."
)
LOGIN = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Task Copilot</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"></head>
<body><main><h1>Task Copilot</h1><p>{reason}</p>
<p>In a terminal on the machine of the server, run</p>
<pre>task-copilot token --ticket</pre>
<p>and open the address that it prints. It works once, for a minute.</p></main></body></html>
"""
PAGE_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


PROVING_CHARACTERS = 32
"""A secret that is shorter may be one that somebody has thought up."""


class Gate:
    """ASGI middleware for all routes, HTTP and WebSocket alike. What it lets in has its
    `Identity` in the ASGI scope.

    `place` is where the hub listens (`credentials.place_of`); `reading` are the paths that a
    POST may have which changes nothing.
    """

    def __init__(
        self,
        app: ASGIApp,
        authority: Authority,
        tickets: Tickets,
        cookies: Cookies,
        *,
        place: str,
        reading: Collection[str],
    ) -> None:
        self._app = app
        self._authority = authority
        self._tickets = tickets
        self._cookies = cookies
        self._place = place
        self._reading = frozenset(reading)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if ticket := _ticket_of(scope):
            await self._exchange(ticket, headers)(scope, receive, send)
            return
        answer = self._refusal(scope, headers)
        if answer is None:
            await self._app(scope, receive, self._proving(scope, headers, send))
            return
        if scope["type"] == "websocket":
            await receive()
        await answer(scope, receive, send)

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        """The answer to who may not come in; None where the scope has its identity now."""
        try:
            identity = self._identity(headers)
        except Denied as error:
            if scope["path"] == OPEN and "authorization" not in headers:
                return None  # a cookie that has ended is as good as none
            return _unauthorized(scope, headers, f"The token is refused: {error}. {NEEDED}")
        if identity is None:
            return None if scope["path"] == OPEN else _unauthorized(scope, headers, NEEDED)
        needed = self._needed(scope)
        if not identity.may(needed):
            return _forbidden(identity, needed)
        scope[IN_SCOPE] = identity
        return None

    def _identity(self, headers: Headers) -> Identity | None:
        """Who asks; None where there is no token. Raises Denied."""
        given = headers.getlist("authorization")
        if not given:
            return self._identity_of_cookie("; ".join(headers.getlist("cookie")))
        kind, _space, token = given[0].strip().partition(" ")
        if len(given) > 1 or kind.lower() != "bearer" or not token.strip():
            raise Denied("it is not of the form 'Authorization: Bearer TOKEN'")
        return self._authority.identity(token.strip())

    def _identity_of_cookie(self, header: str) -> Identity | None:
        refused: Denied | None = None
        for sealed in self._cookies.read(header):
            try:
                return self._cookies.identity(sealed)
            except Denied as error:
                refused = error
        if refused is not None:
            raise refused
        return None

    def _needed(self, scope: Scope) -> str:
        reads = scope["type"] == "websocket" or scope["method"] in {"GET", "HEAD", "OPTIONS"}
        return READ if reads or scope["path"] in self._reading else WRITE

    def _exchange(self, ticket: str, headers: Headers) -> Response:
        identity = self._tickets.redeem(ticket)
        if identity is None and not self._is_in(headers):
            return HTMLResponse(LOGIN.format(reason=USED), 401, PAGE_HEADERS)
        # To the same page without the ticket, so that it is in no history.
        answer = RedirectResponse(PAGE, 303, PAGE_HEADERS)
        if identity is not None:
            answer.headers["Set-Cookie"] = self._cookies.header(identity)
        return answer

    def _is_in(self, headers: Headers) -> bool:
        """Whether the browser has a cookie already, and just goes back to where it came in."""
        try:
            return self._identity(headers) is not None
        except Denied:
            return False

    def _proving(self, scope: Scope, headers: Headers, send: Send) -> Send:
        """`send`, with the proof on ``/health`` that this is the hub of who asks for it: a
        client that has found the secret by itself shows it only to who knows it already."""
        challenge = headers.get(credentials.CHALLENGE_HEADER, "")
        secret = self._authority.secret()
        if scope["path"] != OPEN or secret is None or len(secret) < PROVING_CHARACTERS:
            return send  # a short one could be guessed from the proof
        if not credentials.is_challenge(challenge):
            return send
        proof = credentials.proof(secret, challenge, self._place).encode()

        async def prove(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (PROOF, proof)]
            await send(message)

        return prove


def _ticket_of(scope: Scope) -> str | None:
    if scope["type"] != "http" or scope["path"] != PAGE or scope["method"] != "GET":
        return None
    query = scope.get("query_string", b"").decode("latin-1")
    given = parse_qs(query).get("ticket")
    return given[0] if given else None


def _unauthorized(scope: Scope, headers: Headers, reason: str) -> Response:
    challenge = REALM if reason is NEEDED else f'{REALM}, error="invalid_token"'
    if scope["type"] == "http" and scope["path"] == PAGE and "html" in headers.get("accept", ""):
        return HTMLResponse(
            LOGIN.format(reason="This server needs a token."),
            401,
            {**PAGE_HEADERS, "WWW-Authenticate": challenge},
        )
    return JSONResponse({"error": reason}, 401, {"WWW-Authenticate": challenge})


def _forbidden(identity: Identity, needed: str) -> Response:
    has = " ".join(sorted(identity.scopes)) or "none"
    reason = f"This needs a token with the scope {needed!r}; the one that was sent has {has}."
    challenge = f'{REALM}, error="insufficient_scope", scope="{needed}"'
    return JSONResponse({"error": reason}, 403, {"WWW-Authenticate": challenge})
