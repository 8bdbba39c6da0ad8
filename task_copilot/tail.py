"""Brings a hub what other processes have committed as soon as it is woken."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import NamedTuple

from task_copilot.database.kept import KeptReader
from task_copilot.events import log
from task_copilot.events.log import LogPage, LogState

logger = logging.getLogger(__name__)


class Standing(NamedTuple):
    """What listeners have been told of the log, and of which opening of the database it is."""

    told: LogState
    generation: int

    def agrees_with(self, later: LogState) -> bool:
        """Whether a log that is read later is the same one: what was told is in it, or else it
        has been put back."""
        return later.epoch == self.told.epoch and later.head >= self.told.head


class Tail:
    """Reads what a hub has not had yet in whichever thread it is asked to, and gives it to the
    event loop, which is that of whoever makes it: `take` gets where the hub stood before the read,
    and the page, or None where it could not be read."""

    def __init__(
        self,
        reader: KeptReader,
        standing: Callable[[], Standing],
        take: Callable[[Standing, LogPage | None], None],
    ) -> None:
        self._reader = reader
        self._standing = standing
        self._take = take
        self._loop = asyncio.get_running_loop()

    def look(self) -> None:
        """Blocking. Never fails: who takes it looks again, and tells why that fails."""
        before = self._standing()
        page: LogPage | None = None
        try:
            page = self._reader.read(lambda c: log.tail(c, before.told.head))
        except Exception as error:  # noqa: BLE001 - see above
            logger.info("The log could not be read at once after a wake-up: %s", error)
        if page is not None and not page.rows and page.state == before.told:
            return  # a forged wake-up, or one for what this process has seen already
        with contextlib.suppress(RuntimeError):  # the loop has ended, and with it the listeners
            self._loop.call_soon_threadsafe(self._take, before, page)

    def close(self) -> None:
        """Lets go of the database; in the thread that looked."""
        self._reader.close()
