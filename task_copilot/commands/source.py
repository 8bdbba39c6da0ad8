"""Where the reading commands read: from the hub, or without one from the database.

Both answer a declared route with the same object, so a command does not know which it was.
"""

import contextlib
import http.client
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote, urlencode, urlsplit

from task_copilot import runtime
from task_copilot.commands.common import Refusal, database_of, file_of_database, refusals
from task_copilot.errors import NotFound
from task_copilot.places import Places
from task_copilot.settings import TOKEN_VARIABLE, URL_VARIABLE, Settings

if TYPE_CHECKING:
    from task_copilot.api.routes import ApiRoute
    from task_copilot.database.store import Database
    from task_copilot.events.log import LogRow

Answer = dict[str, Any]

PROBE_SECONDS = 1.0
"""A hub answers ``/health`` in milliseconds; what takes so long is no hub of ours."""

ANSWER_SECONDS = 30.0
MAX_ANSWER_BYTES = 64 * 1024 * 1024
"""Far more than a page has; what sends more is no hub."""

MAX_HEALTH_BYTES = 65_536
OK = 200
SCHEMES = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}


class Source(Protocol):
    """Answers routes."""

    def read(self, route: "ApiRoute", parameters: Mapping[str, str]) -> Answer:
        """What `route` answers; `parameters` are texts by their names on the wire.

        Raises Refusal with the sentence of the route's refusal.
        """
        ...


class Unreachable(Exception):
    """Nobody answers at an address, or not as a hub would."""


class NotAnswered(Unreachable):
    """The request was sent and not answered; what has come of it is not known."""


def get(url: str, target: str, *, seconds: float, limit: int) -> tuple[int, Any]:
    """Status and JSON of a GET request; raises Unreachable. Follows no redirect, uses no proxy."""
    return ask(url, target, seconds=seconds, limit=limit)


def ask(
    url: str,
    target: str,
    *,
    method: str = "GET",
    body: Mapping[str, Any] | None = None,
    program: str | None = None,
    seconds: float,
    limit: int,
) -> tuple[int, Any]:
    """Status and JSON of a request of `program` with a JSON body; raises Unreachable, and
    NotAnswered where it was sent. Follows no redirect, uses no proxy."""
    try:
        parts = urlsplit(url)
        connection = SCHEMES[parts.scheme](parts.hostname or "", parts.port, timeout=seconds)
    except (ValueError, KeyError):
        raise Unreachable("that is no address of a hub") from None
    base = parts.path.rstrip("/")
    failure = Unreachable
    try:
        connection.connect()
        failure = NotAnswered
        content = None if body is None else json.dumps(body).encode()
        connection.request(method, base + target, content, _headers(content, program))
        response = connection.getresponse()
        return response.status, json.loads(response.read(limit))
    except OSError as error:
        raise failure(error.strerror or str(error) or type(error).__name__) from None
    except (http.client.HTTPException, ValueError, RecursionError):
        raise failure("what is there does not speak as a hub does") from None
    finally:
        connection.close()


def _headers(content: bytes | None, program: str | None) -> dict[str, str]:
    token = os.environ.get(TOKEN_VARIABLE)
    bearer = {"Authorization": f"Bearer {token}"} if token else {}
    named = {"User-Agent": program} if program else {}
    sent = {} if content is None else {"Content-Type": "application/json"}
    return {"Accept": "application/json", **bearer, **named, **sent}


def health(url: str) -> Answer:
    """What ``/health`` of a hub answers; raises Unreachable where it is none."""
    status, found = get(url, "/health", seconds=PROBE_SECONDS, limit=MAX_HEALTH_BYTES)
    if status != OK or not isinstance(found, dict) or found.get("service") != runtime.SERVICE:
        raise Unreachable("what is there is not Task Copilot")
    return found


class HubSource:
    """Asks the hub at `url`."""

    def __init__(self, url: str) -> None:
        self._url = url

    def read(self, route: "ApiRoute", parameters: Mapping[str, str]) -> Answer:
        status, found = get(
            self._url,
            target(route.path, parameters),
            seconds=ANSWER_SECONDS,
            limit=MAX_ANSWER_BYTES,
        )
        if not isinstance(found, dict):
            raise Unreachable("what is there does not answer as a hub does")
        if status != OK:
            raise Refusal(str(found.get("error", f"HTTP status {status}")))
        return found


