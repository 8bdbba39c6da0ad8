"""How long events stay in the log: what is kept is its newest stretch, without holes."""

from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, delete, func, select

from task_copilot.clock import minutes_after
from task_copilot.database.prepared import Prepared
from task_copilot.database.tables import events
from task_copilot.database.transaction import Transaction
from task_copilot.events import log

EVENTS_AT_ONCE = 500
BYTES_AT_ONCE = 1024 * 1024
"""One transaction removes at most so many events or bytes of them, so that it takes a few
milliseconds: other processes wait for the lock meanwhile. One event always goes."""

MINUTES_OF_A_DAY = 24 * 60


@dataclass(frozen=True, slots=True)
class Kept:
    """What stays in the log: every event from `since` on, a time (None: age keeps nothing), and
    every event after number `after`."""

    since: str | None
    after: int


_FIRST = Prepared(
    select(events.c.seq, events.c.timestamp, func.octet_length(events.c.payload).label("size"))
    .where(events.c.seq <= bindparam("last"))
    .order_by(events.c.seq)
    .limit(bindparam("count"))
)
_OLDEST = Prepared(select(events.c.seq).order_by(events.c.seq).limit(1))
_DELETE = Prepared(delete(events).where(events.c.seq <= bindparam("last")))


def kept(head: int, now: str, *, days: float, count: int) -> Kept:
    """What stays at `now`, with the log at `head`, where events are kept for `days` and the
    newest `count` of them anyway.

    Whole minutes count; with 0 `days` age keeps nothing.
    """
    since = minutes_after(now, -round(days * MINUTES_OF_A_DAY)) if days else None
    return Kept(since, head - count)


def oldest(connection: Connection) -> int:
    """The ``seq`` of the oldest event that the log still has; the next one's where it has none."""
    found: int | None = _OLDEST.scalar(connection, {})
    return log.state(connection).head + 1 if found is None else found


def any_removable(connection: Connection, keeping: Kept) -> bool:
    """Whether `prune` would remove something."""
    return _removable(connection, keeping, 1)[1] > 0


def prune(transaction: Transaction, keeping: Kept) -> int:
    """Removes the oldest events, up to the first that stays; returns how many.

    Where the clock was set back, old events stand behind young ones and stay as long as these:
    what the log has is one stretch. At most `EVENTS_AT_ONCE` and `BYTES_AT_ONCE`; call again
    while `any_removable`. The head of the log and the numbers of new events are not affected.
    """
    last, count = _removable(transaction.connection, keeping, EVENTS_AT_ONCE)
    if count:
        _DELETE.run(transaction.connection, {"last": last})
    return count


def _removable(connection: Connection, keeping: Kept, limit: int) -> tuple[int, int]:
    """The last of the next events to go, and how many they are."""
    last = count = size = 0
    for row in _FIRST.iterate(connection, {"last": keeping.after, "count": limit}):
        size += row.size
        stays = keeping.since is not None and row.timestamp >= keeping.since
        if stays or (count and size > BYTES_AT_ONCE):
            break
        last, count = row.seq, count + 1
    return last, count
