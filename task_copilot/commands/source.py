"""Where the reading commands read: from the hub, or without one from the database.

Both answer a declared route with the same object, so a command does not know which it was.
"""

import contextlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote, urlencode

from task_copilot import runtime
from task_copilot.bearer import UNAUTHORIZED
from task_copilot.commands.asking import (
    FORBIDDEN,
    OK,
    HubAt,
    Unauthorized,
    Unreachable,
    found_hub,
    get,
    health,
    hub_at,
    reason_of,
)
from task_copilot.commands.common import Refusal, database_of, places_of_database, refusals
from task_copilot.errors import NotFound
from task_copilot.settings import Settings

if TYPE_CHECKING:
    from task_copilot.api.routes import ApiRoute
    from task_copilot.database.store import Database
    from task_copilot.events.log import LogRow

Answer = dict[str, Any]

ANSWER_SECONDS = 30.0
MAX_ANSWER_BYTES = 64 * 1024 * 1024
"""Far more than a page has; what sends more is no hub."""


class Source(Protocol):
    """Answers routes."""

    def read(self, route: "ApiRoute", parameters: Mapping[str, str]) -> Answer:
        """What `route` answers; `parameters` are texts by their names on the wire.

        Raises Refusal with the sentence of the route's refusal.
        """
        ...


class HubSource:
    """Asks a hub."""

    def __init__(self, hub: HubAt) -> None:
        self._hub = hub

    def read(self, route: "ApiRoute", parameters: Mapping[str, str]) -> Answer:
        status, found = get(
            self._hub,
            target(route.path, parameters),
            seconds=ANSWER_SECONDS,
            limit=MAX_ANSWER_BYTES,
        )
        if not isinstance(found, dict):
            raise Unreachable("what is there does not answer as a hub does")
        if status in {UNAUTHORIZED, FORBIDDEN}:
            raise Unauthorized(reason_of(status, found))
        if status != OK:
            raise Refusal(reason_of(status, found))
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
    """The hub that was found, and the database from where it ends, or where it wants a token
    that is not there: whoever can open the database needs none."""

    def __init__(self, settings: Settings, hub: HubAt, stack: contextlib.ExitStack) -> None:
        self._settings = settings
        self._stack = stack
        self._source: Source = HubSource(hub)

    def read(self, route: "ApiRoute", parameters: Mapping[str, str]) -> Answer:
        try:
            return self._source.read(route, parameters)
        except (Unreachable, Unauthorized):
            database = self._stack.enter_context(database_of(self._settings))
            self._source = DatabaseSource(database)
            return self._source.read(route, parameters)


class _OnlyHub:
    """The hub that the user has named, and nothing else."""

    def __init__(self, hub: HubAt) -> None:
        self._url = hub.url
        self._hub = HubSource(hub)

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
        yield _OnlyHub(named_hub(settings, url))
        return
    with contextlib.ExitStack() as stack:
        hub = living_hub(settings)
        if hub is not None:
            yield _HubOrDatabase(settings, hub, stack)
        else:
            yield DatabaseSource(stack.enter_context(database_of(settings)))


def named_hub(settings: Settings, url: str) -> HubAt:
    """The hub at `url`; raises Refusal where none answers."""
    hub = hub_at(settings, url)
    try:
        health(hub)
    except Unreachable as reason:
        raise Refusal(f"Nobody serves at {url}: {reason}. Is --url right?") from None
    return hub


def living_hub(settings: Settings) -> HubAt | None:
    """The hub of the database, if a runtime file tells the truth."""
    with refusals():
        records = runtime.records(places_of_database(settings))
    for record in records:
        if record.url is None:
            continue
        with contextlib.suppress(Unreachable, Refusal):
            hub = found_hub(settings, record)
            if health(replace(hub, anonymous=True)).get("epoch") == record.epoch:
                return hub
    return None


OTHERS = "--workspace NAME or --all-workspaces shows others."


def workspace_name(read_from: Source, wanted: str | None, others: str = OTHERS) -> str:
    """The name in the database of a wanted workspace, or of the current one; raises Refusal, in
    which `others` says how another is named."""
    from task_copilot.api.routes import WORKSPACES
    from task_copilot.location import current_folder, locate

    with refusals():
        location = locate(wanted, os.environ, current_folder())
        rows = read_from.read(WORKSPACES, {})["workspaces"]
        for row in rows:
            if location.path is not None and row["path"] == location.path:
                return str(row["workspace"])
        names = [str(row["workspace"]) for row in rows]
        if location.name in names and location.path is None:
            return location.name
        known = f"There are: {', '.join(names)}." if names else "There is none yet."
        raise NotFound(f"There is no workspace {location.described}. {known} {others}")
