"""One write transaction, as an operation of the domain sees it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from sqlalchemy import Connection

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class OutboxEntry:
    """An event that waits for its number: all that the log stores but the ``seq``."""

    topic: str
    event_type: str
    timestamp: str
    payload: str


@dataclass(slots=True)
class Transaction:
    """What an operation gets: a connection under the write lock, and where events wait.

    `outbox` holds the events in the order in which the operations of this transaction
    emitted them; they get their numbers just before the commit. `after_commit` is called
    once the transaction is on disk, and not at all if it is not.
    """

    connection: Connection
    now: str
    outbox: list[OutboxEntry] = field(default_factory=list)
    after_commit: list[Callable[[], None]] = field(default_factory=list)


Operation = Callable[[Transaction], T]
"""A change of the domain. It runs under the write lock, so it must be short, and it may
run twice, so it keeps nothing outside the transaction."""
