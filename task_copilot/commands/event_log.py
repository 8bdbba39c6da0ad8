"""The log of events, page by page: from a hub, or from the database itself.

Both are asked in the same words, so a command does not know which it was.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from task_copilot import jsontext
from task_copilot.commands.asking import OK, HubAt, Unreachable, get, reason_of
from task_copilot.commands.changes import Payload
from task_copilot.commands.common import Refusal
from task_copilot.commands.source import target
from task_copilot.errors import StorageError
from task_copilot.events.topics import ALLOWED, is_pattern

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Connection

    from task_copilot.database.store import Database
    from task_copilot.events.filters import Subscriptions
    from task_copilot.events.log import LogPage, LogRow, LogState

PAGE_EVENTS = 500
MAX_PAGE_BYTES = 64 * 1024 * 1024
"""Far more than a page has; what sends more is no hub."""

MAX_WAIT_SECONDS = 60.0
"""As long as a hub lets one request wait."""

MARGIN_SECONDS = 5.0
"""How much later than asked for an answer may come."""

POLL_SECONDS = 0.1
"""Between two looks into the database; each takes a fraction of a millisecond."""

SERVER_ERRORS = 500
UNPROCESSABLE, TOO_MANY, NOT_FOUND = 422, 429, 404
PASSING = {TOO_MANY, NOT_FOUND}


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the log: after `seq`, of `epoch` where that is known."""

    seq: int
    epoch: str | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events; what is empty does not restrict."""

    topics: tuple[str, ...] = ()
    event_types: tuple[str, ...] = ()
    streams: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    not_actors: tuple[str, ...] = ()

    def check(self) -> None:
        """Raises InvalidInput for what selects nothing, and Refusal for what is no topic."""
        from task_copilot.events.filters import check_event_types

        for topic in self.topics:
            if not is_pattern(topic):
                raise Refusal(f"--topics: {topic!a} is no topic; {ALLOWED}.")
        check_event_types(self.event_types)


EVERYTHING = Wanted()


@dataclass(frozen=True, slots=True)
class Gap:
    """Events that do not come: no longer kept (``pruned``), or of another database
    (``replaced``)."""

    first: int
    last: int
    reason: str


@dataclass(slots=True)
class Page:
    """Events, and where to go on: `next` also moves on where nothing matched."""

    next: int
    head: int
    epoch: str
    events: list[Payload] = field(default_factory=list)
    gap: Gap | None = None

    @property
    def at_head(self) -> bool:
        """Whether there was nothing more."""
        return self.next >= self.head

    @property
    def position(self) -> Position:
        """Where the next page begins."""
        return Position(self.next, self.epoch)


class UnknownPosition(Exception):
    """The log has no such position: it is another database's, or was restored."""


class EventLog(Protocol):
    """Answers pages."""

    def page(
        self,
        start: Position | None,
        wanted: Wanted,
        workspace: str | None,
        *,
        wait: float = 0,
        replay: int = 0,
    ) -> Page:
        """The next events after `start`; without it, the newest `replay` up to the head.

        Where none matches, waits up to `wait` seconds for one. Raises UnknownPosition,
        Unreachable where to try again later, and Refusal.
        """
        ...


class HubLog:
    """Asks a hub."""

    def __init__(self, hub: HubAt) -> None:
        self._hub = hub

    def page(
        self,
        start: Position | None,
        wanted: Wanted,
        workspace: str | None,
        *,
        wait: float = 0,
        replay: int = 0,
    ) -> Page:
        wait = min(wait, MAX_WAIT_SECONDS)
        query = _query(start, wanted, workspace)
        if start is None and replay:
            query["replay"] = str(replay)
        if wait and start is not None:
            query["wait"] = f"{wait:.3f}"
        status, found = get(
            self._hub,
            target("/api/events", query),
            seconds=wait + MARGIN_SECONDS,
            limit=MAX_PAGE_BYTES,
        )
        if not isinstance(found, dict):
            raise Unreachable("what is there does not answer as a hub does")
        return _page(found) if status == OK else _refuse(status, found)


def _query(start: Position | None, wanted: Wanted, workspace: str | None) -> dict[str, str]:
    lists = {
        "topics": wanted.topics,
        "eventTypes": wanted.event_types,
        "streams": wanted.streams,
        "agents": wanted.agents,
        "notActors": wanted.not_actors,
    }
    query = {name: ",".join(values) for name, values in lists.items() if values}
    query["limit"] = str(PAGE_EVENTS)
    if workspace is not None:
        query["workspace"] = workspace
    if start is not None:
        query["since"] = str(start.seq)
        if start.epoch is not None:
            query["epoch"] = start.epoch
    return query


