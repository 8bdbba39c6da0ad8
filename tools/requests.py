"""Calls that can be sent again: carried out once, and answered the same each time."""

import hashlib
import json
from collections.abc import Callable
from typing import NamedTuple

from task_copilot import jsontext, requests
from task_copilot.database.transaction import Transaction
from task_copilot.requests import Request
from task_copilot.tools.answers import Answer
from task_copilot.tools.arguments import Repeatable
from task_copilot.workspaces import Scope


class Done(NamedTuple):
    """What a change has come to: the number of its task, and the answer."""

    task: int
    answer: Answer


Change = Callable[[Transaction, Scope], Done]
"""What a writing tool does; it may run twice, so it keeps nothing outside the transaction."""


def request_of(tool: str, given: Repeatable) -> Request | None:
    """The request of a call; None where it has no id."""
    if given.request_id is None:
        return None
    return Request(given.request_id, tool, digest(given))


def digest(given: Repeatable) -> str:
    """The same text for arguments that mean the same, whatever their order and their id."""
    meant = given.model_dump(by_alias=True, exclude={"request_id"}, exclude_none=True)
    return hashlib.sha256(json.dumps(meant, sort_keys=True).encode()).hexdigest()


def once(transaction: Transaction, scope: Scope, change: Change, request: Request | None) -> Answer:
    """Carries out `change`, unless `request` was answered before: then that answer again.

    Raises InvalidInput where the id of `request` belongs to another call.
    """
    if request is None:
        return change(transaction, scope).answer
    told = requests.answered(transaction, scope, request)
    if told is not None:
        return Answer(told, jsontext.decode(told))
    task, answer = change(transaction, scope)
    requests.keep(transaction, scope, request, task, answer.text)
    return answer
