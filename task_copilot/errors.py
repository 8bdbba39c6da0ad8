"""Every expected failure of the program.

    TaskCopilotError
    ├── InvalidInput        an argument is not allowed; the message says which and what is
    │   └── NotFound        an id that names nothing here; the message says what does exist
    └── StorageError        the database cannot do it now; nothing was written
        ├── StorageBusy     other processes held the write lock for too long
        ├── StorageReadOnly the database may be read only
        ├── StorageUnreachable  the server of the database does not answer
        ├── OutcomeUnknown  it went away while it was writing; perhaps it has written
        ├── SchemaMismatch  the database belongs to another version of the program
        └── DatabaseMoved   it was moved to another address, which the message names

A message is one or two short sentences for the person or agent who can mend it, without
a traceback. Whatever is not one of these is a defect and is logged with its traceback.
"""

import logging


class TaskCopilotError(Exception):
    """Base of every expected failure; ``str()`` of it is what the user reads."""

    code = "ERROR"


class InvalidInput(TaskCopilotError):
    """The request is not allowed as it stands. Nothing was changed."""

    code = "INVALID_INPUT"


class NotFound(InvalidInput):
    """The request names something that does not exist here. Nothing was changed."""

    code = "NOT_FOUND"


class StorageError(TaskCopilotError):
    """The database could not serve the request. Nothing was written."""

    code = "STORAGE_ERROR"


class StorageBusy(StorageError):
    """Other processes kept the write lock for the whole time that a write may wait."""

    code = "STORAGE_BUSY"


class StorageReadOnly(StorageError):
    """The database may be read and not written."""


class StorageUnreachable(StorageError):
    """The server of the database does not answer. Nothing was written."""

    code = "STORAGE_UNREACHABLE"


class OutcomeUnknown(StorageError):
    """The server of the database went away during a commit, and does not say what became of
    it: the one failure after which something may be written."""

    code = "OUTCOME_UNKNOWN"


class SchemaMismatch(StorageError):
    """The stored tables are of another version than this program."""

    code = "SCHEMA_MISMATCH"


class DatabaseMoved(StorageError):
    """Nobody uses this database any more: all that it holds is at another address now."""

    code = "DATABASE_MOVED"


def report(logger: logging.Logger, meaning: str, error: BaseException) -> None:
    """Logs a failure with what it means for the user; with its traceback where it is a defect."""
    expected = isinstance(error, TaskCopilotError)
    logger.error("%s %s", meaning, error, exc_info=None if expected else error)
