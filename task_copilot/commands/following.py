"""Going on through the log: across hubs that come and go, and databases that are replaced."""

import os
import time

from task_copilot.commands.asking import Unreachable
from task_copilot.commands.common import Refusal, refusals, say
from task_copilot.commands.event_log import (
    EVERYTHING,
    EventLog,
    Gap,
    Page,
    Position,
    UnknownPosition,
    Wanted,
)
from task_copilot.commands.source import Source, workspace_name

PAUSE_SECONDS = 0.25
"""Between two tries to reach a hub that is gone."""


class Place:
    """The workspace whose events are wanted: a named one, that of the folder, or all.

    That of the folder may not be there yet: it is made with its first task.
    """

    def __init__(self, wanted: str | None, *, everywhere: bool = False) -> None:
        self._wanted = wanted
        self.everywhere = everywhere
        self.name: str | None = None

    @property
    def known(self) -> bool:
        """Whether it can be asked for."""
        return self.everywhere or self.name is not None

    @property
    def key(self) -> str:
        """A text that is the same for the same place, whether or not it is there yet."""
        from task_copilot.location import current_folder, locate

        if self.everywhere:
            return "*"
        with refusals():
            location = locate(self._wanted, os.environ, current_folder())
        return location.path or location.name

    def look(self, source: Source) -> bool:
        """Looks it up where that is still to be done, and says whether it is known now.

        Raises Refusal for a name that no workspace has.
        """
        if not self.known:
            self.name = self._find(source)
        return self.known

    def forget(self) -> None:
        """Looks it up anew: the database is another one."""
        self.name = None

    def _find(self, source: Source) -> str | None:
        from task_copilot.api.routes import WORKSPACES
        from task_copilot.location import current_folder, locate

        with refusals():
            location = locate(self._wanted, os.environ, current_folder())
        if location.path is None:
            return workspace_name(source, self._wanted)
        rows = source.read(WORKSPACES, {})["workspaces"]
        return next((str(row["workspace"]) for row in rows if row["path"] == location.path), None)


class Follower:
    """Reads on from a position; each event once and in order, or a gap is told."""

    def __init__(
        self, log: EventLog, source: Source, place: Place, wanted: Wanted, start: Position | None
    ) -> None:
        self._log = log
        self._source = source
        self._place = place
        self._wanted = wanted
        self.position = start
        self._last = start or Position(0)
        self._silent = self._lost = False

    def first(self, *, replay: int = 0, anew: bool = False) -> Page:
        """What is there at once. Raises Refusal where nobody answers, and where the log does
        not have the position, unless it begins `anew` then."""
        try:
            try:
                return self._page(wait=0, replay=replay)
            except UnknownPosition as reason:
                if not anew:
                    raise Refusal(str(reason)) from None
                self._begin_anew()
                return self._page(wait=0)
        except Unreachable as reason:
            raise Refusal(f"Nobody answers: {reason}.") from None

    def next(self, seconds: float) -> Page:
        """What comes next, within so many seconds; an empty page where nothing has. Whoever
        does not answer meanwhile is waited for."""
        ends = time.monotonic() + seconds
        while True:
            left = max(0.0, ends - time.monotonic())
            try:
                page = self._page(wait=left)
            except UnknownPosition:
                self._begin_anew()
                continue
            except Unreachable as reason:
                self._tell(reason)
                if not left:
                    return self._nothing()
                time.sleep(min(PAUSE_SECONDS, left))
                continue
            self._silent = False
            if page.events or page.gap or time.monotonic() >= ends:
                return page

    def _page(self, *, wait: float, replay: int = 0) -> Page:
        if self._place.look(self._source):
            name = self._place.name
            page = self._log.page(self.position, self._wanted, name, wait=wait, replay=replay)
        else:
            page = self._log.page(self.position, EVERYTHING, None, wait=wait)
            if (page.events or page.gap) and self._place.look(self._source):
                return self._page(wait=wait, replay=replay)  # from the same position
            page.events, page.gap = [], None  # of others
        if self._lost:
            page.gap, self._lost = Gap(1, page.next, "replaced"), False
        self.position = self._last = page.position
        return page

    def _begin_anew(self) -> None:
        """Goes on at the head of another history; the next page says so."""
        self.position, self._lost = None, True
        self._place.forget()

    def _nothing(self) -> Page:
        known = self._last
        return Page(next=known.seq, head=known.seq, epoch=known.epoch or "")

    def _tell(self, reason: Unreachable) -> None:
        if not self._silent:
            say(f"task-copilot: {reason}. It is waited for.", err=True)
            self._silent = True
