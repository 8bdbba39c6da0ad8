"""One write transaction, as an operation of the domain sees it."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import Connection

from task_copilot.clock import Clock

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class OutboxEntry:
    """An event that waits for its number: all that the log stores but the ``seq``."""

    topic: str
    event_type: str
    timestamp: str
    payload: str


class Transaction:
    """What an operation gets: a connection under the write lock, and where events wait.

    `outbox` holds the events in the order in which the operations of this transaction
    emitted them; they get their numbers just before the commit. `after_commit` is called
    once the transaction is on disk, and not at all if it is not. `began` is the moment from which
    on others have certainly had to wait for it.
    """

    def __init__(
        self, connection: Connection, clock: Clock, hold: Callable[[], None] = lambda: None
    ) -> None:
        self.connection = connection
        self.outbox: list[OutboxEntry] = []
        self.after_commit: list[Callable[[], None]] = []
        self._clock = clock
        self._hold = hold
        self.began = time.monotonic()
        self._now: str | None = None

    @property
    def now(self) -> str:
        """The time of all that it writes: one at which it had the lock, so that times have the
        order of the commits."""
        # No cached_property: Python 3.11 holds one lock for all transactions while it waits here.
        if self._now is None:
            self._hold()
            self.began = time.monotonic()
            self._now = self._clock()
        return self._now


Operation = Callable[[Transaction], T]
"""A change of the domain. It runs under the write lock, so it must be short, and it may
run twice, so it keeps nothing outside the transaction."""
