"""Keeps a board up to date: reads the state once, then follows the events after it."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from task_copilot.clock import system_clock
from task_copilot.commands.asking import HubAt, Unreachable
from task_copilot.commands.board import SHOWN_STATUSES, Board, Outdated, Picture
from task_copilot.commands.changes import Change, Grouper, Payload, changes_of
from task_copilot.commands.common import Refusal
from task_copilot.commands.event_log import EVERYTHING, HubLog, Page, Position, UnknownPosition
from task_copilot.commands.following import Place
from task_copilot.commands.source import HubSource, living_hub
from task_copilot.settings import Settings

KEPT_CHANGES = 100
REPLAYED_EVENTS = 400
"""Enough for so many changes of four events each, which is more than most have."""

WAIT_SECONDS = 5.0
"""One request waits so long; a hub that hangs is noticed not much later."""

RETRY_SECONDS = 0.5
PAGE_ROWS = "1000"
NOBODY = "no session or 'task-copilot serve' runs"


class BoardReader:
    """Works in a thread of its own and calls `show` with each new picture."""

    def __init__(
        self, settings: Settings, hub: HubAt | None, place: Place, show: Callable[[Picture], None]
    ) -> None:
        self._settings, self._hub, self._place = settings, hub, place
        self._show = show
        self._picture = Picture(everywhere=place.everywhere)
        self._board = Board()
        self._recent: deque[Change] = deque(maxlen=KEPT_CHANGES)
        self._grouper = Grouper()
        self._position: Position | None = None
        """Up to where the board is; None where the state has to be read."""

        self._failures = 0
        """In a row."""

    def run(self) -> None:
        """Works until the process ends. Raises Refusal where the first hub refuses."""
        while True:
            try:
                self._follow(self._found())
            except Unreachable as reason:
                self._failures += 1
                if self._failures == 1:
                    continue  # at once: another may have taken its place by now
                self._offline(str(reason))
            except Refusal as refusal:
                if self._picture.link == "connecting":
                    raise
                self._offline(refusal.message)
            time.sleep(RETRY_SECONDS)

    def _found(self) -> HubAt:
        """The hub at this moment; raises Unreachable."""
        hub = self._hub or living_hub(self._settings)
        if hub is None:
            raise Unreachable(NOBODY)
        return hub

    def _follow(self, hub: HubAt) -> None:
        """Keeps the board until the hub is gone; raises Unreachable."""
        while True:
            try:
                self._go_on(hub)
            except (UnknownPosition, Outdated):
                self._position = None

    def _go_on(self, hub: HubAt) -> None:
        log, source = HubLog(hub), HubSource(hub)
        if self._position is None:
            self._read_state(log, source)
        self._publish(hub.url, self._page(log, wait=0))
        while True:
            self._publish(hub.url, self._page(log, wait=WAIT_SECONDS))
            if not self._place.known and self._place.look(source):
                raise Outdated  # the workspace is there now

    def _page(self, log: HubLog, *, wait: float) -> Page:
        """Takes the next events; raises Outdated where some are gone."""
        if self._place.known:
            page = log.page(self._position, EVERYTHING, self._place.name, wait=wait)
        else:
            page = log.page(self._position, EVERYTHING, None, wait=wait)
            page.events, page.gap = [], None
        if page.gap is not None:
            raise Outdated
        for event in page.events:
            self._board.fold(event)
            self._keep(self._grouper.add(event))
        if page.at_head:
            self._keep(self._grouper.end())
        self._position = page.position
        return page

    def _keep(self, change: Change | None) -> None:
        if change is not None:
            self._recent.append(change)

    def _read_state(self, log: HubLog, source: HubSource) -> None:
        self._grouper = Grouper()
        self._place.forget()
        if not self._place.look(source):
            self._board = Board()
            self._recent.clear()
            self._position = log.page(None, EVERYTHING, None).position
            return
        rows = _Rows(source, self._place.name)
        streams = list(rows.of("streams"))
        if len(rows.seqs) > 1:
            raise Outdated  # where one was archived between two pages, another is in neither
        tasks = [row for status in SHOWN_STATUSES for row in rows.of("tasks", status=status)]
        first, last = min(rows.seqs), max(rows.seqs)
        self._board = Board.of(streams, tasks)
        self._recent.clear()
        self._recent.extend(changes_of(self._history(log, first)))
        if len(rows.epochs) > 1:
            raise Unreachable("the database is being replaced")
        self._position = Position(first, rows.epochs.pop())
        while self._position.seq < last:  # before that, it is of no one moment
            self._page(log, wait=0)

    def _history(self, log: HubLog, last: int) -> list[Payload]:
        """The newest events up to `last`."""
        place = self._place.name
        page = log.page(None, EVERYTHING, place, replay=REPLAYED_EVENTS)
        found = page.events
        while page.next < last:  # the hub's events may be a moment behind the state
            page = log.page(page.position, EVERYTHING, place, wait=RETRY_SECONDS)
            found += page.events
        return [event for event in found if event["seq"] <= last]

    def _publish(self, address: str, page: Page) -> None:
        self._failures = 0
        self._picture = Picture(
            board=self._board.copy(),
            recent=tuple(self._recent),
            title=self._title(),
            everywhere=self._place.everywhere,
            link="live" if page.at_head else "behind",
            address=address,
            seq=page.next,
            behind=max(0, page.head - page.next),
        )
        self._show(self._picture)

    def _title(self) -> str:
        if self._place.everywhere:
            return "all workspaces"
        return self._place.name or "no tasks here yet"

    def _offline(self, reason: str) -> None:
        since = self._picture.since or system_clock()
        self._picture = replace(self._picture, link="offline", reason=reason, since=since)
        self._show(self._picture)


class _Rows:
    """Reads lists to their ends, and remembers of which states the answers are."""

    def __init__(self, source: HubSource, workspace: str | None) -> None:
        self._source = source
        self._given = {"limit": PAGE_ROWS} | ({} if workspace is None else {"workspace": workspace})
        self.seqs: set[int] = set()
        self.epochs: set[str] = set()

    def of(self, name: str, **parameters: str) -> Iterator[dict[str, Any]]:
        from task_copilot.api.routes import STREAMS, TASKS

        route = {"streams": STREAMS, "tasks": TASKS}[name]
        given = {**self._given, **parameters}
        while True:
            answer = self._source.read(route, given)
            self.seqs.add(answer["seq"])
            self.epochs.add(answer["epoch"])
            yield from answer[name]
            if answer["nextCursor"] is None:
                return
            given["cursor"] = answer["nextCursor"]
