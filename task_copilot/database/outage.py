"""Waiting for a database server that is away for a moment: it restarts, or the network fails."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from task_copilot.errors import StorageUnreachable

T = TypeVar("T")

WAIT_SECONDS = 10.0
"""How long a call waits for the server before it fails."""

PAUSES = (0.02, 0.05, 0.1, 0.2, 0.5)
"""Seconds between two attempts; the last one goes on."""


class Outages:
    """Tries again what failed because the server did not answer, until this is closed."""

    def __init__(self) -> None:
        self._closed = threading.Event()
        self._away: StorageUnreachable | None = None

    def deadline(self) -> float:
        """When a call that comes now has waited for long enough."""
        return time.monotonic() + WAIT_SECONDS

    def through(self, step: Callable[[], T], deadline: float) -> T:
        """The result of `step`, which may be run several times; raises StorageUnreachable when
        its deadline has passed. It is tried once whatever the time is, unless another call has
        just found the server away: those that have waited in a queue meanwhile would each take
        as long as it takes to find that out once more."""
        if (away := self._away) is not None and time.monotonic() > deadline:
            raise StorageUnreachable(str(away))
        attempts = 0
        while True:
            try:
                found = step()
            except StorageUnreachable as error:
                self._away = error
                pause = PAUSES[min(attempts, len(PAUSES) - 1)]
                if time.monotonic() + pause > deadline or self._closed.wait(pause):
                    raise
            else:
                self._away = None
                return found
            attempts += 1

    @property
    def closed(self) -> bool:
        """Whether nobody waits any more."""
        return self._closed.is_set()

    def close(self) -> None:
        """Lets nobody wait any more."""
        self._closed.set()
