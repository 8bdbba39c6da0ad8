"""The connection of PostgreSQL that writes: many statements in one message to the server.

Whoever writes holds the one lock of all writers, so each message that goes to the server and back
meanwhile keeps everybody waiting. Statements whose results nobody needs wait here, therefore, and
go with the next one that somebody waits for, which is at the latest the commit. Each is prepared
on the server once.
"""

import itertools
import secrets
from collections.abc import Callable, Generator, Sequence
from typing import Any

import psycopg
from psycopg.adapt import Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGresult
from psycopg.waiting import Ready, Wait

from task_copilot.database.postgres_answers import AnsweringConnection

Values = Sequence[str | int | None]
"""What statements are given: the columns hold texts and whole numbers only."""

_DONE = (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK)
_FAILED = (ExecStatus.FATAL_ERROR, ExecStatus.NONFATAL_ERROR, ExecStatus.BAD_RESPONSE)


class Answer:
    """What a statement comes to, once it was sent."""

    __slots__ = ("_connection", "result", "text", "values")

    def __init__(self, connection: "WritingConnection", text: bytes, values: Values) -> None:
        self._connection = connection
        self.text = text
        self.values = [None if value is None else _encoded(value) for value in values]
        self.result: PGresult | None = None

    def take(self, result: PGresult) -> None:
        """Is called with what the server has sent."""
        self.result = result

    @property
    def is_good(self) -> bool:
        """Whether the server has carried the statement out."""
        return self.result is not None and self.result.status in _DONE

    @property
    def status(self) -> bytes:
        """What the server calls the statement that it has carried out."""
        return (self.result and self.result.command_status) or b""

    def rows(self, make: Callable[[Sequence[Any]], Any] = tuple) -> list[Any]:
        """Its rows; the statement is sent if it was not yet."""
        if self.result is None:
            self._connection.settle()
        if self.result is None:
            raise psycopg.InterfaceError("a statement was not sent")
        loading = Transformer(self._connection)
        loading.set_pgresult(self.result)
        return loading.load_rows(0, self.result.ntuples, make)

    def scalar(self) -> Any:
        """The first column of the first row, or None."""
        rows = self.rows()
        return rows[0][0] if rows else None


def _encoded(value: str | int) -> bytes:
    if isinstance(value, int):
        return b"%d" % value
    encoded = value.encode()
    if b"\0" in encoded:
        # In the words of the driver, which would have refused it too.
        raise psycopg.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes")
    return encoded


class _CountingCursor(psycopg.Cursor[Any]):
    """Notes that something was written, which PostgreSQL does not count by itself."""

    def execute(self, *arguments: Any, **options: Any) -> "_CountingCursor":
        self._writing.settle()
        super().execute(*arguments, **options)
        self._note()
        return self

    def executemany(self, *arguments: Any, **options: Any) -> None:
        self._writing.settle()
        super().executemany(*arguments, **options)
        self._note()

    @property
    def _writing(self) -> "WritingConnection":
        connection: Any = self.connection
        writing: WritingConnection = connection
        return writing

    def _note(self) -> None:
        if self.rowcount and not (self.statusmessage or "").startswith("SELECT"):
            self._writing.written += 1


class WritingConnection(AnsweringConnection):
    """A connection with what is known of its present transaction.

    `locking` and `version` are its first answers; `check` is called once when they are there, and
    may raise. `written` counts statements that write; `failed` says that one of those that were
    sent has failed, which may have been another operation's than the one that saw the error.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.cursor_factory = _CountingCursor
        self.locking: Answer | None = None
        self.version: Answer | None = None
        self.check: Callable[[WritingConnection], None] | None = None
        self.written = 0
        self.written_before = 0
        self.failed = False
        self.name = secrets.token_hex(8)
        self.commits = 0
        self.pid = 0
        self._waiting: list[Answer] = []
        self._names: dict[bytes, bytes] = {}
        self._numbers = itertools.count()

    def later(self, text: bytes, values: Values = ()) -> Answer:
        """Sends a statement with the next one whose answer is asked for."""
        answer = Answer(self, text, values)
        self._waiting.append(answer)
        return answer

    def forget(self) -> None:
        """Sends nothing of what waits, and takes the transaction for ended."""
        self._waiting.clear()
        self.locking = self.version = self.check = None
        self.failed = False

    @property
    def has_begun(self) -> bool:
        """Whether the present transaction has the lock, and may go on."""
        return self.check is None and self.locking is not None and self.locking.is_good

    def settle(self) -> None:
        """Sends what waits, in one message, and returns when all of it is done."""
        if not self._waiting:
            return
        sent, self._waiting = self._waiting, []
        try:
            with self.lock:
                self.wait(self._exchange(sent))
        except BaseException as error:
            self.failed = True
            if not isinstance(error, psycopg.Error):
                self.close()  # nobody knows what is still to come on it
            self._check()  # of which the error may be a consequence
            raise
        self._check()

    def _check(self) -> None:
        if self.check is not None and self.version is not None and self.version.is_good:
            try:
                self.check(self)
            except BaseException:
                self.failed = True
                raise
            self.check = None

    def _exchange(self, sent: Sequence[Answer]) -> Generator[Wait, Ready | int, None]:
        """One message there and one back; raises the error of the first that failed."""
        self.pgconn.enter_pipeline_mode()
        expected = self._put(sent)
        self.pgconn.pipeline_sync()
        error: Exception | None = None
        try:
            for take in expected:
                result = yield from self._next_result()
                if result.status in _FAILED and error is None:
                    error = error_from_result(result, encoding="utf-8")
                take(result)
            end = yield from self._next_result()  # that of the sync
        except psycopg.OperationalError as lost:
            raise error or lost from None
        if end.status in _FAILED:
            # The server has carried all of it out, and was told meanwhile to end the connection.
            # That it has ended is seen only later otherwise, and a commit would be made again.
            self.pgconn.finish()
            raise error or error_from_result(end, encoding="utf-8")
        self.pgconn.exit_pipeline_mode()
        if error is not None:
            raise error

    def _put(self, sent: Sequence[Answer]) -> list[Callable[[PGresult], None]]:
        """Who takes the results that the server will send, in their order."""
        takers: list[Callable[[PGresult], None]] = []
        names = dict(self._names)
        for answer in sent:
            if answer.text not in names:
                names[answer.text] = name = b"tc%d" % next(self._numbers)
                self.pgconn.send_prepare(name, answer.text)
                takers.append(self._keeper(answer.text, name))
            self.pgconn.send_query_prepared(names[answer.text], answer.values)
            takers.append(answer.take)
        return takers

    def _keeper(self, text: bytes, name: bytes) -> Callable[[PGresult], None]:
        def keep(result: PGresult) -> None:
            if result.status == ExecStatus.COMMAND_OK:
                self._names[text] = name

        return keep

    def _next_result(self) -> Generator[Wait, Ready | int, PGresult]:
        pgconn = self.pgconn
        while True:
            while pgconn.flush():
                if (yield Wait.RW) & Ready.R:
                    pgconn.consume_input()
            while pgconn.is_busy():
                if (yield Wait.R):
                    pgconn.consume_input()
            result = pgconn.get_result()
            if result is not None:  # None stands between the results of two statements
                return result