def target(path: str, parameters: Mapping[str, str]) -> str:
    """The address of a route with its parameters, those of the path in their places."""
    left = dict(parameters)
    filled = re.sub(r"\{(\w+)\}", lambda found: quote(left.pop(found[1]), safe=""), path)
    return f"{filled}?{urlencode(left)}" if left else filled


class DatabaseSource:
    """Runs the route's handler here, as the hub would."""

    def __init__(self, database: "Database[LogRow]") -> None:
        self._database = database

    def read(self, route: "ApiRoute", parameters: Mapping[str, str]) -> Answer:
        from task_copilot.api.endpoint import checked, encoded
        from task_copilot.clock import system_clock
        from task_copilot.events import log

        with refusals():
            given = checked(route, parameters)
            handler = route.handler
            assert handler is not None  # noqa: S101 - the commands read no other routes
            now = system_clock()
            answer: Answer = json.loads(
                self._database.read_now(
                    lambda c: encoded(route, handler(c, given, now), log.state(c))
                )
            )
            return answer


class _HubOrDatabase:
    """The hub that was found, and the database from where it ends."""

    def __init__(self, settings: Settings, url: str, stack: contextlib.ExitStack) -> None:
        self._settings = settings
        self._stack = stack
        self._source: Source = HubSource(url)

    def read(self, route: "ApiRoute", parameters: Mapping[str, str]) -> Answer:
        try:
            return self._source.read(route, parameters)
        except Unreachable:
            database = self._stack.enter_context(database_of(self._settings))
            self._source = DatabaseSource(database)
            return self._source.read(route, parameters)


class _OnlyHub:
    """The hub that the user has named, and nothing else."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._hub = HubSource(url)

    def read(self, route: "ApiRoute", parameters: Mapping[str, str]) -> Answer:
        try:
            return self._hub.read(route, parameters)
        except Unreachable as reason:
            raise Refusal(f"{self._url} does not answer: {reason}.") from None


@contextlib.contextmanager
def source(settings: Settings, url: str | None) -> Iterator[Source]:
    """Where to read: the hub at `url` if one is given, else the hub of the database if there is
    one, else the database."""
    if url is not None:
        try:
            health(checked_url(url))
        except Unreachable as reason:
            raise Refusal(f"Nobody serves at {url}: {reason}. Is --url right?") from None
        yield _OnlyHub(url)
        return
    with contextlib.ExitStack() as stack:
        record = living_hub(settings)
        if record is not None and record.url is not None:
            yield _HubOrDatabase(settings, record.url, stack)
        else:
            yield DatabaseSource(stack.enter_context(database_of(settings)))


def checked_url(url: str) -> str:
    """`url`, if it can be one of a hub; raises Refusal."""
    with contextlib.suppress(ValueError):
        parts = urlsplit(url)
        if parts.scheme in SCHEMES and parts.hostname and parts.port != 0 and not parts.query:
            return url
    raise Refusal(f"--url ({URL_VARIABLE}) cannot be {url!r}; it looks like http://127.0.0.1:9090")


def living_hub(settings: Settings) -> runtime.HubRecord | None:
    """The hub of the database, if its runtime file tells the truth."""
    with refusals():
        record = runtime.read(Places.of(file_of_database(settings)).runtime)
    if record is None or record.url is None:
        return None
    with contextlib.suppress(Unreachable, Refusal):
        if health(checked_url(record.url)).get("epoch") == record.epoch:
            return record
    return None


def workspace_name(read_from: Source, wanted: str | None) -> str:
    """The name in the database of a wanted workspace, or of the current one; raises Refusal."""
    from task_copilot.api.routes import WORKSPACES
    from task_copilot.location import locate

    with refusals():
        location = locate(wanted, os.environ, Path.cwd())
        rows = read_from.read(WORKSPACES, {})["workspaces"]
        for row in rows:
            if location.path is not None and row["path"] == location.path:
                return str(row["workspace"])
        names = [str(row["workspace"]) for row in rows]
        if location.name in names and location.path is None:
            return location.name
        known = f"There are: {', '.join(names)}." if names else "There is none yet."
        raise NotFound(
            f"There is no workspace {location.described}. {known} "
            "--workspace NAME or --all-workspaces shows others."
        )
