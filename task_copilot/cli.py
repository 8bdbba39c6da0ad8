"""The command line. Without a command it is the stdio server that an agent starts."""

import errno
import importlib
import logging
import math
import os
import sys
from collections.abc import Callable
from dataclasses import Field
from typing import Any

import click

from task_copilot import __version__, launch
from task_copilot.settings import (
    Settings,
    declared,
    environment_variable,
    flag,
    shown_default,
    unknown_variables,
)
from task_copilot.text import OneLineFormatter

logger = logging.getLogger(__name__)

WELCOME = """\
Task Copilot {version}: an MCP server that keeps tasks and checkpoints for coding agents and
streams what happens to them.

  It speaks MCP on stdin and stdout, so an agent starts it, not you:
      claude mcp add task-copilot -- task-copilot
  Dashboard, while it runs:  http://{host}:{port}     events:  ws://{host}:{port}/ws
  Data:                   {database_url}
  All settings:           task-copilot --help

It waits for an agent now; Ctrl+C ends it.
"""


COMMANDS = {
    "archive": "archive",
    "backup": "copies",
    "checkpoints": "reading",
    "create": "writing",
    "doctor": "doctor",
    "events": "events",
    "export": "copies",
    "import": "copies",
    "init": "init",
    "migrate-to": "migrate_to",
    "orchestrate": "orchestrate",
    "purge": "purge",
    "redact": "redact",
    "serve": "serve",
    "streams": "reading",
    "task": "reading",
    "tasks": "reading",
    "token": "token",
    "update": "writing",
    "wait": "wait",
    "watch": "watch",
}
"""Each command with the module of `task_copilot.commands` that declares it."""


class _LazyGroup(click.Group):
    """Imports a command when it is asked for: the stdio server needs none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"task_copilot.commands.{COMMANDS[cmd_name]}")
        found: click.Command = module.COMMANDS[cmd_name]
        return found

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except OSError as error:
            if error.errno != errno.ENOSPC or error.filename is not None:
                raise
            _forget_output()
            reason = f"The output cannot be written: {error.strerror}."
            raise click.ClickException(reason) from None


def _forget_output() -> None:
    """What is left in the buffer would fail once more when the process ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


class FiniteRange(click.FloatRange):
    """A range that NaN, which no comparison excludes, is not in."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is not a number.", param, ctx)
        return number


def option(declaration: Field[Any]) -> Callable[[Any], Any]:
    """The command line's option of a setting, with its environment twin."""
    about = declaration.metadata
    if declaration.default is False:
        return click.option(
            flag(declaration),
            declaration.name,
            envvar=environment_variable(declaration),
            is_flag=True,
            default=None,
            show_envvar=True,
            help=about["about"],
        )
    return click.option(
        flag(declaration),
        declaration.name,
        envvar=environment_variable(declaration),
        default=None,
        show_envvar=True,
        type=_type(declaration),
        help=_help(declaration),
        metavar=None if about["choices"] else declaration.name.upper(),
    )


def _help(declaration: Field[Any]) -> str:
    default = shown_default(declaration)
    text: str = declaration.metadata["about"]
    return text if default is None else f"{text} [default: {default}]"


def _type(declaration: Field[Any]) -> click.ParamType[Any]:
    about = declaration.metadata
    if about["choices"]:
        return click.Choice(about["choices"])
    if about["minimum"] is None:
        return click.STRING
    if isinstance(declaration.default, float):
        return FiniteRange(about["minimum"], about["maximum"])
    return click.IntRange(int(about["minimum"]), int(about["maximum"]))


def all_options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds an option for every declared setting."""
    for declaration in reversed(declared()):
        command = option(declaration)(command)
    return command


@click.group(
    cls=_LazyGroup,
    invoke_without_command=True,
    context_settings={"max_content_width": 100, "help_option_names": ["-h", "--help"]},
)
@all_options
@click.version_option(__version__, prog_name="task-copilot")
@click.pass_context
def main(context: click.Context, /, **given: Any) -> None:
    """Tasks and checkpoints for coding agents, with a live stream of events.

    Without a command this is an MCP server on stdin and stdout, which a coding agent starts:

        claude mcp add task-copilot -- task-copilot

    While it runs, it serves events on ws://127.0.0.1:9090/ws and its state on
    http://127.0.0.1:9090/health. A flag wins over its environment variable.
    """
    settings = Settings(**{name: value for name, value in given.items() if value is not None})
    context.obj = settings
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLineFormatter("task-copilot: %(levelname)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("task_copilot").setLevel(settings.log_level.upper())
    if context.invoked_subcommand != "doctor":  # which says it itself
        _warn_of_typos()
    if context.invoked_subcommand is None:
        _serve(settings)


def _warn_of_typos() -> None:
    for name, meant in unknown_variables(name for name in os.environ if os.environ[name]):
        if meant is not None:
            logger.warning("%s is no setting and does nothing; %s is one.", name, meant)


def _serve(settings: Settings) -> None:
    launch.refuse_what_is_unsafe(settings)
    if sys.stdin is not None and sys.stdin.isatty():
        _welcome(settings)
    launch.run(settings, _load)


def _load() -> launch.Serve:
    from task_copilot.server import serve

    return serve


def _welcome(settings: Settings) -> None:
    from task_copilot.database.urls import welcome

    text = WELCOME.format(
        version=__version__,
        host=settings.host,
        port=settings.port,
        database_url=welcome(settings.database_url),
    )
    click.echo(text, err=True)
