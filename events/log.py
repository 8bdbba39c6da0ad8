"""The durable event log: a table, numbered 1, 2, 3 … in commit order without holes."""

from typing import NamedTuple

from sqlalchemy import Connection, bindparam, insert, select, update

from task_copilot.database.prepared import Prepared
from task_copilot.database.tables import events, log
from task_copilot.database.transaction import OutboxEntry, Transaction
from task_copilot.events.types import Event, numbered, payload

PAGE_ROWS = 500
PAGE_BYTES = 256 * 1024
"""What is read of the log at once ends with either."""


class LogRow(NamedTuple):
    """One event as it is delivered; `payload` is the JSON text with its ``seq``."""

    seq: int
    topic: str
    timestamp: str
    payload: str


class LogState(NamedTuple):
    """Where the log stands: `epoch` names the database, `head` is the newest ``seq``."""

    epoch: str
    head: int


_TAKE = Prepared(update(log).values(head=log.c.head + bindparam("taken")).returning(log.c.head))
_INSERT = Prepared(insert(events))
_STATE = Prepared(select(log.c.epoch, log.c.head))
_AFTER = Prepared(
    select(events.c.seq, events.c.topic, events.c.timestamp, events.c.payload)
    .where(events.c.seq > bindparam("position"))
    .order_by(events.c.seq)
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


def number(transaction: Transaction) -> list[LogRow]:
    """Gives the waiting events their numbers and writes them; last in a transaction.

    The numbers come from a row of the log that this transaction holds locked until its
    commit, so they have the order of the commits, and no holes.
    """
    outbox = transaction.outbox
    if not outbox:
        return []
    connection = transaction.connection
    head: int = _TAKE.scalar(connection, {"taken": len(outbox)})
    first = head - len(outbox) + 1
    _INSERT.run_many(
        connection,
        [
            {
                "seq": first + place,
                "topic": entry.topic,
                "event_type": entry.event_type,
                "timestamp": entry.timestamp,
                "payload": entry.payload,
            }
            for place, entry in enumerate(outbox)
        ],
    )
    return [
        LogRow(seq, entry.topic, entry.timestamp, numbered(seq, entry.payload))
        for seq, entry in enumerate(outbox, first)
    ]


def tells_of_redaction(row: LogRow) -> bool:
    """Whether earlier events were changed when `row` was written."""
    if not row.topic.startswith("task:"):
        return False
    start = f'{{"seq":{row.seq},"topic":"{row.topic}","eventType":"task.redacted"'
    return row.payload.startswith(start)


def state(connection: Connection) -> LogState:
    """Where the log stands in the transaction of `connection`."""
    return LogState(*_STATE.first(connection, {}))


def rows_after(
    connection: Connection, position: int, limit: int = PAGE_ROWS, size: int = PAGE_BYTES
) -> list[LogRow]:
    """The next events after `position` in order, at most `limit`.

    Fewer where they come to more than `size` characters, but at least one if there is one.
    """
    rows: list[LogRow] = []
    for seq, topic, timestamp, stored in _AFTER.iterate(
        connection, {"position": position, "count": limit}
    ):
        rows.append(LogRow(seq, topic, timestamp, numbered(seq, stored)))
        size -= len(stored)
        if size <= 0:
            break
    return rows
