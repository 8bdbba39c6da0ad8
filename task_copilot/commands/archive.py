"""``task-copilot archive``."""

from typing import TYPE_CHECKING

import click

from task_copilot.commands.common import count, json_option, opened, tell
from task_copilot.settings import Settings

if TYPE_CHECKING:
    from task_copilot.database.store import Database
    from task_copilot.events.log import LogRow
    from task_copilot.workspaces import Scope


@click.command()
@click.argument("stream_id", required=False)
@click.option("--all-finished", is_flag=True, help="Every finished stream of the workspace.")
@json_option
@click.pass_obj
def archive(
    settings: Settings, stream_id: str | None, *, all_finished: bool, as_json: bool
) -> None:
    """Put a finished stream away.

    Lists leave out an archived stream and its tasks. It comes back as soon as a task is made in
    it, moves into it or is reopened.
    """
    if (stream_id is not None) == all_finished:
        raise click.UsageError("Give either STREAM_ID or --all-finished.")
    with opened(settings) as (database, scope):
        if stream_id is None:
            done, names = _archive_finished(database, scope)
        else:
            done, names = _archive_one(database, scope, stream_id), [stream_id]
    name = scope.workspace.name
    tell(f"{name}: {done}", as_json=as_json, workspace=name, archived=names)


def _archive_one(database: "Database[LogRow]", scope: "Scope", stream_id: str) -> str:
    from task_copilot.archive import archive as put_away

    stream = database.write_now(lambda tx: put_away(tx, scope, stream_id))
    return f"archived {stream.stream_id} with {count(stream.completed, 'completed task')}."


def _archive_finished(database: "Database[LogRow]", scope: "Scope") -> tuple[str, list[str]]:
    from task_copilot.archive import archive_finished

    names: list[str] = []
    while done := database.write_now(lambda tx: archive_finished(tx, scope)):
        names += [stream.stream_id for stream in done]
    if not names:
        return "no finished stream to archive.", names
    return f"archived {count(len(names), 'stream')}: {', '.join(names)}.", names


COMMANDS = {"archive": archive}
