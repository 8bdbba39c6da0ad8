"""Ids that callers give to their calls, so that a call can be sent again without harm.

A change, its events and its answer are stored in one transaction: whoever asks again with
the same id, in whichever process, gets that answer.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from task_copilot.clock import minutes_after
from task_copilot.database.prepared import Prepared
from task_copilot.database.tables import requests
from task_copilot.database.transaction import Transaction
from task_copilot.errors import InvalidInput
from task_copilot.ids import task_id
from task_copilot.workspaces import Scope

MINUTES_KNOWN = 24 * 60
"""How long an id is known. Who has had no answer asks again within minutes; a day is enough
for a session that goes on the next morning."""

FORGOTTEN_AT_ONCE = 100
"""Ids that one transaction forgets: with their answers they are at most 6 MB."""

TELLING_TOOL = "checkpoint_resume"
"""The tool whose answers hold what people wrote; the others answer ids, states and times."""


@dataclass(frozen=True, slots=True)
class Request:
    """A call that may come again; `digest` stands for its arguments without the id."""

    id: str
    tool: str
    digest: str


_FIND = Prepared(
    select(
        *(requests.c.tool, requests.c.task_id, requests.c.digest),
        *(requests.c.answer, requests.c.created_at),
    ).where(
        requests.c.workspace_id == bindparam("workspace"),
        requests.c.request_id == bindparam("request"),
    )
)
_INSERT = Prepared(insert(requests))
_DELETE = Prepared(
    delete(requests).where(
        requests.c.workspace_id == bindparam("workspace"),
        requests.c.request_id == bindparam("request"),
    )
)


def known_since(now: str) -> str:
    """The time from which on ids are known at `now`."""
    return minutes_after(now, -MINUTES_KNOWN)


def answered(transaction: Transaction, scope: Scope, request: Request) -> str | None:
    """The text that `request` was answered within the last day; None where it is new.

    Raises InvalidInput where its id belongs to another call, or where the answer is redacted.
    """
    key = {"workspace": scope.workspace.id, "request": request.id}
    row = _FIND.first(transaction.connection, key)
    if row is None:
        return None
    if row.created_at < known_since(transaction.now):
        _DELETE.run(transaction.connection, key)
        return None
    return _answer_of(row, request)


def _answer_of(row: Any, request: Request) -> str:
    used = f"requestId: {request.id!r} was used for {row.tool} at {row.created_at}"
    if row.tool != request.tool:
        raise InvalidInput(f"{used}. Nothing was changed; take a new id for this call.")
    if row.answer is None:
        raise InvalidInput(
            f"{used}: that call was carried out, and its answer has been redacted since. Nothing "
            f"was changed now; task_get id={task_id(row.task_id)} shows the task as it is."
        )
    if row.digest != request.digest:
        raise InvalidInput(
            f"{used} with other arguments. Nothing was changed; take a new id for this call."
        )
    answer: str = row.answer
    return answer


def keep(transaction: Transaction, scope: Scope, request: Request, task: int, answer: str) -> None:
    """Stores the text that `request`, a change of `task`, is answered; once `answered` is None."""
    row = {
        "workspace_id": scope.workspace.id,
        "request_id": request.id,
        "tool": request.tool,
        "task_id": task,
        "digest": request.digest,
        "answer": answer,
        "created_at": transaction.now,
    }
    _INSERT.run(transaction.connection, row)


def redact(connection: Connection, task: int) -> int:
    """Removes what stored answers and digests of arguments say of `task`; their ids stay known.

    Returns how many of them held what people wrote.
    """
    of_task = (requests.c.task_id == task, requests.c.answer.is_not(None))
    tools = connection.execute(select(requests.c.tool).where(*of_task)).scalars().all()
    connection.execute(update(requests).where(*of_task).values(answer=None, digest=None))
    return tools.count(TELLING_TOOL)


_OLDEST = select(requests.c.workspace_id, requests.c.request_id).order_by(requests.c.created_at)


def any_before(connection: Connection, time: str) -> bool:
    """Whether `forget` would remove something."""
    query = select(requests.c.request_id).where(requests.c.created_at < time)
    return connection.execute(query.limit(1)).first() is not None


def forget(transaction: Transaction, before: str) -> int:
    """Removes the oldest ids from before a time; returns how many, at most `FORGOTTEN_AT_ONCE`."""
    connection = transaction.connection
    old = _OLDEST.where(requests.c.created_at < before).limit(FORGOTTEN_AT_ONCE)
    rows = connection.execute(old).all()
    for row in rows:
        _DELETE.run(connection, {"workspace": row.workspace_id, "request": row.request_id})
    return len(rows)
