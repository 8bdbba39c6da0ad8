"""``task-copilot redact``."""

import click

from task_copilot.commands.common import confirm, count, json_option, opened, scrub, tell
from task_copilot.settings import Settings


@click.command()
@click.argument("task_id")
@click.option(
    "--field",
    required=True,
    help="title, description, notes, metadata, metadata.KEY, blockedReason, files or "
    "checkpoints (what its checkpoints say beside these).",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@click.pass_obj
def redact(settings: Settings, task_id: str, field: str, *, yes: bool, as_json: bool) -> None:
    """Remove what a field of a task says and ever said.

    It is removed from the task, its checkpoints, the stored events and the bytes of the
    database's files. Listeners keep what they have received, backups what they hold.
    """
    from task_copilot.ids import parse_task_id
    from task_copilot.redact import redact as remove
    from task_copilot.redacted import parse_field

    with opened(settings) as (database, scope):
        number = parse_task_id(task_id, "TASK_ID")
        parse_field(field)
        name = f"{scope.workspace.name}: TASK-{number}"
        if not yes:
            confirm("redact", f"{name}: remove {field} for good, now and in its history?")
        done = database.write_now(lambda tx: remove(tx, scope, number, field))
        tell(
            f"{name}: {field} redacted, in {count(done.events, 'event')}, "
            f"{count(done.checkpoints, 'checkpoint')} and {count(done.answers, 'stored answer')}.",
            as_json=as_json,
            workspace=scope.workspace.name,
            id=f"TASK-{number}",
            field=field,
            events=done.events,
            checkpoints=done.checkpoints,
            answers=done.answers,
        )
        scrub(database)


COMMANDS = {"redact": redact}
