"""``task-copilot events``."""

import logging
from typing import Any

import click

from task_copilot.commands.event_log import Page, Position
from task_copilot.commands.event_options import (
    Printer,
    event_log,
    interruptible,
    json_option,
    place_of,
    places,
    selection,
    url_option,
    wanted_of,
)
from task_copilot.commands.following import Follower
from task_copilot.settings import Settings

logger = logging.getLogger(__name__)

NEWEST = 100
"""So many events are shown where nothing says which."""

MAX_REPLAY = 100_000
FOLLOWING_SECONDS = 30.0
"""One step of waiting for ever."""


@click.command()
@click.option("-f", "--follow", is_flag=True, help="Go on with what happens, until Ctrl+C.")
@click.option("--since", type=click.IntRange(0), metavar="SEQ", help="After this one; 0: all kept.")
@click.option(
    "--replay",
    type=click.IntRange(0, MAX_REPLAY),
    metavar="COUNT",
    help=f"The newest so many. [default: {NEWEST}]",
)
@click.option("--limit", type=click.IntRange(1), metavar="COUNT", help="End after so many events.")
@selection
@places
@url_option("the database itself")
@json_option
@click.pass_obj
def events(settings: Settings, /, url: str | None, *, as_json: bool, **given: Any) -> None:
    """Print what happened, oldest first.

    One line for each change, or with --json every event as docs/events.md describes it, one a
    line. A gap in the log is said on stderr.

        task-copilot events --follow --event-types task.blocked,task.completed
    """
    if given["since"] is not None and given["replay"] is not None:
        raise click.UsageError("Give either --since or --replay.")
    printer = Printer(as_json=as_json, everywhere=given["all_workspaces"])
    with interruptible():
        _print(settings, url, printer, given)


def _print(settings: Settings, url: str | None, printer: Printer, given: dict[str, Any]) -> None:
    since, left = given["since"], given["limit"]
    replay = given["replay"]
    if replay is None:
        replay = NEWEST if left is None else min(left, NEWEST)
    start = None if since is None else Position(since)
    wanted, place = wanted_of(given), place_of(settings, given)
    with event_log(settings, url) as (log, source):
        follower = Follower(log, source, place, wanted, start)
        page = follower.first(replay=replay)
        head = page.head
        while True:
            left = _cut(page, left)
            printer.take(page)
            if left == 0 or (not given["follow"] and page.next >= head):
                break
            if given["follow"]:
                logger.info("Waits for what comes after %d.", page.next)
                page = follower.next(FOLLOWING_SECONDS)
            else:
                page = follower.first()
    printer.end()


def _cut(page: Page, left: int | None) -> int | None:
    """Cuts a page to the events that are left to show; says how many are left then."""
    if left is None:
        return None
    page.events = page.events[:left]
    return left - len(page.events)


COMMANDS = {"events": events}
