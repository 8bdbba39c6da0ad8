"""``task-copilot orchestrate``."""

import asyncio
import os
import sys
from dataclasses import replace
from typing import Any

import click

from task_copilot import launch
from task_copilot.cli import FiniteRange
from task_copilot.commands.asking import present_ca_file
from task_copilot.commands.event_options import interruptible, leave, url_option
from task_copilot.orchestrator import machine
from task_copilot.settings import Settings

EVERY = click.IntRange(1, 1_000)
SECONDS = FiniteRange(0.1, 7 * 24 * 3_600)
PERMISSIONS = ("acceptEdits", "auto", "bypassPermissions", "dontAsk")


@click.command()
@click.argument("streams", metavar="[STREAM_ID]...", nargs=-1)
@click.option("--dry-run", is_flag=True, help="Show the plan and start nothing.")
@click.option(
    "--max-parallel",
    type=EVERY,
    default=machine.MAX_PARALLEL,
    show_default=True,
    help="So many workers at once.",
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
    help="What Claude Code may do beside what its own settings allow; all else it is denied, since "
    "nobody is there to be asked. 'acceptEdits': edit files in its folder, but run no tests and no "
    "git commit. 'bypassPermissions': all that you can do. Without it: read, and use the tools of "
    "this server.",
)
@click.option(
    "--worktrees",
    is_flag=True,
    help="A folder and a branch (task-copilot/STREAM_ID) for each stream, as a git worktree beside "
    "the repository; made once and used again. Nothing is merged.",
)
@click.option("--tmux", is_flag=True, help="A pane of tmux for each worker, with its output.")
@click.option(
    "--retries",
    type=click.IntRange(0, 100),
    default=machine.RETRIES,
    show_default=True,
    help="How often in a row a worker that ended before its stream was complete is started again; "
    "then a task of the stream is blocked, with the reason.",
)
@click.option(
    "--retry-delay",
    type=FiniteRange(0, 3_600),
    default=machine.RETRY_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="How long it waits before the first of these, and four times as long before each further "
    "one.",
)
@click.option(
    "--stall-timeout",
    type=SECONDS,
    default=machine.STALL_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="How long a worker may change nothing and print nothing; then a checkpoint is made for it "
    "and it is started again.",
)
@click.option(
    "--grace",
    type=FiniteRange(0.1, 3_600),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="How long a worker that is asked to end (SIGTERM) may take before it is killed.",
)
@click.option(
    "--on-blocked",
    metavar="COMMAND",
    help="What is run when a stream is blocked, without a shell; {stream}, {workspace} and "
    "{reason} are filled in. Without it: a notification of the desktop, if there is one. '': "
    "nothing.",
)
@click.option(
    "--no-wait",
    is_flag=True,
    help="End with exit code 1, instead of waiting, where only a person can bring it further.",
)
@click.option(
    "--workspace",
    metavar="NAME",
    help="Name or folder of the workspace. Without it: the one of the current folder.",
)
@url_option("the hub of the database, which this serves itself where nobody does")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="A line of JSON for each thing that happens, and a summary as the last, for programs.",
)
@click.pass_obj
def orchestrate(
    settings: Settings, /, streams: tuple[str, ...], workspace: str | None, **given: Any
) -> None:
    """Run a worker for each stream that is ready, until all are complete.

    A stream is ready when those that it depends on are complete; one without dependencies waits
    for the phases before its own. With STREAM_ID only these streams get workers. A worker that
    ends before its stream is complete is started again; a stream that is blocked waits for a
    person. Ctrl+C asks the workers to end, and the same command goes on. Exit code 0: all streams
    are complete.

        task-copilot orchestrate --worktrees --permission-mode acceptEdits
    """
    if sys.platform == "win32":
        raise click.UsageError("orchestrate needs process groups, which Windows does not have.")
    if given["permission_mode"] and given["worker"] is not None:
        raise click.UsageError("--permission-mode is for Claude Code; --worker names another.")
    from task_copilot.orchestrator.composition import Wanted, orchestrated

    settings = replace(settings, workspace=workspace or settings.workspace)
    wanted = Wanted(streams=streams, ca_file=present_ca_file(), **given)
    if wanted.url is None:
        launch.refuse_what_is_unsafe(settings)  # it may be this process that serves
        # The client finds the hub by it, and so does what the workers start.
        os.environ["TASK_COPILOT_DATABASE_URL"] = settings.database_url
    with interruptible():
        leave(asyncio.run(orchestrated(settings, wanted)))


COMMANDS = {"orchestrate": orchestrate}
