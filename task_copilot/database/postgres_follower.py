"""Hearing of the commits of others: LISTEN on a connection of its own."""

import logging
import selectors
import socket
import threading
from collections.abc import Callable, Container
from typing import Any

from task_copilot.database.outage import PAUSES
from task_copilot.database.postgres import CHANNEL
from task_copilot.database.postgres_answers import AnsweringConnection
from task_copilot.errors import TaskCopilotError, report

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""A notification that is lost, as with a connection, costs at most so long."""

SILENCE_SECONDS = 10.0
"""After so long without a notification the server is asked whether it is still there."""

CHECK_SECONDS = 5.0
"""How long it may take to answer that."""

CLOSE_SECONDS = 1.0


class PostgresFollower:
    """Threads that call `wake` after each notification, and every `LOOK_SECONDS` anyway.

    Notifications of the connections `own` are passed over: who commits knows it already. A
    connection that is lost is made again, and then `wake` is called, as some may have been
    missed. Who looks is another thread than who listens: making a connection can take long.
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
        self._threads = [
            threading.Thread(target=work, name="follower", daemon=True)
            for work in (self._listen, self._look)
        ]
        for thread in self._threads:
            thread.start()

    def _look(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            self._wake()

    def _listen(self) -> None:
        while not self._ended.is_set():
            try:
                with AnsweringConnection.connect(**self._arguments) as connection:
                    connection.answers_within = CHECK_SECONDS
                    connection.execute(f"LISTEN {CHANNEL}")
                    self._failures = 0
                    self._hear(connection)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is tried again
                self._say(error)
                self._ended.wait(PAUSES[min(self._failures, len(PAUSES) - 1)])
                self._failures += 1
        self._bell.close()

    def _say(self, error: BaseException) -> None:
        if self._failures == len(PAUSES):  # not for a moment
            meaning = self._translate(error) or error
            report(logger, "What other processes write is seen late.", meaning)

    def _hear(self, connection: AnsweringConnection) -> None:
        self._wake_unless_ended()
        with selectors.DefaultSelector() as sources:  # select() takes only the first 1,024 files
            sources.register(connection.fileno(), selectors.EVENT_READ)
            sources.register(self._bell, selectors.EVENT_READ)
            while not self._ended.is_set():
                ready = sources.select(SILENCE_SECONDS)
                if not ready:
                    connection.execute("SELECT 1", prepare=False)  # may swallow notifications
                if not ready or self._told(connection):
                    self._wake_unless_ended()

    def _told(self, connection: AnsweringConnection) -> bool:
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
        """Ends the threads."""
        self._ended.set()
        self._rope.close()  # the other end can be read then
        for thread in self._threads:
            thread.join(CLOSE_SECONDS)
