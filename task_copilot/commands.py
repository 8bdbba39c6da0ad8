"""What a person does to the database from a shell, with or without a running server."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from task_copilot import launch
from task_copilot.errors import InvalidInput, NotFound, StorageError, TaskCopilotError
from task_copilot.settings import Settings

if TYPE_CHECKING:
    from task_copilot.database.store import Database
    from task_copilot.events.log import LogRow
    from task_copilot.workspaces import Scope

ACTOR = "cli"
"""Who acts where the settings name no agent."""

SEVERAL_SESSIONS = (
    "The database's files may still hold the old bytes until every session on it has ended"
)


class Refusal(click.ClickException):
    """An expected failure as a person reads it: one line, exit code 1."""

    def show(self, file: Any = None) -> None:
        click.echo(f"task-copilot: {self.message}", file=file, err=True)


@contextlib.contextmanager
def _opened(settings: Settings) -> "Iterator[tuple[Database[LogRow], Scope]]":
    """The database and the present workspace; expected failures become a `Refusal`."""
    from task_copilot.application import open_blocking
    from task_copilot.clock import system_clock

    try:
        _require_database(settings)
        database = open_blocking(settings, system_clock)
        try:
            yield database, _scope(database, settings)
        finally:
            database.committer.close()
            database.read_engine.dispose()
    except TaskCopilotError as error:
        raise Refusal(str(error)) from None


def _require_database(settings: Settings) -> None:
    """Refuses a file that is not there, which opening would make."""
    from task_copilot.database.store import parse_url

    url = parse_url(settings.database_url)
    file = url.database or ""
    if not file.startswith("file:") and not Path(file).exists():
        raise NotFound(
            f"There is no database {file}. Is TASK_COPILOT_DATABASE_URL (--database-url) right?"
        )


def _scope(database: "Database[LogRow]", settings: Settings) -> "Scope":
    from task_copilot import workspaces
    from task_copilot.location import locate

    location = locate(settings.workspace, os.environ, Path.cwd())
    found = database.read_now(lambda connection: workspaces.find(connection, location))
    if found is None:
        raise NotFound(
            f"The database has no workspace {location.name}. Run this in the project's folder, "
            "or name it: task-copilot --workspace NAME …"
        )
    return workspaces.Scope(found, settings.agent or ACTOR)


@click.command()
@click.argument("stream_id", required=False)
@click.option("--all-finished", is_flag=True, help="Every finished stream of the workspace.")
@click.pass_obj
def archive(settings: Settings, stream_id: str | None, *, all_finished: bool) -> None:
    """Put a finished stream away.

    Lists leave out an archived stream and its tasks. It comes back as soon as a task is made in
    it, moves into it or is reopened.
    """
    if (stream_id is not None) == all_finished:
        raise click.UsageError("Give either STREAM_ID or --all-finished.")
    with _opened(settings) as (database, scope):
        if stream_id is None:
            done = _archive_finished(database, scope)
        else:
            done = _archive_one(database, scope, stream_id)
    click.echo(f"{scope.workspace.name}: {done}")


def _archive_one(database: "Database[LogRow]", scope: "Scope", stream_id: str) -> str:
    from task_copilot.archive import archive as put_away

    stream = database.write_now(lambda tx: put_away(tx, scope, stream_id))
    return f"archived {stream.stream_id} with {_count(stream.completed, 'completed task')}."


def _archive_finished(database: "Database[LogRow]", scope: "Scope") -> str:
    from task_copilot.archive import archive_finished

    names: list[str] = []
    while done := database.write_now(lambda tx: archive_finished(tx, scope)):
        names += [stream.stream_id for stream in done]
    if not names:
        return "no finished stream to archive."
    return f"archived {_count(len(names), 'stream')}: {', '.join(names)}."


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


@click.command()
@click.argument("task_id")
@click.option(
    "--field",
    required=True,
    help="title, description, notes, metadata, metadata.KEY, blockedReason, files or "
    "checkpoints (what its checkpoints say beside these).",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def redact(settings: Settings, task_id: str, field: str, *, yes: bool) -> None:
    """Remove what a field of a task says and ever said.

    It is removed from the task, its checkpoints, the stored events and the bytes of the
    database's files. Listeners keep what they have received, backups what they hold.
    """
    from task_copilot.ids import parse_task_id
    from task_copilot.redact import redact as remove
    from task_copilot.redacted import parse_field

    with _opened(settings) as (database, scope):
        number = parse_task_id(task_id, "TASK_ID")
        parse_field(field)
        name = f"{scope.workspace.name}: TASK-{number}"
        if not yes:
            _confirm(f"{name}: remove {field} for good, now and in its history?")
        done = database.write_now(lambda tx: remove(tx, scope, number, field))
        click.echo(
            f"{name}: {field} redacted, in {_count(done.events, 'event')} and "
            f"{_count(done.checkpoints, 'checkpoint')}."
        )
        _scrub(database)


def _confirm(question: str) -> None:
    if sys.stdin is None or not sys.stdin.isatty():
        raise InvalidInput("redact asks first, and there is no terminal to ask on; give --yes.")
    if not click.confirm(question, err=True):
        raise InvalidInput("Nothing was changed.")


def _scrub(database: "Database[LogRow]") -> None:
    try:
        clean = database.scrub()
    except StorageError as error:
        raise StorageError(f"{SEVERAL_SESSIONS}, and longer. {error}") from None
    if not clean:
        click.echo(f"task-copilot: {SEVERAL_SESSIONS}.", err=True)


@click.command()
@click.pass_obj
def serve(settings: Settings) -> None:
    """Serve events and HTTP without an agent.

    For listeners that outlive the agents' sessions. As long as another process serves the
    database, this one waits to take its place. Ctrl+C ends it.
    """
    from task_copilot.database.store import parse_url

    launch.require_loopback(settings.host)
    try:
        parse_url(settings.database_url)
    except TaskCopilotError as error:
        raise Refusal(str(error)) from None
    launch.run(settings, _load_serve)


def _load_serve() -> launch.Serve:
    from task_copilot.standalone import serve

    return serve
