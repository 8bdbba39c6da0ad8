"""``task-copilot serve``."""

import click

from task_copilot import launch
from task_copilot.commands.common import refusals
from task_copilot.settings import Settings


@click.command()
@click.pass_obj
def serve(settings: Settings) -> None:
    """Serve events and HTTP without an agent.

    For listeners that outlive the agents' sessions. As long as another process serves the
    database, this one waits to take its place. Ctrl+C ends it.

    Settings stand before the command: task-copilot --port 9100 serve
    """
    from task_copilot.database.urls import parse_url

    launch.refuse_what_is_unsafe(settings)
    with refusals():
        parse_url(settings.database_url)
    launch.run(settings, _load)


def _load() -> launch.Serve:
    from task_copilot.standalone import serve as serving

    return serving


COMMANDS = {"serve": serve}
