"""What PostgreSQL's errors mean for the user."""

import psycopg
from sqlalchemy.exc import DBAPIError

from task_copilot.errors import (
    InvalidInput,
    StorageBusy,
    StorageError,
    StorageReadOnly,
    StorageUnreachable,
    TaskCopilotError,
)

_LOST = ("08", "57P01", "57P02", "57P03", "57P05", "25P03", "25P04")
"""Beginnings of the codes after which the connection is gone, and the server back soon."""

_AGAIN = ("starting up", "shutting down", "recovery", "not yet accepting", "not accepting")
_FULL = ("too many clients", "connection slots", "too many connections")
"""What a server says that refuses a connection for the moment. It has no code then."""

_MEANINGS: dict[str, tuple[type[StorageError], str]] = {
    "53100": (StorageError, "its server's disk is full. Free some space and try again"),
    "53300": (StorageUnreachable, "its server takes no more connections. Raise max_connections"),
    "53": (StorageError, "its server has not enough memory or room. Look at the server's log"),
    "55P03": (StorageBusy, "other processes kept it locked. Try again"),
    "40": (StorageBusy, "another transaction was in the way. Try again"),
    "57014": (StorageBusy, "the server cancelled the statement. Try again"),
    "25006": (StorageReadOnly, "it may only be read, as on a standby. Name the primary server"),
    "42501": (
        StorageReadOnly,
        "this role may not use it so. Grant it the rights, or make it the owner of the database",
    ),
    "42P01": (StorageError, "its tables are gone. Restart this server"),
    "3F000": (StorageError, "the schema of its search_path is not there. Make it"),
    "XX001": (StorageError, "it is damaged. Restore it from a backup"),
    "XX002": (StorageError, "an index is damaged. REINDEX it, and look at the server's log"),
    "58": (StorageError, "its server cannot read or write its disk. Look at the server's log"),
}
"""By codes or their beginnings, longest first."""


def translate(error: BaseException, place: str) -> TaskCopilotError | None:
    """What a driver's error means for the user; None if it is a defect of ours."""
    original = error.orig if isinstance(error, DBAPIError) else error
    if not isinstance(original, psycopg.Error):
        return None
    code = original.sqlstate
    if code is None:
        return _without_code(original, place)
    if code.startswith(_LOST):
        return _unreachable(place, _words(original))
    for known in sorted(_MEANINGS, key=len, reverse=True):
        if code.startswith(known):
            kind, meaning = _MEANINGS[known]
            return kind(f"Nothing was written: {place}: {meaning}.")
    return None


def _without_code(error: psycopg.Error, place: str) -> TaskCopilotError | None:
    words = _words(error)
    if isinstance(error, psycopg.DataError) and "NUL" in words:
        return InvalidInput("A text holds a NUL character, which cannot be stored; leave it out.")
    if isinstance(error, psycopg.ProgrammingError):  # of the URL's parameters
        if "connection option" in words or "conninfo" in words:
            return StorageError(f"TASK_COPILOT_DATABASE_URL: {place}: {words}.")
        return None
    if not isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return None
    if "no password supplied" in words:
        return StorageError(
            f"The server of {place} wants a password, and there is none. Put it into ~/.pgpass, "
            "mode 0600, or name its file in PGPASSFILE (docs/team.md)."
        )
    refused = "FATAL" in str(error)
    if refused and any(part in words for part in _FULL):
        return StorageUnreachable(
            f"Nothing was written: {place}: its server takes no more connections ({words}). End "
            "sessions, or raise its max_connections."
        )
    if refused and not any(part in words for part in _AGAIN):
        return StorageError(f"The database {place} cannot be used: {words}.")
    return _unreachable(place, words)


def _unreachable(place: str, words: str) -> StorageUnreachable:
    return StorageUnreachable(
        f"The database {place} does not answer: {words}. Nothing was written; is its server "
        "running? Try again when it is."
    )


def _words(error: psycopg.Error) -> str:
    """The driver's sentence without what stands around it."""
    message = error.diag.message_primary
    if message is None:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        failed = [line for line in lines if "failed: " in line] or lines or [type(error).__name__]
        message = failed[-1].rpartition("failed: ")[2].rpartition("FATAL: ")[2]
    return message.strip().rstrip(".")
