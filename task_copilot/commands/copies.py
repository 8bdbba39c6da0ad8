"""``task-copilot backup``, ``export`` and ``import``: copies of the whole database."""

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from task_copilot.commands.common import (
    Refusal,
    count,
    database_of,
    file_of_database,
    is_there,
    json_option,
    place_of_database,
    refusals,
    tell,
)
from task_copilot.commands.files import new_file
from task_copilot.errors import InvalidInput, TaskCopilotError
from task_copilot.settings import Settings
from task_copilot.text import escaped_json

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from task_copilot.database.store import Database
    from task_copilot.events.log import LogRow, LogState

STANDARD = "-"
MAX_LINE_CHARACTERS = 16 * 1024 * 1024
"""Far more than a row can have; what is longer is no export."""


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@json_option
@click.pass_obj
def backup(settings: Settings, file: Path, *, as_json: bool) -> None:
    """Write a copy of the database, also while agents work.

    FILE is a new SQLite database for you alone, checked before it gets its name. It holds
    everything. docs/operations.md says how to restore it.
    """
    with database_of(settings) as database, new_file(file) as begun:
        database.copy_into(begun)
        size = begun.stat().st_size
    tell(f"{file}: {_size(size)}, checked.", as_json=as_json, file=str(file), bytes=size)


KIB = 1024


def _size(number: int) -> str:
    return count(number, "byte") if number < KIB else f"{number // KIB:,} KiB"


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
@json_option
@click.pass_obj
def export(settings: Settings, file: Path, *, as_json: bool) -> None:
    """Write everything as lines of JSON.

    Workspaces, streams, tasks, checkpoints, events and the ids of repeated calls, of one
    moment. FILE must be new; - is standard output. `import` reads it.
    """
    with database_of(settings) as database, contextlib.ExitStack() as stack:
        begun = file if str(file) == STANDARD else stack.enter_context(new_file(file))
        stream = stack.enter_context(click.open_file(str(begun), "w", encoding="utf-8"))
        number = database.read_once(lambda connection: _write_lines(connection, stream))
    if str(file) != STANDARD:
        tell(f"{file}: {count(number, 'line')}.", as_json=as_json, file=str(file), lines=number)


def _write_lines(connection: "Connection", stream: "IO[str]") -> int:
    from task_copilot import transfer
    from task_copilot.clock import system_clock

    number = 0
    for line in transfer.lines(connection, system_clock()):
        stream.write(f"{escaped_json(line)}\n")
        number += 1
    return number


@click.command("import")
@click.argument(
    "file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True, exists=True)
)
@json_option
@click.pass_obj
def import_(settings: Settings, file: Path, *, as_json: bool) -> None:
    """Fill a new database from an export.

    Ids, numbers of events and the epoch are those of the export. Everything is checked before
    anything is kept. The database must be new or empty, and no session may have it open.
    """
    from task_copilot.announced import rewrite
    from task_copilot.application import places_of
    from task_copilot.transfer import row_counts

    new = not _there(settings)
    with (
        database_of(settings, new=True) as database,
        _removed_on_failure(settings, database, new=new),
    ):
        announced = places_of(database.url, settings.port).announced
        state = rewrite(database, announced, lambda connection: _load(connection, file))
        rows = database.read_now(row_counts)
    found = ", ".join(f"{number:,} {name}" for name, number in rows.items())
    place = place_of_database(settings)
    tell(
        f"{place}: {found}; epoch {state.epoch}, event {state.head}.",
        as_json=as_json,
        file=place,
        rows=dict(rows),
        epoch=state.epoch,
        seq=state.head,
    )


def _load(connection: "Connection", file: Path) -> "LogState":
    from task_copilot import transfer

    with _lines(file) as lines:
        return transfer.load(connection, lines)


def _there(settings: Settings) -> bool:
    with refusals():
        return is_there(settings)


@contextlib.contextmanager
def _removed_on_failure(
    settings: Settings, database: "Database[LogRow]", *, new: bool
) -> Iterator[None]:
    """Leaves no empty database behind where this command has made it for nothing."""
    from task_copilot import transfer
    from task_copilot.commands.removal import remove_files

    try:
        yield
    except BaseException:
        if new:
            # Where somebody has begun to use it meanwhile, it stays.
            with contextlib.suppress(OSError, TaskCopilotError):
                if (file := file_of_database(settings)) is not None:
                    remove_files(file, lambda: database.alone(transfer.require_empty))
        raise


@contextlib.contextmanager
def _lines(file: Path) -> Iterator[Iterable[str]]:
    try:
        with click.open_file(str(file), encoding="utf-8") as stream:
            yield _bounded(stream)
    except UnicodeDecodeError as error:
        raise InvalidInput(f"The export is not UTF-8: {error.reason}.") from None
    except OSError as error:
        raise Refusal(f"{file} cannot be read: {error.strerror}.") from None


def _bounded(stream: Iterable[str]) -> Iterator[str]:
    for line in stream:
        if len(line) > MAX_LINE_CHARACTERS:
            raise InvalidInput(f"A line has more than {MAX_LINE_CHARACTERS:,} characters.")
        yield line


COMMANDS = {"backup": backup, "export": export, "import": import_}
