"""How a browser comes to its access: a ticket that is good once becomes a cookie.

A browser cannot put a token into a WebSocket's handshake, and a token does not belong into an
address. The cookie holds no token: it is a statement of its own, sealed by the hub.
"""

import secrets
import time
from collections.abc import Callable

from task_copilot.access.tokens import Denied, scopes_of, subject_of, until
from task_copilot.identity import Identity

TICKET_SECONDS = 60
MAX_TICKETS = 1_000
MAX_TICKETS_OF_ONE = 100
"""That wait to be used, in all and for the same subject and scopes; beyond it the oldest is
forgotten."""

COOKIE_SECONDS = 12 * 3600
MAX_COOKIES = 4
"""Of one name that are looked at."""

ALGORITHM = "HS256"
AUDIENCE = "task-copilot dashboard"


class Tickets:
    """Tickets that were given out and not used, in memory."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._waiting: dict[str, tuple[float, Identity]] = {}

    def issue(self, identity: Identity) -> tuple[str, float]:
        """A ticket for what `identity` may do, and when it ends (seconds since 1970)."""
        same = [
            each
            for each, (_ends, other) in self._waiting.items()
            if (other.scopes, other.subject) == (identity.scopes, identity.subject)
        ]
        if len(same) >= MAX_TICKETS_OF_ONE:
            del self._waiting[same[0]]
        elif len(self._waiting) >= MAX_TICKETS:
            del self._waiting[next(iter(self._waiting))]
        ticket = secrets.token_urlsafe(32)
        ends = self._now() + TICKET_SECONDS
        self._waiting[ticket] = (ends, identity)
        return ticket, ends

    def redeem(self, ticket: str) -> Identity | None:
        """Who the ticket is for, once; None where it is none, was used, or has ended."""
        ends, identity = self._waiting.pop(ticket, (0.0, None))
        return identity if identity and self._now() < ends and identity.valid() else None


class Cookies:
    """Seals what a browser may do into a cookie, and reads it back. `key` is asked each time:
    where it is another one, the cookies of the one before are worth nothing."""

    def __init__(self, key: Callable[[], bytes], port: int, *, secure: bool) -> None:
        self._key = key
        # A browser sends the cookies of a host to all of its ports.
        self.name = f"task-copilot-{port}"
        self._attributes = "HttpOnly; SameSite=Strict; Path=/" + ("; Secure" if secure else "")

    def header(self, identity: Identity) -> str:
        """The value of Set-Cookie."""
        import jwt

        ends = time.time() + COOKIE_SECONDS
        if identity.expires_at is not None:
            ends = min(ends, identity.expires_at)
        claims = {"aud": AUDIENCE, "exp": int(ends), "scope": " ".join(sorted(identity.scopes))}
        if identity.subject is not None:
            claims["sub"] = identity.subject
        sealed = jwt.encode(claims, self._key(), ALGORITHM)
        age = max(0, int(ends - time.time()))
        return f"{self.name}={sealed}; Max-Age={age}; {self._attributes}"

    def read(self, header: str) -> list[str]:
        """The cookies of this hub's name in a Cookie header; another server of the machine may
        have set one too."""
        pairs = (pair.strip().partition("=") for pair in header.split(";"))
        return [value for name, _equals, value in pairs if name == self.name][:MAX_COOKIES]

    def identity(self, sealed: str) -> Identity:
        """What a cookie allows; raises Denied."""
        import jwt

        key = self._key()
        try:
            claims = jwt.decode(
                sealed,
                key,
                algorithms=[ALGORITHM],
                audience=AUDIENCE,
                options={"require": ["exp", "aud"]},
            )
            ends = float(claims["exp"])
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError):
            raise Denied("the cookie has ended") from None
        in_time = until(ends)
        return Identity(
            scopes_of(claims),
            subject_of(claims),
            ends,
            lambda: in_time() and secrets.compare_digest(key, self._key()),
        )
