"""What listeners have been told of, in a file that outlives the hub.

A cursor is an epoch and a number. Where the database is put back to an older state, numbers
that listeners have are given to other events; so the log gets a new epoch then. The database
cannot know this by itself: the hub keeps the newest number it has announced beside it.
"""

import logging
import os
import re
import secrets
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Connection, bindparam, update

from task_copilot.database.prepared import Prepared
from task_copilot.database.store import Database
from task_copilot.database.tables import log as log_table
from task_copilot.errors import StorageError, StorageReadOnly
from task_copilot.events import log
from task_copilot.events.log import LogRow, LogState
from task_copilot.private import open_private, private_folder

logger = logging.getLogger(__name__)

EPOCH_BYTES = 8
HEAD_DIGITS = 20
"""A fixed width, so that one write of a few bytes puts a newer state over the older one."""

MAX_BYTES = 1_000
"""Far more than is ever written."""

_FORMAT = re.compile(rb"([0-9a-f]{16}) ([0-9]{20})\n")
_BEGIN_EPOCH = Prepared(update(log_table).values(epoch=bindparam("new_epoch")))


class AnnouncedFile:
    """The file itself. It is never below what a listener has seen, and never above what is
    committed: the hub notes a commit before it tells of it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def read(self) -> LogState | None:
        """What was announced last; None where there is no such file or it is damaged."""
        try:
            with os.fdopen(open_private(self._path, os.O_RDONLY), "rb") as file:
                found = _FORMAT.fullmatch(file.read(MAX_BYTES))
        except FileNotFoundError:
            return None
        return None if found is None else LogState(found[1].decode(), int(found[2]))

    def note(self, state: LogState) -> None:
        """Puts `state` in the place of what is noted; raises OSError.

        Not flushed to the disk: it has to survive the process, and whoever loses power loses
        at most the notice that a restored database is one.
        """
        text = f"{state.epoch} {state.head:0{HEAD_DIGITS}}\n".encode()
        os.pwrite(self._opened(), text, 0)

    def _opened(self) -> int:
        if self._descriptor is None:
            private_folder(self._path.parent)
            self._descriptor = open_private(self._path, os.O_WRONLY | os.O_CREAT)
        return self._descriptor

    def close(self) -> None:
        """Lets go of the file."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def verify(database: Database[LogRow], path: Path, *, shared: bool = False) -> str | None:
    """Gives the log a new epoch where listeners have had what it does not hold. Blocking.

    In a database that is `shared` between machines, each of which remembers what it has
    announced, another epoch than the remembered one is that of whoever was first to find this
    out: it is taken over. A file with another epoch is another file.

    Returns what was found, as a sentence for the user; None where all is as it was left.
    Raises StorageError.
    """
    file = AnnouncedFile(path)
    announced: LogState | None = None
    try:
        # First the file: what it says was committed then, so it cannot be above the log.
        announced = file.read()
        if _agree(announced, database.read_now(log.state)):
            return None
        return database.in_transaction(lambda c: _settle(c, file, shared=shared))
    except (OSError, StorageReadOnly) as error:
        _report(announced, path, error)
        return None
    finally:
        file.close()


def rewrite(
    database: Database[LogRow], path: Path, step: Callable[[Connection], LogState]
) -> LogState:
    """Carries out `step`, which makes another log of this one and returns where that stands,
    while nobody else has the database open. Blocking; raises StorageError.
    """
    file = AnnouncedFile(path)

    def run(connection: Connection) -> LogState:
        state = step(connection)
        file.note(state)  # before the commit, as in `_settle`
        return state

    try:
        return database.alone(run)
    except OSError as error:
        raise StorageError(
            f"{path} cannot be written: {error.strerror}. Nothing was changed."
        ) from None
    finally:
        file.close()


def _report(announced: LogState | None, path: Path, error: Exception) -> None:
    if announced is None:
        # The leader's lock lies in the same folder: who cannot write there says so already.
        logger.info("What listeners are told of cannot be kept in %s: %s", path, error)
    else:
        logger.warning(
            "The database is not the one that listeners were told of, but it cannot be given "
            "a new epoch (%s): they may miss events. Restart them.",
            error,
        )


def _agree(announced: LogState | None, state: LogState) -> bool:
    return announced is not None and announced.epoch == state.epoch and announced.head <= state.head


def _settle(connection: Connection, file: AnnouncedFile, *, shared: bool) -> str | None:
    """Once more, with the lock: nobody else commits or begins an epoch meanwhile.

    The file is written before the commit. Between the two it differs from the log, and who
    compares them then waits for the lock and finds them equal; after a crash there, the next
    one begins yet another epoch, which is right too.
    """
    announced, state = file.read(), log.state(connection)
    if _agree(announced, state):
        return None
    new = state
    taken_over = shared and announced is not None and announced.epoch != state.epoch
    if announced is not None and not taken_over:
        new = LogState(secrets.token_hex(EPOCH_BYTES), state.head)
        _BEGIN_EPOCH.run(connection, {"new_epoch": new.epoch})
    # The head under the lock is not below what the hub announces at the same time.
    file.note(new)
    return None if announced is None or taken_over else _finding(announced, state)


def _finding(announced: LogState, state: LogState) -> str:
    if announced.epoch != state.epoch:
        return "The database is another one than before: listeners start anew."
    return (
        f"The database was restored to an older state: it ends with event {state.head}, and "
        f"listeners have had {announced.head}. They start anew."
    )
