"""Who a request comes from, and what that one may do."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

READ = "read"
WRITE = "write"
SCOPES = (READ, WRITE)
"""What a token can allow; who may write may read too."""

IN_SCOPE = "task_copilot.identity"
"""Where an identity stands in the ASGI scope of a request that was let in."""


def _always() -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Identity:
    """One that was let in. `subject` is the name that its token gives it, if it does;
    `expires_at` is when that ends (seconds since 1970), None for never; `valid` says whether it
    still holds, for connections that stay open."""

    scopes: frozenset[str]
    subject: str | None = None
    expires_at: float | None = None
    valid: Callable[[], bool] = _always

    def may(self, scope: str) -> bool:
        """Whether `scope` (``read`` or ``write``) is allowed."""
        return scope in self.scopes


ANYBODY = Identity(frozenset(SCOPES))
"""Where no token is asked for."""


def identity_of(scope: Mapping[str, Any]) -> Identity:
    """Who the request with this ASGI scope comes from."""
    found: Identity = scope.get(IN_SCOPE, ANYBODY)
    return found
