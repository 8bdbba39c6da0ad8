"""``task-copilot watch``."""

import os
import sys
from typing import Any

import click

from task_copilot.commands.event_options import (
    interruptible,
    place_of,
    places,
    url_option,
)
from task_copilot.commands.events import events
from task_copilot.commands.source import named_hub
from task_copilot.settings import Settings

STDOUT = 1


@click.command()
@places
@url_option("the hub of the database")
@click.pass_context
def watch(context: click.Context, /, url: str | None, **given: Any) -> None:
    """Show the streams and who works on what, live, until q or Ctrl+C.

    What is blocked stands first, with its reason. It waits for a hub where none runs, and says
    so. Into a pipe or a file it prints what 'task-copilot events --follow' does.

        task-copilot watch --all-workspaces
    """
    settings: Settings = context.obj
    place = place_of(settings, given)
    if not _can_redraw():
        context.invoke(events, url=url, follow=True, as_json=False, **_every_event(), **given)
        return
    hub = None if url is None else named_hub(settings, url)
    from task_copilot.commands.board_reader import BoardReader
    from task_copilot.commands.live_screen import LiveScreen

    with interruptible():
        screen = LiveScreen()
        screen.run(BoardReader(settings, hub, place, screen.show))


def _every_event() -> dict[str, Any]:
    lists = ("topics", "event_types", "stream", "agent", "not_actor")
    return {"since": None, "replay": None, "limit": None, **dict.fromkeys(lists, ())}


def _can_redraw() -> bool:
    # Terminals that read keys and change their size are told apart by termios.
    is_terminal = os.isatty(STDOUT) and os.environ.get("TERM") != "dumb"
    return is_terminal and sys.platform != "win32"


COMMANDS = {"watch": watch}
