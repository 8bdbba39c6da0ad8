"""Whether the client of a connection lives and may stay: looked at from time to time."""

import asyncio
import math
from typing import Protocol

from task_copilot.events.connection import (
    CLOSE_NOT_ALLOWED,
    CLOSE_TRY_LATER,
    Closing,
    Connection,
    WebSocketLimits,
)
from task_copilot.identity import ANYBODY, Identity

RIGHT_SECONDS = 1.0
"""Between two looks at whether a listener's token still holds."""

LOOKS_PER_TIMEOUT = 4
"""Looks at whether a client reads, in the time after which one that does not is closed."""


class Watched(Protocol):
    """The connection, as far as its pulse knows it."""

    def ping(self) -> None:
        """Asks the client whether it lives."""

    def end(self, closing: Closing) -> None:
        """Closes the connection."""

    def fail(self, error: Exception) -> None:
        """Ends the connection because of an error."""


class Pulse:
    """A timer rather than a task: a thousand of them cost next to nothing.

    `sending` is to be set while something waits for the client to read, and `progress` to the
    moment whenever it has read.
    """

    def __init__(
        self, limits: WebSocketLimits, connection: Connection | None, identity: Identity
    ) -> None:
        self.sending = False
        self._limits = limits
        self._connection = connection
        self._is_allowed = identity.valid
        self._loop = asyncio.get_running_loop()
        self.heard = self.progress = self._loop.time()
        self._next_ping = self.heard + limits.ping_interval
        self._pause = min(
            limits.ping_interval,
            limits.listener_timeout / LOOKS_PER_TIMEOUT,
            math.inf if identity is ANYBODY else RIGHT_SECONDS,
        )
        self._sent = 0
        self._timer: asyncio.TimerHandle | None = None

    def start(self, watched: Watched) -> None:
        """Looks until `stop`."""
        due = self._loop.time() + self._pause
        self._timer = self._loop.call_at(due, self._look_at, watched, due)

    def stop(self) -> None:
        """Looks no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look_at(self, watched: Watched, due: float) -> None:
        try:
            self._excuse(self._loop.time() - due)
            self._look_at_progress()
            closing = self._verdict()
            if closing is not None:
                watched.end(closing)
                return
            if self._loop.time() >= self._next_ping:
                self._next_ping += self._limits.ping_interval
                watched.ping()
        except Exception as error:  # noqa: BLE001 - a timer has nobody to raise it to
            watched.fail(error)
            return
        self.start(watched)

    def _verdict(self) -> Closing | None:
        if not self._is_allowed():
            return Closing(CLOSE_NOT_ALLOWED, "the token no longer holds")
        if self._is_long_ago(self._last_heard):
            return Closing(CLOSE_TRY_LATER, "no answer to pings")
        begun = self._connection.begun if self._connection else None
        if begun is not None and self._is_long_ago(begun):
            return Closing(CLOSE_NOT_ALLOWED, "a message was not finished")
        if self.sending and self._is_long_ago(self.progress):
            return Closing(CLOSE_TRY_LATER, "nothing was read for too long")
        return None

    @property
    def _last_heard(self) -> float:
        return max(self.heard, self._connection.last_pong if self._connection else 0.0)

    def _excuse(self, late: float) -> None:
        """A process that was stopped has asked nobody anything and taken no answers: that time
        is not the client's."""
        now = self._loop.time()
        self.heard = min(now, self._last_heard + late)
        self.progress = min(now, self.progress + late)

    def _look_at_progress(self) -> None:
        sent = self._connection.sent() if self._connection else 0
        if sent > self._sent:
            self.progress = self._loop.time()
        self._sent = sent

    def _is_long_ago(self, moment: float) -> bool:
        return self._loop.time() - moment > self._limits.listener_timeout
