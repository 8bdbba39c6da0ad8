"""``task-copilot streams``, ``tasks``, ``task`` and ``checkpoints``: what the database holds."""

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import click

from task_copilot import ids
from task_copilot.commands import shown
from task_copilot.commands.asking import ca_file_option
from task_copilot.commands.common import json_option, print_json, refusals, say
from task_copilot.commands.options import OPTIONS, with_option_names
from task_copilot.commands.source import Answer, Source, source, workspace_name
from task_copilot.events.types import TaskStatus
from task_copilot.settings import URL_VARIABLE, Settings

if TYPE_CHECKING:
    from task_copilot.api.routes import ApiRoute

F = TypeVar("F", bound=Callable[..., Any])

MAX_LIMIT = 1_000
"""As many as one answer of the HTTP API has at most."""

_url_option = click.option(
    "--url",
    envvar=URL_VARIABLE,
    show_envvar=True,
    metavar="URL",
    help="The hub to ask, such as http://127.0.0.1:9090. Without it: the hub of the database if "
    "one runs, else the database itself.",
)


def url_option(command: F) -> F:
    """The hub to ask, and what is trusted there."""
    return _url_option(ca_file_option(command))


def places_options(command: F) -> F:
    """Which workspaces a list shows, and where it is read."""
    for option in (
        json_option,
        url_option,
        click.option("--all-workspaces", is_flag=True, help="Those of all workspaces."),
        click.option(
            "--workspace",
            metavar="NAME",
            help="Name or folder of the workspace. Without it: the one of the current folder.",
        ),
    ):
        command = option(command)
    return command


@contextlib.contextmanager
def _reading(
    settings: Settings, url: str | None, parameters: dict[str, str], place: dict[str, Any]
) -> Iterator[Source]:
    """A source, with the wanted workspace added to `parameters`."""
    if place["workspace"] is not None and place["all_workspaces"]:
        raise click.UsageError("Give either --workspace or --all-workspaces.")
    with with_option_names(OPTIONS), source(settings, url) as found:
        if not place["all_workspaces"]:
            wanted = place["workspace"] or settings.workspace
            parameters["workspace"] = workspace_name(found, wanted)
        yield found


def _given(**parameters: Any) -> dict[str, str]:
    """The parameters that were given, as texts."""
    return {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in parameters.items()
        if value is not None and value is not False
    }


def _print(answer: Answer, *, as_json: bool, lines: Callable[[Answer], list[str]]) -> None:
    if as_json:
        print_json(answer)
    else:
        for line in lines(answer):
            say(line)


@click.command()
@click.option("--all", "--archived", "archived", is_flag=True, help="Archived ones too.")
@places_options
@click.pass_obj
def streams(
    settings: Settings, /, url: str | None, *, archived: bool, as_json: bool, **place: Any
) -> None:
    """List the streams with their progress."""
    from task_copilot.api.routes import STREAMS

    parameters = _given(includeArchived=archived)
    with _reading(settings, url, parameters, place) as found:
        answer = found.read(STREAMS, parameters)
    everywhere = place["all_workspaces"]
    _print(answer, as_json=as_json, lines=lambda a: shown.streams(a, everywhere=everywhere))


@click.command()
@click.option(
    "--status", type=click.Choice(get_args(TaskStatus)), help="Only those with this status."
)
@click.option("--stream", metavar="ID", help="Only those of this stream.")
@click.option("--agent", metavar="NAME", help="Only those of this agent.")
@click.option("--parent", metavar="ID", help="Only the parts of this task.")
@click.option(
    "--archived", "--all", "archived", is_flag=True, help="Those of archived streams too."
)
@click.option(
    "--limit", type=click.IntRange(1, MAX_LIMIT), default=100, show_default=True, help="How many."
)
@click.option("--cursor", help="Go on after a list that was not whole.")
@places_options
@click.pass_obj
def tasks(settings: Settings, /, url: str | None, *, as_json: bool, **given: Any) -> None:
    """List tasks, oldest first."""
    from task_copilot.api.routes import TASKS

    parameters = _given(
        status=given["status"],
        streamId=given["stream"],
        assignedAgent=given["agent"],
        parentId=given["parent"],
        includeArchived=given["archived"],
        limit=given["limit"],
        cursor=given["cursor"],
    )
    with _reading(settings, url, parameters, given) as found:
        answer = found.read(TASKS, parameters)
    everywhere = given["all_workspaces"]
    _print(answer, as_json=as_json, lines=lambda a: shown.tasks(a, everywhere=everywhere))


@click.command()
@click.argument("task_id", metavar="ID")
@url_option
@json_option
@click.pass_obj
def task(settings: Settings, task_id: str, url: str | None, *, as_json: bool) -> None:
    """Show one task whole, with its subtasks and its latest checkpoint."""
    from task_copilot.api.routes import TASK

    _one(settings, url, TASK, task_id, as_json=as_json, lines=shown.task)


@click.command()
@click.argument("task_id", metavar="ID")
@url_option
@json_option
@click.pass_obj
def checkpoints(settings: Settings, task_id: str, url: str | None, *, as_json: bool) -> None:
    """List the checkpoints of a task, newest first."""
    from task_copilot.api.routes import TASK_CHECKPOINTS

    _one(settings, url, TASK_CHECKPOINTS, task_id, as_json=as_json, lines=shown.checkpoints)


def _one(
    settings: Settings,
    url: str | None,
    route: "ApiRoute",
    task_id: str,
    *,
    as_json: bool,
    lines: Callable[[Answer], list[str]],
) -> None:
    with refusals():
        wanted = ids.task_id(ids.parse_task_id(task_id, "ID"))
    with source(settings, url) as found:
        answer = found.read(route, {"taskId": wanted})
    _print(answer, as_json=as_json, lines=lines)


COMMANDS = {"streams": streams, "tasks": tasks, "task": task, "checkpoints": checkpoints}
