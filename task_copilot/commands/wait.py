"""``task-copilot wait``."""

import logging
import math
import time
from typing import Any

import click

from task_copilot.cli import FiniteRange
from task_copilot.commands.common import print_json
from task_copilot.commands.event_log import Page, Position
from task_copilot.commands.event_options import (
    TIMED_OUT,
    Printer,
    event_log,
    interruptible,
    json_option,
    leave,
    place_of,
    places,
    selection,
    url_option,
    wanted_of,
)
from task_copilot.commands.following import Follower
from task_copilot.commands.positions import NamedPosition
from task_copilot.settings import Settings

logger = logging.getLogger(__name__)

TOLD = ("task.blocked", "task.completed", "stream.completed")
"""What is waited for where nothing else is said."""

STEP_SECONDS = 30.0
MAX_EVENTS = 200
"""About so many are printed at once, for an agent pays for each; the next wait has the rest."""

OK = 0


@click.command()
@click.option("--since", type=click.IntRange(0), metavar="SEQ", help="Begin after this event.")
@click.option(
    "--cursor",
    metavar="NAME",
    help="Begin where the last wait of this name ended; a new name begins now.",
)
@click.option(
    "--timeout", type=FiniteRange(0), metavar="SECONDS", help="Wait no longer; exit code 124."
)
@selection
@places
@url_option("the database itself")
@json_option
@click.pass_obj
def wait(settings: Settings, /, url: str | None, *, as_json: bool, **given: Any) -> None:
    """Wait until something happens, print it, and end.

    Without --topics and --event-types it waits for a task to be blocked or completed and for a
    stream to be completed. The last line is 'next: SEQ', the place to go on from with --since;
    --cursor remembers it. What a coding agent runs in the background to be woken:

        task-copilot wait --cursor ada --not-actor ada
    """
    if given["since"] is not None and given["cursor"] is not None:
        raise click.UsageError("Give either --since or --cursor.")
    with interruptible():
        leave(_Waiting(settings, url, given, as_json=as_json).run())


class _Waiting:
    """One run of the command."""

    def __init__(
        self, settings: Settings, url: str | None, given: dict[str, Any], *, as_json: bool
    ) -> None:
        timeout = given["timeout"]
        self._ends = math.inf if timeout is None else time.monotonic() + timeout
        self._settings, self._url, self._as_json = settings, url, as_json
        self._place = place_of(settings, given)
        self._wanted = wanted_of(given, event_types=() if given["topics"] else TOLD)
        self._printer = Printer(as_json=as_json, everywhere=given["all_workspaces"])
        self._cursor: NamedPosition | None = None
        self._start = None if given["since"] is None else Position(given["since"])
        if given["cursor"] is not None:
            self._cursor = NamedPosition(settings, url, self._place, given["cursor"])
            self._start = self._cursor.read()

    def run(self) -> int:
        """Waits; returns the exit code."""
        with event_log(self._settings, self._url) as (log, source):
            follower = Follower(log, source, self._place, self._wanted, self._start)
            page = follower.first(anew=self._cursor is not None)
            if self._start is None:
                self._remember(page)  # so that a wait that is interrupted has begun nevertheless
            return self._until_something(follower, page)

    def _until_something(self, follower: Follower, page: Page) -> int:
        while True:
            self._printer.take(page)
            if page.events:
                self._end(self._rest(follower, page))
                return OK
            if page.gap:
                self._remember(page)  # it was told, and is not to be told again
            left = self._ends - time.monotonic()
            if left <= 0 and page.at_head:
                self._end(page)
                return TIMED_OUT
            logger.info("Waits for what comes after %d.", page.next)
            page = follower.next(max(0.0, min(left, STEP_SECONDS)))

    def _rest(self, follower: Follower, page: Page) -> Page:
        """Prints what matches already, up to a limit; returns the last page."""
        printed = len(page.events)
        while not page.at_head and printed < MAX_EVENTS:
            page = follower.next(0)
            self._printer.take(page)
            printed += len(page.events)
        return page

    def _end(self, page: Page) -> None:
        self._printer.end()
        if self._as_json:
            print_json({"next": page.next})
        else:
            click.echo(f"next: {page.next}")
        self._remember(page)  # what was printed has been flushed

    def _remember(self, page: Page) -> None:
        if self._cursor is not None:
            self._cursor.write(page.position)


COMMANDS = {"wait": wait}
