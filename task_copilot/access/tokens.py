"""Tokens: a shared secret, or JSON Web Tokens that somebody else signs."""

import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from task_copilot import credentials
from task_copilot.errors import InvalidInput
from task_copilot.identity import READ, SCOPES, WRITE, Identity

LOOK_SECONDS = 1.0
"""At most so often the token file is looked at: whoever has the old secret is out that soon."""

LEEWAY_SECONDS = 10
"""How far the clocks of who signs a token and of this machine may be apart."""

SUBJECT_CHARACTERS = 100


class Denied(Exception):
    """A token that is not accepted; says why, without any of the token."""


class Authority(Protocol):
    """What knows the tokens of a hub."""

    def identity(self, token: str) -> Identity:
        """Who shows `token`; raises Denied."""

    def secret(self) -> str | None:
        """The shared secret as it is now; None where there is none."""

    def sealing_key(self) -> bytes | None:
        """A key that all hubs of this authority have in common, for the cookies that they hand
        out; None where there is none."""


class SharedSecret:
    """One secret that allows everything: of the environment, or of a file that is followed."""

    def __init__(self, secret: str, file: Path | None = None) -> None:
        self._secret = secret
        self._file = file
        self._seen = _stamp(file)
        self._looked = time.monotonic()

    def secret(self) -> str | None:
        """The secret as it is now; None while its file is gone or cannot be used."""
        # One look at the file system a second: a thread would take longer to be asked.
        now = time.monotonic()
        if self._file is not None and now - self._looked >= LOOK_SECONDS:
            self._looked = now
            seen = _stamp(self._file)
            if seen != self._seen:
                self._seen = seen
                self._secret = _secret_in(self._file) or ""
        return self._secret or None

    def identity(self, token: str) -> Identity:
        """Everything is allowed to who has the secret; raises Denied."""
        if not self._is_current(token):
            raise Denied("it is not the token of this server")
        return Identity(frozenset(SCOPES), valid=lambda: self._is_current(token))

    def _is_current(self, token: str) -> bool:
        secret = self.secret()
        given = token.encode(errors="surrogateescape")
        return secret is not None and hmac.compare_digest(given, secret.encode())

    def sealing_key(self) -> bytes | None:
        """Made of the secret, so that the next hub takes the cookies of this one."""
        secret = self.secret()
        return None if secret is None else sealing_key_of(secret.encode())


def sealing_key_of(secret: bytes) -> bytes:
    """A key for cookies, of which nobody learns the secret."""
    return hmac.digest(secret, b"task-copilot cookie", "sha256")


def _stamp(file: Path | None) -> object:
    try:
        found = file.stat() if file else None
    except OSError:
        return None
    return found and (found.st_ino, found.st_mtime_ns, found.st_size)


def _secret_in(file: Path) -> str | None:
    try:
        return credentials.read_secret(file)
    except (InvalidInput, OSError):
        return None


@dataclass(frozen=True, slots=True)
class JsonWebTokens:
    """JSON Web Tokens (RFC 7519), signed with one key. Made by `json_web_tokens`."""

    key: Any
    algorithms: tuple[str, ...]
    audience: str
    shared: bytes | None
    """The key, where it is a secret of ours."""

    def identity(self, token: str) -> Identity:
        """What the claims `scope`, `sub` and `exp` say; raises Denied."""
        import jwt

        try:
            claims = jwt.decode(
                token,
                self.key,
                algorithms=self.algorithms,
                audience=self.audience,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "aud"]},
            )
            expires_at = float(claims["exp"])
        except jwt.ExpiredSignatureError:
            raise Denied("it has expired") from None
        except jwt.InvalidAudienceError:
            raise Denied(f"its audience (aud) is not {self.audience!r}") from None
        except jwt.ImmatureSignatureError:
            raise Denied("it is not valid yet (nbf, iat), or the clocks differ") from None
        except (jwt.exceptions.InvalidSubjectError, jwt.InvalidIssuedAtError):
            raise Denied("its subject (sub) is no text, or its time (iat) no number") from None
        except jwt.MissingRequiredClaimError as error:
            raise Denied(f"it has no {error.claim!r}") from None
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError):
            raise Denied("it is not a token that this server's key has signed") from None
        return Identity(scopes_of(claims), subject_of(claims), expires_at, until(expires_at))

    def secret(self) -> str | None:
        """None: the key is for signing."""
        return None

    def sealing_key(self) -> bytes | None:
        """Made of the key, where that is a secret."""
        return None if self.shared is None else sealing_key_of(self.shared)


def until(expires_at: float) -> Callable[[], bool]:
    """Whether a moment (seconds since 1970) has not come, give or take the clocks."""
    return lambda: time.time() < expires_at + LEEWAY_SECONDS


def scopes_of(claims: dict[str, Any]) -> frozenset[str]:
    """The scopes that claims allow: ``scope`` with spaces between them (RFC 8693), or a list."""
    given = claims.get("scope", [])
    names = given.split() if isinstance(given, str) else given
    found = {name for name in SCOPES if isinstance(names, list) and name in names}
    return frozenset(found | {READ} if WRITE in found else found)


def subject_of(claims: dict[str, Any]) -> str | None:
    """The name of who has a token; None where it gives none that can be shown."""
    subject = claims.get("sub")
    if not isinstance(subject, str) or not subject.isprintable() or not subject.strip():
        return None
    return subject.strip()[:SUBJECT_CHARACTERS]


@dataclass(frozen=True, slots=True)
class Either:
    """A shared secret beside JSON Web Tokens."""

    shared: SharedSecret
    tokens: JsonWebTokens

    def identity(self, token: str) -> Identity:
        """Who shows `token`, of whichever kind; raises Denied."""
        try:
            return self.shared.identity(token)
        except Denied:
            return self.tokens.identity(token)

    def secret(self) -> str | None:
        """The shared one."""
        return self.shared.secret()

    def sealing_key(self) -> bytes | None:
        """The secret's."""
        return self.shared.sealing_key()
