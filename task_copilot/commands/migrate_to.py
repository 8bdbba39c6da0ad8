"""``task-copilot migrate-to``."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from task_copilot.commands.common import (
    database_of,
    file_of_database,
    json_option,
    refusals,
    require_database,
    say,
    tell,
)
from task_copilot.errors import InvalidInput, StorageError, TaskCopilotError
from task_copilot.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy import URL

    from task_copilot.database.postgres_engine import PostgresEngine
    from task_copilot.move import Report

INTERRUPTED = (
    "Interrupted. The same command again does what is left to be done; until then the database is "
    "used as before, unless it says that it was moved."
)


@click.command("migrate-to")
@click.argument("url", metavar="URL")
@click.option("--dry-run", is_flag=True, help="Try and compare everything, and keep nothing.")
@json_option
@click.pass_obj
def migrate_to(settings: Settings, url: str, *, dry_run: bool, as_json: bool) -> None:
    """Move the SQLite database to PostgreSQL.

    URL names an empty database: postgresql+psycopg://USER@HOST/DATABASE. Everything goes there,
    with the same ids, numbers of events and epoch, so that listeners go on at their cursors. What
    has arrived is compared with what was sent before it is kept.

    Sessions may run: they can read meanwhile, and what they write waits, for 10 seconds at most.
    In the end the file is marked, and every process that uses it is told the new address. The
    same command again finishes a move that was interrupted.
    """
    with refusals():
        file, target = _places(settings, url)
        try:
            report = _moved(settings, file, target, dry=dry_run)
        except KeyboardInterrupt:
            raise StorageError(INTERRUPTED) from None
    _tell(file, report, as_json=as_json)


def _places(settings: Settings, url: str) -> "tuple[Path, URL]":
    """The file that is moved, and where to; raises TaskCopilotError."""
    from task_copilot.database.urls import is_postgres, parse_url

    file = file_of_database(settings)
    if file is None:
        raise InvalidInput(
            "The database is on PostgreSQL already (TASK_COPILOT_DATABASE_URL). From one server "
            "to another, move it with pg_dump and pg_restore."
        )
    try:
        target = parse_url(url)
    except StorageError as error:
        named = str(error).replace("TASK_COPILOT_DATABASE_URL", "URL", 1)
        raise InvalidInput(named) from None
    if not is_postgres(target):
        raise InvalidInput(
            "URL names a file. This moves to PostgreSQL: postgresql+psycopg://USER@HOST/DATABASE; "
            "for another file, use task-copilot backup FILE."
        )
    require_database(settings)
    return file, target


def _moved(settings: Settings, file: Path, url: "URL", *, dry: bool) -> "Report":
    from task_copilot.database.engines import engine_of

    target: Any = engine_of(url, durability="full")
    try:
        return _with_engine(settings, file, target, dry=dry)
    except Exception as error:
        meaning = _meaning(target, file, error)
        if meaning is None:
            raise
        raise meaning from None
    finally:
        target.close()


def _meaning(target: "PostgresEngine", file: Path, error: Exception) -> TaskCopilotError | None:
    from sqlalchemy import URL

    from task_copilot.database import sqlite

    if isinstance(error, TaskCopilotError):
        return error
    ours = sqlite.translate(error, URL.create("sqlite", database=str(file)))
    return ours or target.translate(error)


def _with_engine(
    settings: Settings, file: Path, target: "PostgresEngine", *, dry: bool
) -> "Report":
    from task_copilot import move
    from task_copilot.clock import system_clock

    # The server first: nobody waits for the lock of the file while it does not answer.
    with (
        move.target_of(target) as (connection, driver),
        _source(settings, file, dry=dry) as source,
        _shown_progress() as progress,
    ):
        attempt = move.Move(source, connection, driver, target.place, system_clock(), progress, dry)
        return attempt.run()


@contextlib.contextmanager
def _source(settings: Settings, file: Path, *, dry: bool) -> Iterator[Any]:
    """The connection that a move reads from."""
    from task_copilot import move
    from task_copilot.database import departure, sqlite
    from task_copilot.database.tables import CLOSED_VERSION
    from task_copilot.database.urls import parse_url

    with departure.reading(file) as driver:
        closed = sqlite.recorded_version(driver) == CLOSED_VERSION
        if dry:
            if not closed:
                move.require_newest(sqlite.stored_version(driver))
            yield driver
            return
    if not closed:  # which brings its tables up to date, and looks whether it was restored
        with database_of(settings):
            pass
    with departure.locked(parse_url(settings.database_url)) as driver:
        yield driver


BAR = 40


@contextlib.contextmanager
def _shown_progress() -> Iterator[Any]:
    """Shows how far it is, on one line of a terminal."""
    shown = sys.stderr is not None and sys.stderr.isatty()

    def show(what: str, done: int, total: int) -> None:
        if shown:
            click.echo(f"\r{f'{what}: {done:,} of {total:,}':<{BAR}}", nl=False, err=True)

    try:
        yield show
    finally:
        if shown:
            click.echo(f"\r{'':<{BAR}}\r", nl=False, err=True)


def _tell(file: Path, report: "Report", *, as_json: bool) -> None:
    found = ", ".join(f"{number:,} {name}" for name, number in report.rows.items())
    log = f"epoch {report.epoch}, event {report.head}"
    sentences = {
        "moved": f"{file}: moved to {report.address}, compared: {found}; {log}.",
        "finished": f"{file}: its move to {report.address} is finished; {log}.",
        "moved before": f"{file}: was moved to {report.address} before; nothing is left to do.",
        "would be moved": f"{file}: can be moved to {report.address}: {found}; {log}. Nothing "
        "was changed.",
        "would be finished": f"{file}: its move to {report.address} can be finished; {log}. "
        "Nothing was changed.",
    }
    fields = {"file": str(file), "address": report.address, "outcome": report.outcome}
    log_fields = {"rows": dict(report.rows), "epoch": report.epoch, "seq": report.head}
    tell(sentences[report.outcome], as_json=as_json, **fields, **log_fields)
    if report.outcome in {"moved", "finished"} and not as_json:
        say(f"Now set TASK_COPILOT_DATABASE_URL={report.address} for every session and hub.")


COMMANDS = {"migrate-to": migrate_to}
