"""Random histories of a database: what agents and people may do, in any order."""

from collections import deque
from typing import Any

from hypothesis import strategies as st

from support import World
from task_copilot import archive, checkpoints, redact, task_queries, task_updates, tasks
from task_copilot import streams as streams_of
from task_copilot.database.transaction import Transaction
from task_copilot.errors import InvalidInput
from task_copilot.streams import StreamChange
from task_copilot.workspaces import Scope

OPEN = ("pending", "in_progress", "blocked")
STATUSES = (*OPEN, "completed", "cancelled")
STREAMS = ("Stream-A", "Stream-B", "Stream-C")

titles = st.sampled_from(["a", "b", "Ünï 🎈", 'quoted "x"\n'])
streams = st.none() | st.sampled_from(STREAMS)
agents = st.none() | st.sampled_from(["me", "qa", ""])
numbers = st.integers(1, 8)
creations = st.builds(
    lambda title, stream, agent, parent, needs: (
        "create",
        {"title": title, "stream": stream, "agent": agent, "parent": parent, "needs": needs},
    ),
    titles,
    streams,
    agents,
    st.none() | numbers,
    st.none() | st.lists(st.sampled_from(STREAMS), max_size=2).map(tuple),
)


def update(**given: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[str, dict[str, Any]]]:
    return st.fixed_dictionaries({"number": numbers, **given}).map(lambda found: ("update", found))


statuses = st.sampled_from((*STATUSES, "blocked", "blocked"))
places = st.sampled_from((*STREAMS, ""))
dependencies = st.lists(st.sampled_from(STREAMS), max_size=2).map(tuple)
phases = st.sampled_from(["foundation", "parallel", "integration"])
updates = st.one_of(
    update(status=statuses),
    update(status=statuses),
    update(stream_id=places),
    update(stream_id=places, status=statuses, title=titles),
    update(title=titles, assigned_agent=agents, notes=titles),
    update(stream_name=titles, stream_phase=phases),
    update(stream_dependencies=dependencies),
    update(parent=numbers),
    update(metadata=st.dictionaries(titles, st.none() | st.integers(), max_size=2)),
)
keeping = st.builds(lambda number: ("checkpoint", {"number": number}), numbers)
resuming = st.builds(lambda number: ("resume", {"number": number}), numbers)
expiring: st.SearchStrategy[tuple[str, dict[str, Any]]] = st.just(("expire", {}))
finishing = st.builds(lambda stream: ("finish", {"stream": stream}), st.sampled_from(STREAMS))
archiving = st.builds(lambda stream: ("archive", {"stream": stream}), st.sampled_from(STREAMS))
redacting = st.builds(
    lambda number, field: ("redact", {"number": number, "field": field}),
    numbers,
    st.sampled_from(["title", "title", "blockedReason", "notes", "metadata", "checkpoints"]),
)
steps = st.one_of(
    *(creations, updates, updates, updates, keeping, resuming, expiring),
    *(finishing, archiving, redacting),
)
in_other_workspace = st.integers(0, 5).map(lambda number: number == 0)
groups_of_steps = st.lists(
    st.lists(st.tuples(in_other_workspace, steps), min_size=1, max_size=6),
    min_size=4,
    max_size=12,
)


def operation(world: World, kind: str, given: dict[str, Any]) -> Any:
    scope = world.scope
    given = dict(given)
    if kind == "create":
        stream = None
        if given["stream"]:
            stream = StreamChange(
                stream_id=given["stream"], dependencies=given["needs"], name=given.get("name")
            )
        new = tasks.NewTask(
            title=given["title"],
            stream=stream,
            assigned_agent=given["agent"],
            parent=given["parent"],
            files=given.get("files", ()),
        )
        return lambda tx: tasks.create(tx, scope, new)
    if kind == "update":
        number = given.pop("number")
        change = task_updates.TaskChange(**given)
        return lambda tx: task_updates.update_task(tx, scope, number, change)
    if kind == "checkpoint":
        new_checkpoint = checkpoints.NewCheckpoint(expires_in=1)
        return lambda tx: checkpoints.create(tx, scope, given["number"], new_checkpoint, kept=50)
    if kind == "archive":
        return lambda tx: archive.archive(tx, scope, given["stream"])
    if kind == "redact":
        return lambda tx: redact.redact(tx, scope, given["number"], given["field"])
    if kind == "finish":
        return lambda tx: finish(tx, scope, given["stream"])
    if kind == "resume":
        return lambda tx: checkpoints.resume(tx, scope, given["number"], None)
    return checkpoints.expire


def finish(transaction: Transaction, scope: Scope, stream: str) -> None:
    """Completes and archives a stream, which single steps seldom come to."""
    connection = transaction.connection
    wanted = task_queries.TaskFilter(stream_id=stream)
    done = task_updates.TaskChange(status="completed")
    for line in task_queries.page(connection, scope.workspace, wanted, after=0, limit=100):
        task_updates.update_task(transaction, scope, line.id, done)
    found = streams_of.find(connection, scope.workspace.id, stream)
    if found is not None and found.total and not found.archived_at:
        archive.archive(transaction, scope, stream)


def commit(database: Any, operations: list[Any]) -> None:
    """Several operations in one transaction, of which some are refused."""
    waiting = deque(operations)
    while waiting:
        outcomes, _rows = database.committer.commit(waiting)
        for outcome in outcomes:
            assert outcome.error is None or isinstance(outcome.error, InvalidInput)
