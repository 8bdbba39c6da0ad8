"""Workspaces: the projects that share one database."""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, insert, select, update

from task_copilot.database.tables import workspaces
from task_copilot.database.transaction import Transaction
from task_copilot.errors import InvalidInput
from task_copilot.location import Location

MAX_NAME = 100


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


def named(connection: Connection, name: str) -> Workspace | None:
    """The workspace of that name, whatever its folder."""
    return find(connection, Location(name=name, path=None))


def every(connection: Connection) -> list[Workspace]:
    """All workspaces by their names."""
    query = select(workspaces.c.id, workspaces.c.name).order_by(workspaces.c.name)
    return [Workspace(row.id, row.name) for row in connection.execute(query)]


def by_name(transaction: Transaction, name: str) -> Workspace:
    """The workspace of that name, made without a folder if it is new.

    Raises InvalidInput where a new one cannot have the name.
    """
    known = named(transaction.connection, name)
    if known is not None:
        return known
    odd = not name.isprintable() or name != name.strip() or "/" in name or "\\" in name
    if odd or len(name) > MAX_NAME or name.startswith(("~", ".")):
        raise InvalidInput(
            f"workspace: {name[:60]!r} cannot be the name of a new one; it takes 1 to {MAX_NAME} "
            "printable characters without slashes, the first no dot, tilde or space."
        )
    return ensure(transaction, Location(name=name, path=None))


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
