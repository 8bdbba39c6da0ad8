"""Requests of the commands to a hub, with the token and the trust for it."""

import contextlib
import http.client
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import click

from task_copilot import runtime
from task_copilot.bearer import UNAUTHORIZED, Given, OwnToken, given_token, refusal_of
from task_copilot.client.tls import tls_reason
from task_copilot.commands.common import ACTOR, Refusal, places_of_database, refusals
from task_copilot.credentials import (
    CHALLENGE_HEADER,
    PROOF_HEADER,
    context_for,
    is_loopback,
    token_path,
)
from task_copilot.errors import TaskCopilotError
from task_copilot.settings import CA_FILE_VARIABLE, TOKEN_VARIABLE, URL_VARIABLE, Settings

PROBE_SECONDS = 1.0
"""A hub answers ``/health`` in milliseconds; what takes so long is no hub of ours."""

MAX_HEALTH_BYTES = 65_536
OK, FORBIDDEN = 200, 403
HTTPS_PORT = 443
SCHEMES = ("http", "https")
F = TypeVar("F", bound=Callable[..., Any])

CA_FILE = "task_copilot.ca_file"
"""Where the context of a command keeps ``--ca-file``."""

_asking: set[str] = set()
"""Hubs that have asked this process for a token: the next request begins with one."""

_told: set[str] = set()
"""Addresses that get a token without TLS, of which was told."""


class Unreachable(Exception):
    """Nobody answers at an address, or not as a hub would."""


class NotAnswered(Unreachable):
    """The request was sent and not answered; what has come of it is not known."""


class Unauthorized(Refusal):
    """A hub wants another token, or one that may do more."""


@dataclass(frozen=True, slots=True)
class HubAt:
    """A hub, and what a client needs there. `own`: it is one of this user, found through its
    files or on this machine; `certificate`: the only one that is trusted there, where it is
    known; `anonymous`: it is only asked who it is, and gets no token."""

    url: str
    own: bool
    token_file: str | None = None
    certificate: str | None = None
    ca_file: str | None = None
    anonymous: bool = False


def _keep(context: click.Context, _: click.Parameter, value: str | None) -> None:
    context.meta[CA_FILE] = value


_TRUST: dict[str, Any] = {
    "envvar": CA_FILE_VARIABLE,
    "show_envvar": True,
    "metavar": "FILE",
    "expose_value": False,
    "callback": _keep,
    "help": "Certificates (PEM) to trust at https:// beside the system's. The hub of this user's "
    "own database is trusted without it.",
}


def ca_file_parameter() -> click.Option:
    """``--ca-file``, which `hub_at` looks up by itself."""
    return click.Option(["--ca-file"], **_TRUST)


def ca_file_option(command: F) -> F:
    """Adds ``--ca-file`` to a command."""
    with_option: F = click.option("--ca-file", **_TRUST)(command)
    return with_option


def present_ca_file() -> str | None:
    """What ``--ca-file`` of the present command says, or its variable."""
    context = click.get_current_context(silent=True)
    given: str | None = None if context is None else context.meta.get(CA_FILE)
    return given or os.environ.get(CA_FILE_VARIABLE) or None


def hub_at(settings: Settings, url: str) -> HubAt:
    """The hub that the user names; raises Refusal for what is no address."""
    checked_url(url)
    own = is_loopback(url)
    certificate = None
    if own and url.startswith("https:"):
        record = _record(settings)
        if record is not None and record.port == (urlsplit(url).port or HTTPS_PORT):
            certificate = record.certificate
    return HubAt(url, own, settings.token_file, certificate, present_ca_file())


def found_hub(settings: Settings, record: runtime.HubRecord) -> HubAt:
    """The hub of the user's own database; raises Refusal for what is no address."""
    url = checked_url(record.url or "")
    return HubAt(url, own=True, token_file=settings.token_file, certificate=record.certificate)


def _record(settings: Settings) -> runtime.HubRecord | None:
    with contextlib.suppress(TaskCopilotError):  # it is about a database that is not asked
        return runtime.record_of(places_of_database(settings))
    return None


def checked_url(url: str) -> str:
    """`url`, if it can be one of a hub; raises Refusal."""
    with contextlib.suppress(ValueError):
        parts = urlsplit(url)
        if parts.scheme in SCHEMES and parts.hostname and parts.port != 0 and not parts.query:
            return url
    raise Refusal(f"--url ({URL_VARIABLE}) cannot be {url!r}; it looks like http://127.0.0.1:9090")


def health(hub: HubAt) -> dict[str, Any]:
    """What ``/health`` of a hub answers; raises Unreachable where it is none, and Unauthorized."""
    status, found = get(hub, "/health", seconds=PROBE_SECONDS, limit=MAX_HEALTH_BYTES)
    if status in {UNAUTHORIZED, FORBIDDEN}:
        raise Unauthorized(f"{hub.url}: {reason_of(status, found)}")
    if status != OK or not isinstance(found, dict) or found.get("service") != runtime.SERVICE:
        raise Unreachable("what is there is not Task Copilot")
    return found


def reason_of(status: int, found: Any) -> str:
    """Why a hub refuses, in its own words where it has any."""
    reason = found.get("error") if isinstance(found, dict) else None
    return str(reason) if reason else f"HTTP status {status}"