def _page(found: Mapping[str, Any]) -> Page:
    try:
        gap = found["gap"]
        return Page(
            next=found["next"],
            head=found["seq"],
            epoch=found["epoch"],
            events=found["events"],
            gap=None if gap is None else Gap(gap["from"], gap["to"], gap["reason"]),
        )
    except (LookupError, TypeError):
        raise Unreachable("what is there does not answer as a hub does") from None


def _refuse(status: int, found: Mapping[str, Any]) -> Page:
    reason = reason_of(status, found)
    if status == UNPROCESSABLE and found.get("code") == "WS_INVALID_CURSOR":
        raise UnknownPosition(reason)
    if status >= SERVER_ERRORS or status in PASSING:
        raise Unreachable(reason)
    raise Refusal(reason)


class DatabaseLog:
    """Reads the database, and looks again and again where it waits.

    Every process writes into the database, so nothing is missed however the hubs change.
    """

    def __init__(self, database: "Database[LogRow]", file: "Path | None") -> None:
        self._database = database
        self._file = file

    def page(
        self,
        start: Position | None,
        wanted: Wanted,
        workspace: str | None,
        *,
        wait: float = 0,
        replay: int = 0,
    ) -> Page:
        subscriptions = _subscriptions(wanted, workspace)
        if start is None:
            return self._newest(subscriptions, replay)
        ends = time.monotonic() + wait
        page = self._after(start, subscriptions)
        while not (page.events or page.gap):
            left = ends - time.monotonic()
            if left <= 0 and page.at_head:
                break
            if page.at_head:
                time.sleep(min(POLL_SECONDS, left))
            page = self._after(page.position, subscriptions)
        return page

    def _after(self, start: Position, subscriptions: "Subscriptions") -> Page:
        from task_copilot.events import log

        def query(connection: "Connection") -> "LogPage":
            state = log.state(connection)
            rows = log.rows_after(connection, start.seq) if state.head > start.seq else []
            return log.LogPage(state, rows)

        state, rows = self._read(query)
        if start.epoch not in {None, state.epoch} or start.seq > state.head:
            raise UnknownPosition(
                f"{start.seq} is no position of the log, whose newest event is {state.head}."
            )
        page = Page(next=start.seq, head=state.head, epoch=state.epoch)
        if rows and rows[0].seq > start.seq + 1:
            page.gap = Gap(start.seq + 1, rows[0].seq - 1, "pruned")
        page.events = [jsontext.decode(row.payload) for row in rows if subscriptions.match(row)]
        page.next = rows[-1].seq if rows else start.seq
        return page

    def _newest(self, subscriptions: "Subscriptions", count: int) -> Page:
        from task_copilot.events import log
        from task_copilot.events.log import LogRow

        def query(connection: "Connection") -> "tuple[LogState, list[LogRow]]":
            state = log.state(connection)
            position, found = state.head, list[LogRow]()
            while len(found) < count and (rows := log.rows_up_to(connection, position)):
                found += [row for row in rows if subscriptions.match(row)]
                position = rows[-1].seq - 1
            return state, found[:count]

        state, rows = self._read(query)
        events = [jsontext.decode(row.payload) for row in reversed(rows)]
        return Page(next=state.head, head=state.head, epoch=state.epoch, events=events)

    def _read(self, query: Any) -> Any:
        # Where the file is being replaced, a new and empty one would be made in its place.
        if self._file is not None and not self._file.exists():
            raise Unreachable(f"there is no database {self._file} at this moment")
        try:
            return self._database.read_now(query)
        except StorageError as error:
            raise Unreachable(str(error)) from None


def _subscriptions(wanted: Wanted, workspace: str | None) -> "Subscriptions":
    from task_copilot.events.filters import EventFilter, Subscriptions

    subscriptions = Subscriptions(workspace)
    subscriptions.add(
        wanted.topics or ("*",),
        EventFilter(
            event_types=frozenset(wanted.event_types),
            streams=frozenset(wanted.streams),
            agents=frozenset(wanted.agents),
            not_actors=frozenset(wanted.not_actors),
        ),
    )
    return subscriptions
