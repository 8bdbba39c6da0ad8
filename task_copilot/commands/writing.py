"""``task-copilot create`` and ``update``: the tools of the same names, from a shell.

Options, their help and their checks come from the declared arguments of the tools.
"""

import asyncio
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from task_copilot import jsontext
from task_copilot.commands import remote
from task_copilot.commands.asking import ca_file_parameter
from task_copilot.commands.common import (
    ACTOR,
    Refusal,
    refusals,
    require_database,
    say,
)
from task_copilot.commands.options import option_of, with_option_names
from task_copilot.description.words import ANSWER_FIELDS, FIELDS
from task_copilot.schema import describe, explain
from task_copilot.settings import URL_VARIABLE, Settings
from task_copilot.text import escaped_json
from task_copilot.tools.registry import TOOLS_BY_NAME, Tool

if TYPE_CHECKING:
    from task_copilot.location import Location
    from task_copilot.tools.answers import Answer

ACTOR_CHARACTERS = 100
FIELD_OF = {"streamDependencies": "dependencies"}
"""Arguments whose field, which has the words for help, has another name."""

METAVARS = {"id": "ID", "title": "TITLE"}


def _command(name: str, tool: Tool, positional: str, about: str) -> click.Command:
    """The command of a writing tool, with an option for each of its arguments."""

    def callback(settings: Settings, **given: Any) -> None:
        _run(settings, tool, positional, given)

    return click.Command(
        name,
        callback=click.pass_obj(callback),
        params=[*_parameters(tool, positional), *_others()],
        help=about,
    )


def _parameters(tool: Tool, positional: str) -> list[click.Parameter]:
    parts = dict(tool.input_schema["properties"])
    del parts[positional]
    return [
        click.Argument([positional], metavar=METAVARS[positional]),
        *(_option(argument, part) for argument, part in parts.items()),
    ]


def _option(argument: str, part: dict[str, Any]) -> click.Option:
    flags = [option_of(argument)]
    if argument == "assignedAgent":
        flags.append("--assign")
    listed = part.get("type") == "array"
    choices = part.get("enum")
    return click.Option(
        [*flags, argument],
        multiple=listed,
        type=click.Choice(choices) if choices else click.STRING,
        metavar=None if choices else _metavar(argument, part),
        help=_help(argument, part, listed=listed),
    )


def _metavar(argument: str, part: dict[str, Any]) -> str:
    if part.get("type") == "object":
        return "JSON"
    if argument in {"agent", "assignedAgent", "streamName"}:
        return "NAME"
    return "ID" if argument.endswith(("Id", "Dependencies")) else "TEXT"


def _help(argument: str, part: dict[str, Any], *, listed: bool) -> str:
    words = {**ANSWER_FIELDS, **FIELDS}.get(FIELD_OF.get(argument, argument), {})
    first = TOOLS_BY_NAME["task_create"].input_schema["properties"].get(argument, {})
    said = part.get("description") or first.get("description") or words.get("description", "")
    sentences = [said[:1].upper() + said[1:].rstrip(".")] if said else []
    takes = describe(part["items"]) if listed else describe(part)
    if any(sign.isdecimal() for sign in takes):
        sentences.append(takes[:1].upper() + takes[1:])
    if listed:
        sentences.append("May be given several times, once as '' for none")
    return "".join(f"{sentence}. " for sentence in sentences).strip()


def _others() -> list[click.Parameter]:
    url = click.Option(
        ["--url"],
        envvar=URL_VARIABLE,
        show_envvar=True,
        metavar="URL",
        help="The hub to write through, such as http://127.0.0.1:9090. Without it: the database "
        "itself.",
    )
    as_json = click.Option(["--json", "as_json"], is_flag=True, help="The tool's answer, as JSON.")
    return [url, ca_file_parameter(), as_json]


def _run(settings: Settings, tool: Tool, positional: str, given: dict[str, Any]) -> None:
    url, as_json = given.pop("url"), given.pop("as_json")
    arguments = _arguments(given)
    names = {name: option_of(name) for name in _names(tool)}
    with with_option_names(names | {positional: METAVARS[positional]}):
        answer = _carried_out(settings, tool, arguments, url)
    say(escaped_json(answer.text) if as_json else _sentence(tool, answer))


def _arguments(given: dict[str, Any]) -> dict[str, Any]:
    """The arguments of the tool: those options that were given, by the names of the tool."""
    names = {name.lower(): name for tool in TOOLS_BY_NAME.values() for name in _names(tool)}
    found: dict[str, Any] = {}
    for name, value in given.items():
        if value is None or value == ():
            continue
        listed = isinstance(value, tuple)
        found[names[name.lower()]] = [item for item in value if item] if listed else value
    return found


def _names(tool: Tool) -> list[str]:
    return list(tool.input_schema["properties"])


def _carried_out(
    settings: Settings, tool: Tool, arguments: dict[str, Any], url: str | None
) -> "Answer":
    from pydantic import ValidationError

    from task_copilot.location import current_folder, locate

    try:
        checked = tool.arguments.model_validate(arguments)
    except ValidationError as error:
        raise Refusal(explain(tool.name, tool.input_schema, error)) from None
    with refusals():
        if url is not None:
            return remote.carried_out(settings, tool, arguments, url)
        if tool.name != "task_create":
            require_database(settings)
        location = locate(settings.workspace, os.environ, current_folder())
        return asyncio.run(_call(settings, tool, checked, location))


async def _call(settings: Settings, tool: Tool, checked: Any, location: "Location") -> "Answer":
    """What the tool answers; it works on the database, whoever serves it."""
    from task_copilot.application import open_blocking
    from task_copilot.clock import system_clock
    from task_copilot.tools import operations
    from task_copilot.tools.session import ToolSession

    database = await asyncio.to_thread(open_blocking, settings, system_clock)
    database.start(lambda _rows: None)

    async def opened() -> Any:
        return database

    session = ToolSession(opened, location, settings.checkpoints_kept, system_clock)
    operation: Callable[..., Any] = getattr(operations, tool.name)
    actor = checked.agent or settings.agent or ACTOR
    try:
        answer: Answer = await operation(session, actor[:ACTOR_CHARACTERS], checked)
        return answer
    finally:
        await database.close()


def _sentence(tool: Tool, answer: "Answer") -> str:
    found = answer.structured or jsontext.decode(answer.text)
    place = f" in {found['streamId']}" if found.get("streamId") else ""
    done = "created" if tool.name == "task_create" else "updated"
    return f"{found['id']} {done}: {found['status']}{place}"


COMMANDS = {
    "create": _command(
        "create",
        TOOLS_BY_NAME["task_create"],
        "title",
        "Make a task.\n\nThe first task that names a stream makes the stream. Works with and "
        "without a running server; whoever listens is told.",
    ),
    "update": _command(
        "update",
        TOOLS_BY_NAME["task_update"],
        "id",
        "Change a task.\n\nWhat is not given stays as it is; '' clears a field. Metadata is "
        "merged, and null removes a key.",
    ),
}
