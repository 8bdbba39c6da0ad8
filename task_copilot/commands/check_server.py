"""What ``doctor`` looks at in a PostgreSQL database. It only reads."""

import contextlib
import time
from collections.abc import Iterator
from typing import Any

from task_copilot.commands.check_contents import contents
from task_copilot.commands.findings import Finding, note, ok, wrong
from task_copilot.database.engine import Engine
from task_copilot.database.engines import engine_of
from task_copilot.database.tables import SCHEMA_VERSION
from task_copilot.database.urls import parse_url
from task_copilot.errors import TaskCopilotError
from task_copilot.settings import Settings

SUBJECT = "database"
SLOW_SECONDS = 0.02
"""A change waits for the server about ten times, and for the changes of others meanwhile."""


def server(settings: Settings) -> Iterator[Finding]:
    """Whether the server answers, and what is in the database."""
    try:
        engine = engine_of(parse_url(settings.database_url), durability=settings.durability)
    except TaskCopilotError as error:
        yield wrong(SUBJECT, str(error), "Install it, for the Python named above.")
        return
    try:
        with _connection(engine) as connection:
            yield from _found(engine, connection)
    except Exception as error:
        meaning = engine.translate(error) or error
        if not isinstance(meaning, TaskCopilotError):
            raise
        text = str(meaning).removeprefix("Nothing was written: ")
        yield wrong(SUBJECT, text, "Correct TASK_COPILOT_DATABASE_URL, or mend it on the server.")
    finally:
        engine.close()


@contextlib.contextmanager
def connected(settings: Settings) -> Iterator[Any]:
    """A driver's connection that only reads."""
    engine = engine_of(parse_url(settings.database_url), durability=settings.durability)
    try:
        with _connection(engine) as connection:
            yield connection
    finally:
        engine.close()


@contextlib.contextmanager
def _connection(engine: Engine) -> Iterator[Any]:
    with engine.read.connect() as connection, connection.begin():
        yield connection.connection.driver_connection


def _found(engine: Engine, connection: Any) -> Iterator[Finding]:
    from task_copilot.database import postgres

    postgres.check_server(connection)
    version = postgres.stored_version(connection)
    began = time.monotonic()
    release = connection.execute("SHOW server_version").fetchone()[0]
    seconds = time.monotonic() - began
    about = f"{engine.place}, PostgreSQL {release}, tables of version {version}"
    yield ok(SUBJECT, f"{about}, answers in {seconds * 1000:.1f} ms")
    if seconds > SLOW_SECONDS:
        yield note(SUBJECT, "The server is far away: each change waits for it several times.")
    if version < SCHEMA_VERSION:
        yield note(SUBJECT, f"The next session brings its tables to version {SCHEMA_VERSION}.")
        return
    yield from contents(connection)
