"""Notices that the database has changed, whichever process changed it."""

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Any

from sqlalchemy import Engine

from task_copilot.errors import report

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.05
"""Pause between two looks; each costs some microseconds and reads no table."""

LOOK_AGAIN_SECONDS = 1.0
"""Pause after a look that failed."""


class ChangeWatch:
    """A thread that calls `on_change` in the event loop after every commit of any process.

    Several commits between two looks make one call.
    """

    def __init__(
        self,
        engine: Engine,
        version_of: Callable[[Any], int],
        on_change: Callable[[], None],
    ) -> None:
        self._engine = engine
        self._version_of = version_of
        self._on_change = on_change
        self._loop = asyncio.get_running_loop()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="watch", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while not self._stopped.is_set():
            try:
                self._look()
            except Exception as error:  # noqa: BLE001 - whatever it is, it is tried again
                meaning = "Changes of other processes are seen late."
                report(logger, meaning, error)
                self._stopped.wait(LOOK_AGAIN_SECONDS)

    def _look(self) -> None:
        connection = self._engine.raw_connection()
        try:
            # A number that only compares with itself on the same connection.
            known = self._version_of(connection.driver_connection)
            self._notify()  # of what came before the first look
            while not self._stopped.wait(LOOK_SECONDS):
                version = self._version_of(connection.driver_connection)
                if version != known:
                    known = version
                    self._notify()
        finally:
            connection.close()

    def _notify(self) -> None:
        if not self._stopped.is_set():
            self._loop.call_soon_threadsafe(self._on_change)

    def close(self) -> None:
        """Ends the thread, within one look."""
        self._stopped.set()
        self._thread.join(LOOK_SECONDS * 2)
