"""Removing all that one workspace has, from the tables and from the log.

The log counts 1, 2, 3 … without holes, and folding it gives the tables. So the events of the
workspace go with its rows, those that stay move together in their order, and the log gets a
new epoch: no listener's cursor is taken for a place in the new numbering.
"""

from sqlalchemy import ColumnElement, Connection, Table, delete, func, select, update

from task_copilot.database import portable, tables
from task_copilot.events import log
from task_copilot.events.log import LogState
from task_copilot.workspaces import Workspace

_TASKS = tables.tasks


def contents(connection: Connection, workspace: Workspace) -> dict[str, int]:
    """How many rows of each table `purge` would remove."""
    return {
        each.name: connection.execute(
            select(func.count()).select_from(each).where(condition)
        ).scalar_one()
        for each, condition in _parts(workspace)
    }


def _parts(workspace: Workspace) -> list[tuple[Table, ColumnElement[bool]]]:
    """What belongs to a workspace, so that no row names one that went before it."""
    its_tasks = select(_TASKS.c.id).where(_TASKS.c.workspace_id == workspace.id)
    events = portable.json_text(tables.events.c.payload, "workspace") == workspace.name
    return [
        (tables.requests, tables.requests.c.workspace_id == workspace.id),
        (tables.checkpoints, tables.checkpoints.c.task_id.in_(its_tasks)),
        (tables.tasks, _TASKS.c.workspace_id == workspace.id),
        (tables.streams, tables.streams.c.workspace_id == workspace.id),
        (tables.events, events),
    ]


def purge(connection: Connection, workspace: Workspace, epoch: str) -> LogState:
    """Removes a workspace in the transaction of `connection`, while nobody else has the
    database open; `epoch` is the new one. Returns where the log stands then.

    Numbers of tasks and checkpoints are not given again.
    """
    portable.defer_foreign_keys(connection)  # subtasks name their parents
    oldest = connection.execute(select(func.min(tables.events.c.seq))).scalar()
    for each, condition in _parts(workspace):
        connection.execute(delete(each).where(condition))
    connection.execute(delete(tables.workspaces).where(tables.workspaces.c.id == workspace.id))
    before = log.state(connection).head
    state = LogState(epoch, before if oldest is None else _renumber(connection, oldest))
    connection.execute(update(tables.log).values(epoch=state.epoch, head=state.head))
    return state


def _renumber(connection: Connection, first: int) -> int:
    """Numbers the events that are left from `first` on without holes; returns the last."""
    seq = tables.events.c.seq
    places = select(
        seq.label("old"), func.row_number().over(order_by=seq).label("place")
    ).subquery()
    # Below zero first: no number is taken twice on the way.
    connection.execute(update(tables.events).where(seq == places.c.old).values(seq=-places.c.place))
    connection.execute(update(tables.events).values(seq=first - 1 - seq))
    left = connection.execute(select(func.count()).select_from(tables.events)).scalar_one()
    return first - 1 + left
