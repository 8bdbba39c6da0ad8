"""What the command line declares, for tests that compare documents with it."""

import click

from task_copilot.cli import COMMANDS, main


def options() -> set[str]:
    """Every flag of the program and of its commands."""
    context = click.Context(main)
    commands = [main, *(main.get_command(context, name) for name in COMMANDS)]
    return {
        flag
        for command in commands
        if command is not None
        for parameter in command.get_params(context)
        if isinstance(parameter, click.Option)
        for flag in parameter.opts
    }