def get(hub: HubAt, target: str, *, seconds: float, limit: int) -> tuple[int, Any]:
    """Status and JSON of a GET request; raises Unreachable, and Refusal for a token or for
    certificates that cannot be used. Follows no redirect, uses no proxy."""
    return request(hub, "GET", target, None, seconds=seconds, limit=limit)


def request(
    hub: HubAt, method: str, target: str, body: Any, *, seconds: float, limit: int
) -> tuple[int, Any]:
    """As `get`, with any method and with `body` as JSON where it is not None. Raises NotAnswered
    where a request that may change something was sent."""
    asked = _Asked(hub, seconds, limit)
    try:
        return asked.answer(method, target, body)
    except OSError as error:
        reason = tls_reason(error) or error.strerror or str(error) or type(error).__name__
        raise asked.failure(reason + asked.hint(error)) from None
    except (http.client.HTTPException, ValueError, RecursionError) as error:
        raise asked.failure(
            f"what is there does not speak as a hub does{asked.hint(error)}"
        ) from None
    finally:
        asked.close()


class _Asked:
    """One connection to a hub, for one request and what has to go before it."""

    def __init__(self, hub: HubAt, seconds: float, limit: int) -> None:
        self._hub, self._limit = hub, limit
        with refusals():
            self._connection = _connection(hub, seconds)
        self._given = _given(hub)
        self.failure: type[Unreachable] = Unreachable
        """What to raise where no answer comes."""

    def close(self) -> None:
        self._connection.close()

    def hint(self, error: Exception) -> str:
        """What a connection that ends at once may mean."""
        ended = isinstance(error, ConnectionResetError | http.client.BadStatusLine)
        plain = self._hub.url.startswith("http:")
        return " (if it serves TLS, its address is https://…)" if ended and plain else ""

    def answer(self, method: str, target: str, body: Any) -> tuple[int, Any]:
        """Status and JSON. Raises OSError, HTTPException and ValueError."""
        own: OwnToken | None = None
        token = self._given.token if self._given else None
        if token is None and self._hub.url in _asking and not self._hub.anonymous:
            own, token = self._own_token()
        status, found = self._ask(method, target, body, token)
        wants = status == UNAUTHORIZED and not self._hub.anonymous
        if wants and self._given is None and own is None:
            _asking.add(self._hub.url)
            own, token = self._own_token()
            if token is not None:
                status, found = self._ask(method, target, body, token)
        if status == UNAUTHORIZED:
            advice = self._given.refused if self._given else own.reason if own else ""
            found = {"error": refusal_of(reason_of(status, found), advice)}
        return status, found

    def _ask(self, method: str, target: str, body: Any, token: str | None) -> tuple[int, Any]:
        headers = {"Accept": "application/json", "User-Agent": ACTOR}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        content = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            content = json.dumps(body)
        response = self._send(method, target, content, headers)
        return response.status, json.loads(response.read(self._limit))

    def _own_token(self) -> tuple[OwnToken, str | None]:
        """The token of the user's own file, for a hub that has proved on this connection that it
        knows it: whoever takes its port after that is not asked."""
        path = token_path(self._hub.token_file)
        own = OwnToken(self._hub.url, path, own=self._hub.own, place=TOKEN_VARIABLE)
        question = own.question()
        if question is None:
            return own, None
        headers = {CHALLENGE_HEADER: question.challenge}
        response = self._send("GET", "/health", None, headers)
        response.read(MAX_HEALTH_BYTES)
        self._connection.auto_open = 0
        return own, own.token(question, response.headers.get(PROOF_HEADER))

    def _send(
        self, method: str, target: str, content: str | None, headers: Mapping[str, str]
    ) -> http.client.HTTPResponse:
        if self._connection.sock is None and self._connection.auto_open:
            self._connection.connect()
        if method != "GET":
            self.failure = NotAnswered
        base = urlsplit(self._hub.url).path.rstrip("/")
        self._connection.request(method, base + target, content, dict(headers))
        return self._connection.getresponse()


def _connection(hub: HubAt, seconds: float) -> http.client.HTTPConnection:
    parts = urlsplit(hub.url)
    if parts.scheme == "https":
        context = context_for(hub.certificate, hub.ca_file)
        return http.client.HTTPSConnection(
            parts.hostname or "", parts.port, timeout=seconds, context=context
        )
    return http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=seconds)


def _given(hub: HubAt) -> Given | None:
    """The token of the environment; said once where it goes without encryption."""
    if hub.anonymous:
        return None
    try:
        given = given_token(None, os.environ.get(TOKEN_VARIABLE))
    except ValueError as error:
        raise Refusal(f"{error}.") from None
    if given and hub.url.startswith("http:") and not is_loopback(hub.url) and hub.url not in _told:
        _told.add(hub.url)
        click.echo(
            f"task-copilot: The token goes to {hub.url} without encryption: whoever is on the way "
            "can read it. Use an https:// address, unless a tunnel or a proxy encrypts.",
            err=True,
        )
    return given


def token_file_of(settings: Settings) -> Path:
    """Where the shared secret of these settings stands."""
    return token_path(settings.token_file)
