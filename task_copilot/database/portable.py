"""What a database says in its own words, for operations that need not know which it is."""

from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Table, and_, func, literal, select, text
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import Text


class _JsonText(FunctionElement[str]):
    """The text of one key of an object in a JSON text."""

    type = Text()
    inherit_cache = True


@compiles(_JsonText)
def _sqlite_json_text(element: _JsonText, compiler: Any, **options: Any) -> str:
    column, key = (compiler.process(part, **options) for part in element.clauses)
    return f"json_extract({column}, '$.' || {key})"


@compiles(_JsonText, "postgresql")
def _postgres_json_text(element: _JsonText, compiler: Any, **options: Any) -> str:
    column, key = (compiler.process(part, **options) for part in element.clauses)
    return f"(CAST({column} AS json) ->> {key})"


def json_text(column: ColumnElement[str], key: str) -> ColumnElement[str]:
    """The text at `key`, a plain word, of the object in a column."""
    return _JsonText(column, key)


def _on_sqlite(connection: Connection) -> bool:
    return connection.dialect.name == "sqlite"


def defer_foreign_keys(connection: Connection) -> None:
    """Lets the checks of foreign keys wait for the end of the transaction."""
    statement = "PRAGMA defer_foreign_keys=ON"
    if not _on_sqlite(connection):
        statement = "SET CONSTRAINTS ALL DEFERRED"
    connection.execute(text(statement))


def newest_number(connection: Connection, table: Table) -> int:
    """The newest id that a table has ever given; 0 for none."""
    if _on_sqlite(connection):
        query = text("SELECT seq FROM sqlite_sequence WHERE name = :name")
        return int(connection.execute(query, {"name": table.name}).scalar() or 0)
    query = text("SELECT last FROM numbers WHERE name = :name")
    given = int(connection.execute(query, {"name": table.name}).scalar_one())
    # Rows that came with their ids, as those of an import do, were not counted.
    stored = connection.execute(select(func.max(table.c.id))).scalar()
    return max(given, int(stored or 0))


def set_number(connection: Connection, table: Table, number: int) -> None:
    """Makes the next id that a table gives the one after `number`."""
    values = {"name": table.name, "number": number}
    if _on_sqlite(connection):
        connection.execute(text("DELETE FROM sqlite_sequence WHERE name = :name"), values)
        connection.execute(text("INSERT INTO sqlite_sequence VALUES (:name, :number)"), values)
    else:
        connection.execute(text("UPDATE numbers SET last = :number WHERE name = :name"), values)


def count_given(connection: Connection, table: Table) -> None:
    """Makes sure that no id of the present rows is given again, where they came with them."""
    if not _on_sqlite(connection):
        set_number(connection, table, newest_number(connection, table))


def missing_reference(connection: Connection, table: Table) -> str | None:
    """The table of which a row of `table` names a row that is not there; None where all are."""
    for constraint in table.foreign_key_constraints:
        target = constraint.referred_table.alias()
        pairs = [(each.parent, target.c[each.column.name]) for each in constraint.elements]
        query: Select[Any] = (
            select(literal(1))
            .select_from(table.outerjoin(target, and_(*(own == its for own, its in pairs))))
            .where(*(own.is_not(None) for own, _ in pairs), pairs[0][1].is_(None))
            .limit(1)
        )
        if connection.execute(query).first() is not None:
            return constraint.referred_table.name
    return None
