"""Hearing of the commits of others: LISTEN on a connection of its own."""

import logging
import select
import socket
import threading
from collections.abc import Callable, Container
from typing import Any

import psycopg

from task_copilot.database.outage import PAUSES
from task_copilot.database.postgres import CHANNEL
from task_copilot.errors import TaskCopilotError, report

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""A notification that is lost, as with a connection, costs at most so long."""

CLOSE_SECONDS = 1.0


class PostgresFollower:
    """A thread that calls `wake` after each notification, and every `LOOK_SECONDS` anyway.

    Notifications of the connections `own` are passed over: who commits knows it already. A
    connection that is lost is made again, and then `wake` is called, as some may have been missed.
    """

    def __init__(
        self,
        arguments: dict[str, Any],
        wake: Callable[[], None],
        own: Container[int],
        translate: Callable[[BaseException], TaskCopilotError | None],
    ) -> None:
        self._arguments = arguments
        self._wake = wake
        self._own = own
        self._translate = translate
        self._ended = threading.Event()
        self._bell, self._rope = socket.socketpair()
        self._failures = 0
        self._thread = threading.Thread(target=self._work, name="follower", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while not self._ended.is_set():
            try:
                with psycopg.Connection.connect(**self._arguments) as connection:
                    connection.execute(f"LISTEN {CHANNEL}")
                    self._failures = 0
                    self._hear(connection)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is tried again
                self._say(error)
                # Without LISTEN it still looks: the others may have a connection.
                self._wake_unless_ended()
                self._ended.wait(PAUSES[min(self._failures, len(PAUSES) - 1)])
                self._failures += 1
        self._bell.close()

    def _say(self, error: BaseException) -> None:
        if self._failures == len(PAUSES):  # not for a moment
            meaning = self._translate(error) or error
            report(logger, "What other processes write is seen late.", meaning)

    def _hear(self, connection: psycopg.Connection[Any]) -> None:
        self._wake_unless_ended()
        while not self._ended.is_set():
            sources: list[int] = [connection.fileno(), self._bell.fileno()]
            ready, _, _ = select.select(sources, [], [], LOOK_SECONDS)
            if not ready or self._told(connection):
                self._wake_unless_ended()

    def _told(self, connection: psycopg.Connection[Any]) -> bool:
        """Takes all that has come; whether some of it was of others."""
        connection.pgconn.consume_input()
        told = False
        while (found := connection.pgconn.notifies()) is not None:
            told |= found.be_pid not in self._own
        return told

    def _wake_unless_ended(self) -> None:
        if not self._ended.is_set():
            self._wake()

    def close(self) -> None:
        """Ends the thread."""
        self._ended.set()
        self._rope.close()  # the other end can be read then
        self._thread.join(CLOSE_SECONDS)
