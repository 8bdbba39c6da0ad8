"""``task-copilot doctor``."""

import os
from collections.abc import Iterator
from dataclasses import asdict

import click

from task_copilot.commands.check_access import access
from task_copilot.commands.check_agents import agents
from task_copilot.commands.check_database import database
from task_copilot.commands.check_hub import hub
from task_copilot.commands.check_machine import data_folder, environment, here, versions
from task_copilot.commands.check_rights import rights
from task_copilot.commands.common import count, json_option, print_json, say
from task_copilot.commands.findings import Finding
from task_copilot.settings import Settings
from task_copilot.text import plain

SOMETHING_WRONG = 1
MARKS = {"ok": "ok   ", "note": "note ", "wrong": "WRONG"}


@click.command()
@json_option
@click.pass_context
def doctor(context: click.Context, *, as_json: bool) -> None:
    """Look for what is wrong with this installation, and say how to mend it.

    Changes nothing. Ends with 1 where something is wrong.
    """
    findings = list(_all(context.obj))
    wrong = sum(finding.level == "wrong" for finding in findings)
    if as_json:
        print_json({"wrong": wrong, "findings": [asdict(finding) for finding in findings]})
    else:
        for finding in findings:
            _print(finding)
        click.echo(f"{count(wrong, 'thing')} to mend." if wrong else "Nothing is wrong.")
    context.exit(SOMETHING_WRONG if wrong else 0)


def _all(settings: Settings) -> Iterator[Finding]:
    yield from versions()
    yield from environment(os.environ)
    yield from data_folder()
    yield from rights(settings)
    yield from database(settings)
    yield from access(settings)
    yield from hub(settings)
    yield from here(settings.workspace)
    yield from agents()


def _print(finding: Finding) -> None:
    say(f"{MARKS[finding.level]}  {finding.subject}: {plain(finding.text)}")
    if finding.remedy is not None:
        say(f"       -> {plain(finding.remedy)}")


COMMANDS = {"doctor": doctor}
