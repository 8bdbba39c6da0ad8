"""Workspaces: the projects that share one database."""

from dataclasses import dataclass

from sqlalchemy import Connection, insert, select

from task_copilot.database.tables import workspaces
from task_copilot.database.transaction import Transaction
from task_copilot.location import Location


@dataclass(frozen=True, slots=True)
class Workspace:
    """A workspace as the database knows it."""

    id: int
    name: str


@dataclass(frozen=True, slots=True)
class Scope:
    """Where and as whom an operation acts."""

    workspace: Workspace
    actor: str


def find(connection: Connection, location: Location) -> Workspace | None:
    """The workspace of `location`; None if nothing was ever written there."""
    same = (
        workspaces.c.path == location.path
        if location.path is not None
        else workspaces.c.name == location.name
    )
    row = connection.execute(select(workspaces.c.id, workspaces.c.name).where(same)).first()
    return None if row is None else Workspace(row.id, row.name)


def ensure(transaction: Transaction, location: Location) -> Workspace:
    """The workspace of `location`, made if it is new."""
    found = find(transaction.connection, location)
    if found is not None:
        return found
    name = location.name
    taken = select(workspaces.c.id).where(workspaces.c.name == name)
    if transaction.connection.execute(taken).first() is not None:
        name = location.other_name
    made = transaction.connection.execute(
        insert(workspaces).returning(workspaces.c.id),
        {"name": name, "path": location.path, "created_at": transaction.now},
    )
    return Workspace(made.scalar_one(), name)
