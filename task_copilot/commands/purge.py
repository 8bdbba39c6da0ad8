"""``task-copilot purge``."""

import secrets
from typing import TYPE_CHECKING

import click

from task_copilot.commands.common import (
    Refusal,
    confirm,
    count,
    database_of,
    file_of_database,
    json_option,
    place_of_database,
    say,
    scrub,
    tell,
    workspace_of,
)
from task_copilot.errors import InvalidInput
from task_copilot.settings import Settings

if TYPE_CHECKING:
    from task_copilot.database.store import Database
    from task_copilot.events.log import LogRow, LogState
    from task_copilot.workspaces import Workspace


@click.command()
@click.option("--workspace", metavar="NAME", help="Only this one: its name or its folder.")
@click.option("--everything", is_flag=True, help="The whole database, and its files.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@click.pass_obj
def purge(
    settings: Settings, workspace: str | None, *, everything: bool, yes: bool, as_json: bool
) -> None:
    """Remove all data of a workspace, or everything.

    Says what goes and from where, and asks. No session may have the database open. Where one
    workspace goes, its events leave the log too, those of the others move together, and the log
    gets a new epoch: listeners start anew.
    """
    if (workspace is not None) == everything:
        raise click.UsageError("Give either --workspace NAME or --everything.")
    if workspace is None:
        _everything(settings, ask=not yes, as_json=as_json)
    else:
        _workspace(settings, workspace, ask=not yes, as_json=as_json)


def _everything(settings: Settings, *, ask: bool, as_json: bool) -> None:
    from task_copilot.commands.removal import files_of, remove_files
    from task_copilot.transfer import row_counts

    with database_of(settings) as database:
        file = file_of_database(settings)
        if file is None:
            raise InvalidInput(
                "purge --everything removes the files of SQLite. This database is on a server: "
                "end all sessions and drop it there, with dropdb NAME. Nothing was changed."
            )
        _say(f"{file}: everything", database.read_now(row_counts))
        for path in files_of(file):
            say(f"  {path}", err=True)
        if ask:
            confirm("purge", "Remove all of it for good?")
        try:
            removed = remove_files(file, lambda: database.alone(lambda _connection: None))
        except OSError as error:
            raise Refusal(f"{error.filename} cannot be removed: {error.strerror}.") from None
    names = list(map(str, removed))
    tell(f"Removed {count(len(names), 'file')}.", as_json=as_json, files=names)


def _workspace(settings: Settings, wanted: str, *, ask: bool, as_json: bool) -> None:
    from task_copilot import purge as removing

    with database_of(settings) as database:
        workspace = workspace_of(database, wanted)
        rows = database.read_now(lambda connection: removing.contents(connection, workspace))
        _say(f"{place_of_database(settings)}: workspace {workspace.name}", rows)
        if ask:
            confirm("purge", "Remove it for good? Listeners will start anew.")
        state = _removed(settings, database, workspace)
        tell(
            f"{workspace.name}: removed. The log ends with event {state.head}, "
            f"epoch {state.epoch}.",
            as_json=as_json,
            workspace=workspace.name,
            rows=dict(rows),
            epoch=state.epoch,
            seq=state.head,
        )
        scrub(database)


def _removed(
    settings: Settings, database: "Database[LogRow]", workspace: "Workspace"
) -> "LogState":
    from task_copilot import purge as removing
    from task_copilot.announced import EPOCH_BYTES, rewrite
    from task_copilot.application import places_of

    epoch = secrets.token_hex(EPOCH_BYTES)
    announced = places_of(database.url, settings.port).announced
    return rewrite(database, announced, lambda c: removing.purge(c, workspace, epoch))


def _say(place: str, rows: dict[str, int]) -> None:
    found = ", ".join(f"{number:,} {name}" for name, number in rows.items())
    say(f"{place}: {found}", err=True)


COMMANDS = {"purge": purge}
