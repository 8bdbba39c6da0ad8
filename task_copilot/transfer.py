"""A whole database as lines of JSON, and back: the same ids, numbers and epoch.

The first line says what follows: the format, where the log stands, and how many rows each
table has. Each other line is one row, ``{"table": …, "row": {…}}``, with every column.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import Connection, Table, func, insert, select, update

from task_copilot import jsontext
from task_copilot.database import portable, tables
from task_copilot.database.tables import SCHEMA_VERSION
from task_copilot.errors import InvalidInput
from task_copilot.events import log
from task_copilot.events.log import LogState
from task_copilot.transfer_rows import BY_NAME, MAX_INTEGER, TABLES, checked_row, decoded

FORMAT = "task-copilot-export"
VERSION = 1
ROWS_AT_ONCE = 500

_NUMBERED = (tables.tasks, tables.checkpoints)
"""Tables whose numbers are never given twice, also after the newest row is gone."""

_COUNTED = tuple(each.name for each in _NUMBERED)


def lines(connection: Connection, now: str) -> Iterator[str]:
    """The lines of a database as it is in the transaction of `connection`."""
    state = log.state(connection)
    yield jsontext.encode(
        {
            "format": FORMAT,
            "version": VERSION,
            "tables": SCHEMA_VERSION,
            "exportedAt": now,
            "epoch": state.epoch,
            "head": state.head,
            "numbers": numbers(connection),
            "rows": row_counts(connection),
        }
    )
    for each in TABLES:
        query = select(each).order_by(*each.primary_key.columns)
        found = connection.execution_options(yield_per=ROWS_AT_ONCE).execute(query)
        for row in found.mappings():
            yield jsontext.encode({"table": each.name, "row": dict(row)})


def numbers(connection: Connection) -> dict[str, int]:
    """The newest number that each counted table has ever given; 0 for none."""
    return {each.name: portable.newest_number(connection, each) for each in _NUMBERED}


def row_counts(connection: Connection) -> dict[str, int]:
    """How many rows each table has."""
    return {
        each.name: connection.execute(select(func.count()).select_from(each)).scalar_one()
        for each in TABLES
    }


def load(connection: Connection, given: Iterable[str]) -> LogState:
    """Fills an empty database from lines, in the transaction of `connection`.

    Returns where its log stands then. Raises InvalidInput that names the line, and then the
    transaction must not be committed.
    """
    require_empty(connection)
    portable.defer_foreign_keys(connection)
    source = iter(given)
    header = _header(next(source, ""))
    found = Counter[str]()
    waiting: list[dict[str, Any]] = []
    current: Table | None = None
    for number, line in enumerate(source, 2):
        each, row = checked_row(number, line)
        if each is not current or len(waiting) == ROWS_AT_ONCE:
            _insert(connection, current, waiting, number)
            current = each
        waiting.append(row)
        found[each.name] += 1
    _insert(connection, current, waiting, sum(found.values()) + 2)
    state = LogState(header["epoch"], header["head"])
    _finish(connection, header, state)
    _check_whole(connection, header, found, state)
    return state


def require_empty(connection: Connection) -> None:
    """Raises InvalidInput where a database holds something, or has held it."""
    filled = [name for name, count in row_counts(connection).items() if count]
    if filled or log.state(connection).head:
        raise InvalidInput(
            f"The database is not empty: it has {', '.join(filled) or 'had events'}. Nothing was "
            "changed; import into a new one: task-copilot --database-url URL import FILE"
        )


def _header(line: str) -> dict[str, Any]:
    found = decoded(1, line)
    if found.get("format") != FORMAT:
        raise InvalidInput(f"Line 1: this is no export of Task Copilot; it has no {FORMAT!r}.")
    if (found.get("version"), found.get("tables")) != (VERSION, SCHEMA_VERSION):
        raise InvalidInput(
            f"Line 1: the export is of version {found.get('version')!r} with tables "
            f"{found.get('tables')!r}; this program reads version {VERSION} with tables "
            f"{SCHEMA_VERSION}. Use the Task Copilot that made it, or export it anew."
        )
    counts = [*_counts(found, "rows", BY_NAME), *_counts(found, "numbers", _COUNTED)]
    epoch = found.get("epoch")
    if not isinstance(epoch, str) or not epoch or not _all_counts([found.get("head"), *counts]):
        raise InvalidInput("Line 1: epoch, head, rows or numbers are not what an export has.")
    return found


def _counts(found: dict[str, Any], name: str, wanted: Iterable[str]) -> list[Any]:
    part = found.get(name)
    return [part.get(key) if isinstance(part, dict) else None for key in wanted]


def _all_counts(values: Iterable[object]) -> bool:
    return all(type(value) is int and 0 <= value <= MAX_INTEGER for value in values)


def _insert(
    connection: Connection, each: Table | None, rows: list[dict[str, Any]], line: int
) -> None:
    if each is None or not rows:
        return
    from sqlalchemy.exc import IntegrityError

    try:
        connection.execute(insert(each), rows)
    except IntegrityError as error:
        first = line - len(rows)
        raise InvalidInput(
            f"Lines {first} to {line - 1}: {each.name} does not take them: {error.orig}."
        ) from None
    rows.clear()


def _finish(connection: Connection, header: dict[str, Any], state: LogState) -> None:
    connection.execute(update(tables.log).values(epoch=state.epoch, head=state.head))
    portable.count_given(connection, tables.workspaces)
    for name, given in numbers(connection).items():
        wanted = max(given, header["numbers"][name])
        if wanted:
            portable.set_number(connection, BY_NAME[name], wanted)


def _check_whole(
    connection: Connection, header: dict[str, Any], found: Counter[str], state: LogState
) -> None:
    for name, wanted in header["rows"].items():
        if found[name] != wanted:
            raise InvalidInput(
                f"The export is not whole: it has {found[name]:,} rows of {name} and should have "
                f"{wanted:,}. Nothing was changed."
            )
    for reason in (
        _missing_rows(connection),
        _broken_log(connection, state),
        _miscounted(connection),
    ):
        if reason is not None:
            raise InvalidInput(f"The export contradicts itself: {reason}. Nothing was changed.")


def _missing_rows(connection: Connection) -> str | None:
    for each in TABLES:
        if (target := portable.missing_reference(connection, each)) is not None:
            return f"a row of {each.name} names one of {target} that is not there"
    return None


def _broken_log(connection: Connection, state: LogState) -> str | None:
    seq = tables.events.c.seq
    first, last, number = connection.execute(
        select(func.min(seq), func.max(seq), func.count())
    ).one()
    if number and (last != state.head or first < 1 or last - first + 1 != number):
        return f"events 1 to {state.head} have holes"
    return None


_COUNTERS = ("pending", "in_progress", "blocked", "completed")


def _miscounted(connection: Connection) -> str | None:
    streams, tasks = tables.streams, tables.tasks
    for status in _COUNTERS:
        of_stream = (
            select(func.count())
            .where(
                tasks.c.workspace_id == streams.c.workspace_id,
                tasks.c.stream_id == streams.c.stream_id,
                tasks.c.status == status,
            )
            .scalar_subquery()
        )
        query = select(streams.c.stream_id).where(streams.c[status] != of_stream).limit(1)
        if (wrong := connection.execute(query).scalar()) is not None:
            return f"{wrong} does not count its {status} tasks right"
    return None
