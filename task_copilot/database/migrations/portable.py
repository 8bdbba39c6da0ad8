"""What the steps need beside Alembic, for each kind of database. Steps that were released use
it: what it makes stays as it is."""

from typing import Any

import sqlalchemy as sa
from alembic import op

Integer = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def on_postgres() -> bool:
    """Whether the steps run on PostgreSQL."""
    return op.get_bind().dialect.name == "postgresql"


def deferrable() -> dict[str, Any]:
    """For foreign keys. On SQLite every check can wait for the end of a transaction."""
    return {"deferrable": True, "initially": "IMMEDIATE"} if on_postgres() else {}


def reference(name: str, target: str, **options: Any) -> sa.Column[Any]:
    """A column with a foreign key."""
    return sa.Column(name, Integer, sa.ForeignKey(target, **deferrable()), **options)


def make_numbers(*tables: str) -> None:
    """What gives rows their ids on PostgreSQL: 1, 2, 3 … as AUTOINCREMENT of SQLite does, with
    no number lost to a transaction that was rolled back, and none given twice."""
    if not on_postgres():
        return
    numbers = op.create_table(
        "numbers",
        sa.Column("name", Text, primary_key=True),
        sa.Column("last", Integer, nullable=False),
    )
    op.bulk_insert(numbers, [{"name": name, "last": 0} for name in tables])
    op.execute(
        "CREATE FUNCTION next_number(wanted text) RETURNS bigint LANGUAGE sql BEGIN ATOMIC "
        "UPDATE numbers SET last = last + 1 WHERE name = wanted RETURNING last; END"
    )


def make_commits() -> None:
    """Where PostgreSQL's connections sign their commits, so that one whose answer was lost can
    be found out about."""
    if not on_postgres():
        return
    op.create_table(
        "commits",
        sa.Column("writer", Text, primary_key=True),
        sa.Column("number", Integer, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    )


def number(table: str) -> sa.Column[Any]:
    """The column with the id of a row."""
    default = sa.text(f"next_number('{table}')") if on_postgres() else None
    return sa.Column("id", Integer, primary_key=True, server_default=default)
