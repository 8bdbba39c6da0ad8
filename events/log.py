"""The durable event log: a table, numbered 1, 2, 3 … in commit order without holes."""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, insert, select, true, update

from task_copilot import jsontext
from task_copilot.database.prepared import Prepared
from task_copilot.database.tables import events, log
from task_copilot.database.transaction import OutboxEntry, Transaction
from task_copilot.events.frames import framed
from task_copilot.events.types import Event, TaskRedacted, numbered, payload

PAGE_ROWS = 500
PAGE_BYTES = 256 * 1024
"""What is read of the log at once ends with either."""

TAIL_ROWS = 50
"""What is read at once of what has just been written: far more than one change adds to it."""


class LogState(NamedTuple):
    """Where the log stands: `epoch` names the database, `head` is the newest ``seq``."""

    epoch: str
    head: int


class About(NamedTuple):
    """What filters ask of an event beside its topic and its type."""

    workspace: str
    actor: str
    stream_id: str | None
    assigned_agent: str | None


class LogRow:
    """One event as it is delivered; `payload` is the JSON text with its ``seq``."""

    def __init__(self, seq: int, topic: str, event_type: str, timestamp: str, payload: str) -> None:
        self.seq = seq
        self.topic = topic
        self.event_type = event_type
        self.timestamp = timestamp
        self.payload = payload
        self._wire: bytes | None = None

    def __repr__(self) -> str:
        return f"<LogRow {self.seq} {self.event_type} {self.topic}>"

    @cached_property
    def about(self) -> About:
        """Read out of the payload when a filter first asks, and kept for the other listeners."""
        content = jsontext.decode(self.payload)
        data = content["data"]
        return About(
            workspace=content["workspace"],
            actor=content["actor"],
            stream_id=data.get("streamId"),
            assigned_agent=data.get("assignedAgent"),
        )

    @property
    def frame(self) -> str:
        """The message of the protocol that brings this event, the same for every listener."""
        return f'{{"type":"event","timestamp":"{self.timestamp}","payload":{self.payload}}}'

    @property
    def wire(self) -> bytes:
        """The same, ready to be written to a WebSocket; kept for the other listeners."""
        # Not a cached_property: in Python 3.11 that takes a lock, once for each event.
        if self._wire is None:
            self._wire = framed(self.frame)
        return self._wire


class LogPage(NamedTuple):
    """Rows of the log with the state of the log in the same transaction."""

    state: LogState
    rows: list[LogRow]


_TAKE = Prepared(update(log).values(head=log.c.head + bindparam("taken")).returning(log.c.head))
_INSERT = Prepared(
    insert(events).inline().values(seq=select(log.c.head - bindparam("behind")).scalar_subquery()),
    columns=("seq", "topic", "event_type", "timestamp", "payload"),
)
_STATE = Prepared(select(log.c.epoch, log.c.head))
_COLUMNS = (
    events.c.seq,
    events.c.topic,
    events.c.event_type,
    events.c.timestamp,
    events.c.payload,
)
_AFTER = Prepared(
    select(*_COLUMNS)
    .where(events.c.seq > bindparam("position"))
    .order_by(events.c.seq)
    .limit(bindparam("count"))
)
_NEWER = (
    select(*_COLUMNS)
    .where(events.c.seq > bindparam("position"))
    .order_by(events.c.seq)
    .limit(bindparam("count"))
    .subquery()
)
_TAIL = Prepared(
    select(log.c.epoch, log.c.head, *_NEWER.c)
    .select_from(log.outerjoin(_NEWER, true()))
    .order_by(_NEWER.c.seq)
)
_UP_TO = Prepared(
    select(*_COLUMNS)
    .where(events.c.seq <= bindparam("position"))
    .order_by(events.c.seq.desc())
    .limit(bindparam("count"))
)


def append(transaction: Transaction, event: Event, actor: str) -> None:
    """Adds `event` to the log in the transaction of the change that it tells of."""
    transaction.outbox.append(
        OutboxEntry(
            topic=event.topic,
            event_type=event.event_type,
            timestamp=transaction.now,
            payload=payload(event, actor=actor, timestamp=transaction.now),
        )
    )


def number(transaction: Transaction) -> Callable[[], list[LogRow]]:
    """Gives the waiting events their numbers and writes them; last in a transaction. Returns
    what tells the new rows once it is committed.

    The numbers come from a row of the log that this transaction holds locked until its
    commit, so they have the order of the commits, and no holes.
    """
    outbox = transaction.outbox
    if not outbox:
        return list
    connection = transaction.connection
    head = _TAKE.ask(connection, {"taken": len(outbox)})
    _INSERT.run_many(
        connection,
        [
            {
                "behind": behind,
                "topic": entry.topic,
                "event_type": entry.event_type,
                "timestamp": entry.timestamp,
                "payload": entry.payload,
            }
            for behind, entry in zip(reversed(range(len(outbox))), outbox, strict=True)
        ],
    )
    return lambda: _numbered(outbox, head() - len(outbox) + 1)


def _numbered(outbox: Sequence[OutboxEntry], first: int) -> list[LogRow]:
    return [
        LogRow(seq, entry.topic, entry.event_type, entry.timestamp, numbered(seq, entry.payload))
        for seq, entry in enumerate(outbox, first)
    ]


def tells_of_redaction(row: LogRow) -> bool:
    """Whether earlier events were changed when `row` was written."""
    return row.event_type == TaskRedacted.event_type


def state(connection: Connection) -> LogState:
    """Where the log stands in the transaction of `connection`."""
    return LogState(*_STATE.first(connection, {}))


def rows_after(
    connection: Connection, position: int, limit: int = PAGE_ROWS, size: int = PAGE_BYTES
) -> list[LogRow]:
    """The next events after `position` in order, at most `limit`.

    Fewer where they come to more than `size` characters, but at least one if there is one.
    """
    return _rows(_AFTER, connection, position, limit, size)


def tail(connection: Connection, position: int) -> LogPage:
    """The next `TAIL_ROWS` events after `position` in order, and where the log stands, read with
    one statement."""
    found = _TAIL.all(connection, {"position": position, "count": TAIL_ROWS})
    epoch, head, *_ = found[0]
    rows = [
        LogRow(seq, topic, event_type, timestamp, numbered(seq, stored))
        for _, _, seq, topic, event_type, timestamp, stored in found
        if seq is not None
    ]
    return LogPage(LogState(epoch, head), rows)


def rows_up_to(
    connection: Connection, position: int, limit: int = PAGE_ROWS, size: int = PAGE_BYTES
) -> list[LogRow]:
    """The events up to `position`, the newest first; as many as `rows_after` gives."""
    return _rows(_UP_TO, connection, position, limit, size)


def _rows(
    statement: Prepared, connection: Connection, position: int, limit: int, size: int
) -> list[LogRow]:
    rows: list[LogRow] = []
    for seq, topic, event_type, timestamp, stored in statement.iterate(
        connection, {"position": position, "count": limit}
    ):
        rows.append(LogRow(seq, topic, event_type, timestamp, numbered(seq, stored)))
        size -= len(stored)
        if size <= 0:
            break
    return rows
