"""What ``doctor`` looks at in the database. It only reads, over SQLite's own connections."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from task_copilot.commands.check_contents import contents
from task_copilot.commands.findings import Finding, note, ok, wrong
from task_copilot.database import sqlite
from task_copilot.database.tables import SCHEMA_VERSION
from task_copilot.errors import DatabaseMoved, StorageError, TaskCopilotError
from task_copilot.settings import Settings

SUBJECT = "database"
LARGE_LOG_BYTES = 256 * 1024 * 1024
"""A write-ahead log so large is not written back: somebody has been reading for long."""


MIB = 1024 * 1024
WAIT_SECONDS = 5.0
RESTORE = "End all sessions and restore a backup (docs/operations.md)."


def database(settings: Settings) -> Iterator[Finding]:
    """The file, and what is in it."""
    from task_copilot.commands.common import file_of_database

    try:
        file = file_of_database(settings)
    except TaskCopilotError as error:
        yield wrong(SUBJECT, str(error), "Correct TASK_COPILOT_DATABASE_URL or --database-url.")
        return
    if file is None:
        yield from on_server(settings)
        return
    if not file.exists():
        yield note(SUBJECT, f"{file} is not there yet; the first session makes it.")
        return
    yield from _access(file)
    if not os.access(file, os.R_OK):
        return
    try:
        with reading(file) as connection:
            yield from _contents(file, connection)
    except DatabaseMoved as moved:
        yield wrong(SUBJECT, str(moved), "The file is of no more use than a backup.")
    except Exception as error:
        meaning = sqlite.translate(error, _url(file))
        if meaning is None and not isinstance(error, StorageError):
            raise
        text = str(meaning or error).removeprefix("Nothing was written: ")
        yield wrong(SUBJECT, text, RESTORE)


def _access(file: Path) -> Iterator[Finding]:
    for path, rights in ((file, "u+rw"), (file.parent, "u+rwx")):
        need = os.R_OK | os.W_OK | (os.X_OK if path.is_dir() else 0)
        if not os.access(path, need):
            yield wrong(SUBJECT, f"{path} cannot be read and written.", f"chmod {rights} {path}")


def _url(file: Path) -> Any:
    from sqlalchemy import URL

    return URL.create("sqlite", database=str(file))


@contextlib.contextmanager
def reading(file: Path) -> Iterator[Any]:
    """A connection that only reads."""
    address = f"{file.as_uri()}?mode=ro"
    module = sqlite.driver()
    with contextlib.closing(
        module.connect(address, uri=True, isolation_level=None, timeout=WAIT_SECONDS)
    ) as connection:
        yield connection


@contextlib.contextmanager
def opened_to_read(settings: Settings) -> Iterator[Any]:
    """A driver's connection to a database of either kind that is there."""
    from task_copilot.commands.common import file_of_database

    with contextlib.ExitStack() as stack:
        file = file_of_database(settings)
        if file is None:
            from task_copilot.commands.check_server import connected

            yield stack.enter_context(connected(settings))
        else:
            yield stack.enter_context(reading(file))


def on_server(settings: Settings) -> Iterator[Finding]:
    """A database that is no file."""
    from task_copilot.commands.check_server import server

    yield from server(settings)


def _contents(file: Path, connection: Any) -> Iterator[Finding]:
    if (found := sqlite.quick_check(connection)) is not None:
        yield wrong(SUBJECT, f"{file} is damaged: {found}.", RESTORE)
        return
    version = sqlite.stored_version(connection)
    yield ok(SUBJECT, f"{file}, {_mebibytes(file)}, sound, tables of version {version}")
    yield from _log_file(file, connection)
    if version < SCHEMA_VERSION:
        yield note(SUBJECT, f"The next session brings its tables to version {SCHEMA_VERSION}.")
        return
    yield from contents(connection)


def _log_file(file: Path, connection: Any) -> Iterator[Finding]:
    log = Path(f"{file}-wal")
    if log.exists() and log.stat().st_size > LARGE_LOG_BYTES:
        yield wrong(
            SUBJECT,
            f"{log} has {_mebibytes(log)}: a process has been reading the same state for long.",
            "End the sessions on this database; the last one writes it back.",
        )
    elif not sqlite.uses_wal(connection):
        yield note(SUBJECT, "It was restored from a copy; the next session turns its log on.")
    elif log.exists():
        yield ok(SUBJECT, f"write-ahead log: {_mebibytes(log)}")


def _mebibytes(path: Path) -> str:
    return f"{path.stat().st_size / MIB:,.1f} MiB"
