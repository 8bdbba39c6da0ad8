"""``task-copilot orchestrate``."""

import asyncio
import os
import sys
from typing import Any

import click

from task_copilot import launch
from task_copilot.commands.asking import present_ca_file
from task_copilot.commands.common import json_option
from task_copilot.commands.event_options import interruptible, leave, url_option
from task_copilot.orchestrator import machine
from task_copilot.settings import Settings

EVERY = click.IntRange(1, 1_000)
SECONDS = click.FloatRange(0.1, 7 * 24 * 3_600)
PERMISSIONS = ("acceptEdits", "auto", "bypassPermissions", "dontAsk")


@click.command()
@click.argument("streams", metavar="[STREAM_ID]...", nargs=-1)
@click.option("--dry-run", is_flag=True, help="Show the plan and start nothing.")
@click.option(
    "--max-parallel",
    type=EVERY,
    default=machine.MAX_PARALLEL,
    show_default=True,
    help="Workers at once.",
)
@click.option(
    "--worker",
    metavar="COMMAND",
    help="The command of a worker, without a shell; {stream}, {workspace} and {folder} are filled "
    "in. Without it: Claude Code (claude -p), with this server and its tools allowed.",
)
@click.option(
    "--permission-mode",
    type=click.Choice(PERMISSIONS),
    help="What Claude Code may do without asking, which nobody could answer: 'acceptEdits' lets "
    "it edit files in its folder, 'bypassPermissions' lets it do all that you can. Without it, "
    "workers can read and use the tools of this server.",
)
@click.option(
    "--worktrees",
    is_flag=True,
    help="A git worktree and a branch (task-copilot/STREAM_ID) for each stream, beside the "
    "repository; made once and used again. Merging is yours.",
)
@click.option("--tmux", is_flag=True, help="A pane of tmux for each stream, with its output.")
@click.option(
    "--retries",
    type=click.IntRange(0, 100),
    default=machine.RETRIES,
    show_default=True,
    help="How often in a row a worker is started again that ended too early, before the stream "
    "is marked as needing help.",
)
@click.option(
    "--retry-delay",
    type=click.FloatRange(0, 3_600),
    default=machine.RETRY_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="Before the first of them; each further one waits four times as long.",
)
@click.option(
    "--stall-timeout",
    type=SECONDS,
    default=machine.STALL_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="How long a worker may neither change anything nor print anything; then a checkpoint is "
    "made and it is started again.",
)
@click.option(
    "--grace",
    type=click.FloatRange(0.1, 3_600),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="How long a worker that is asked to end may take before it is killed.",
)
@click.option(
    "--on-blocked",
    metavar="COMMAND",
    help="Run when a stream is blocked, without a shell; {stream}, {workspace} and {reason} are "
    "filled in. Without it: a notification of the desktop, where there is one; '' for nothing.",
)
@click.option(
    "--no-wait",
    is_flag=True,
    help="End with exit code 1 where only a person can bring it further, instead of waiting.",
)
@url_option("the hub of the database, which this serves itself where nobody does")
@json_option
@click.pass_obj
def orchestrate(settings: Settings, /, streams: tuple[str, ...], **given: Any) -> None:
    """Run a worker for each stream that is ready, until all are complete.

    A stream is ready when those that it depends on are complete; one without dependencies waits
    for the phases before its own. With STREAM_ID only these get workers. A worker that ends
    before its stream is complete is started again, from the stream's latest checkpoint; one that
    is blocked waits for a person. Ctrl+C asks the workers to end, and the same command goes on.
    Exit code 0: all streams are complete.

        task-copilot orchestrate --worktrees --permission-mode acceptEdits
    """
    if sys.platform == "win32":
        raise click.UsageError("orchestrate needs process groups, which Windows does not have.")
    if given["permission_mode"] and given["worker"] is not None:
        raise click.UsageError("--permission-mode is for Claude Code; --worker names another.")
    from task_copilot.orchestrator.composition import Wanted, orchestrated

    wanted = Wanted(streams=streams, ca_file=present_ca_file(), **given)
    if wanted.url is None:
        launch.refuse_what_is_unsafe(settings)  # it may be this process that serves
        # The client finds the hub by it, and so does what the workers start.
        os.environ["TASK_COPILOT_DATABASE_URL"] = settings.database_url
    with interruptible():
        leave(asyncio.run(orchestrated(settings, wanted)))


COMMANDS = {"orchestrate": orchestrate}
