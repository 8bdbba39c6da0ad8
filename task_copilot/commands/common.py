"""What the commands share: the database, the workspace, refusals and questions."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from task_copilot import jsontext
from task_copilot.errors import InvalidInput, NotFound, StorageError, TaskCopilotError
from task_copilot.places import Places
from task_copilot.settings import Settings
from task_copilot.text import escaped, escaped_json

if TYPE_CHECKING:
    from task_copilot.database.store import Database
    from task_copilot.events.log import LogRow
    from task_copilot.workspaces import Scope, Workspace

ACTOR = "cli"
"""Who acts where the settings name no agent."""


class Refusal(click.ClickException):
    """An expected failure as a person reads it: one line, exit code 1."""

    def show(self, file: Any = None) -> None:
        say(f"task-copilot: {self.message}", err=True, file=file)


@contextlib.contextmanager
def refusals() -> Iterator[None]:
    """Expected failures become a `Refusal`."""
    try:
        yield
    except TaskCopilotError as error:
        raise Refusal(str(error)) from None


@contextlib.contextmanager
def database_of(settings: Settings, *, new: bool = False) -> "Iterator[Database[LogRow]]":
    """The database; one that is not there is made where `new`, and refused otherwise.

    Expected failures become a `Refusal`.
    """
    from task_copilot.application import open_blocking
    from task_copilot.clock import system_clock

    with refusals():
        if not new:
            require_database(settings)
        database = open_blocking(settings, system_clock)
        try:
            yield database
        finally:
            database.committer.close()
            database.read_engine.dispose()


def file_of_database(settings: Settings) -> Path | None:
    """Where the database's file stands or would stand; None where it is no file. Raises
    StorageError."""
    from task_copilot.database.sqlite import file_of
    from task_copilot.database.urls import is_postgres, parse_url

    url = parse_url(settings.database_url)
    return None if is_postgres(url) else file_of(url)


def place_of_database(settings: Settings) -> str:
    """The database as people are told of it; raises StorageError."""
    from task_copilot.database.urls import parse_url, shown

    return str(file_of_database(settings) or shown(parse_url(settings.database_url)))


def places_of_database(settings: Settings) -> Places:
    """Where its hubs are found; raises StorageError."""
    file = file_of_database(settings)
    if file is None:
        return Places.of_server(settings.database_url, settings.port)
    return Places.of(file)


def is_there(settings: Settings) -> bool:
    """Whether there is a database; one that is no file says so when it is opened."""
    file = file_of_database(settings)
    return file is None or file.exists()


def require_database(settings: Settings) -> None:
    """Refuses a file that is not there, which opening would make."""
    file = file_of_database(settings)
    if file is not None and not file.exists():
        raise NotFound(
            f"There is no database {file}. Is TASK_COPILOT_DATABASE_URL (--database-url) right?"
        )


@contextlib.contextmanager
def opened(settings: Settings) -> "Iterator[tuple[Database[LogRow], Scope]]":
    """The database and the present workspace; expected failures become a `Refusal`."""
    from task_copilot.workspaces import Scope

    with database_of(settings) as database:
        workspace = workspace_of(database, settings.workspace)
        yield database, Scope(workspace, settings.agent or ACTOR)


def workspace_of(database: "Database[LogRow]", wanted: str | None) -> "Workspace":
    """The workspace of a name or a folder, or of the current one; raises NotFound."""
    from task_copilot import workspaces
    from task_copilot.location import current_folder, locate

    location = locate(wanted, os.environ, current_folder())
    found = database.read_now(lambda connection: workspaces.find(connection, location))
    if found is None:
        raise NotFound(
            f"The database has no workspace {location.name}. Run this in the project's folder, "
            "or name it: task-copilot --workspace NAME …"
        )
    return found


def count(number: int, what: str) -> str:
    """``1 task``, ``2 tasks``."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def confirm(command: str, question: str) -> None:
    """Asks on the terminal; raises InvalidInput where there is none, or the answer is no."""
    if sys.stdin is None or not sys.stdin.isatty():
        raise InvalidInput(f"{command} asks first, and there is no terminal to ask on; give --yes.")
    if not click.confirm(escaped(question), err=True):
        raise InvalidInput("Nothing was changed.")


def scrub(database: "Database[LogRow]") -> None:
    """Removes what is deleted from the bytes of the files too, or says that it is still there."""
    try:
        left = database.scrub()
    except StorageError as error:
        raise StorageError(f"The database may still hold the old bytes. {error}") from None
    if left is not None:
        click.echo(f"task-copilot: {left}.", err=True)


def say(line: str, *, err: bool = False, file: Any = None) -> None:
    """Prints a line, with what is harmful for a terminal escaped; signs that the stream's
    encoding lacks are question marks."""
    text = escaped(line)
    try:
        click.echo(text, file=file, err=err)
    except UnicodeEncodeError:
        click.echo(text.encode("ascii", "replace"), file=file, err=err)


def print_json(value: Any) -> None:
    """One line of JSON, for programs, that is harmless for a terminal too."""
    say(escaped_json(jsontext.encode(value)))


def tell(sentence: str, *, as_json: bool, **fields: Any) -> None:
    """What a command has done: the sentence for people, or the fields for programs."""
    if as_json:
        print_json(fields)
    else:
        say(sentence)


json_option = click.option(
    "--json", "as_json", is_flag=True, help="One line of JSON, for programs."
)
