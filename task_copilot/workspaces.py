"""Workspaces: the projects that share one database."""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, insert, select, update

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
    if location.path is None:
        return _one(connection, workspaces.c.name == location.name)
    return _one(connection, workspaces.c.path == location.path) or _named_only(connection, location)


def _named_only(connection: Connection, location: Location) -> Workspace | None:
    """One that was only ever named, as by an agent on another machine: the folder of that name
    is where its work is."""
    is_it = (workspaces.c.name == location.name) & workspaces.c.path.is_(None)
    return _one(connection, is_it)


def _one(connection: Connection, condition: ColumnElement[bool]) -> Workspace | None:
    row = connection.execute(select(workspaces.c.id, workspaces.c.name).where(condition)).first()
    return None if row is None else Workspace(row.id, row.name)


def ensure(transaction: Transaction, location: Location) -> Workspace:
    """The workspace of `location`, made if it is new."""
    connection = transaction.connection
    found = find(connection, location)
    if found is not None:
        if (
            location.path is not None
            and _one(connection, workspaces.c.path == location.path) is None
        ):
            given = update(workspaces).where(workspaces.c.id == found.id)
            connection.execute(given, {"path": location.path})
        return found
    name = location.name
    taken = select(workspaces.c.id).where(workspaces.c.name == name)
    if connection.execute(taken).first() is not None:
        name = location.other_name
    made = connection.execute(
        insert(workspaces).returning(workspaces.c.id),
        {"name": name, "path": location.path, "created_at": transaction.now},
    )
    return Workspace(made.scalar_one(), name)
