"""Streams that were put away, and indexes for what listeners and the HTTP API ask."""

import sqlalchemy as sa
from alembic import op

from task_copilot.database.migrations.portable import Text

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("streams", sa.Column("archived_at", Text))
    op.create_index("tasks_by_change", "tasks", ["workspace_id", "stream_id", "updated_at"])
    make_partial_index(
        "tasks_in_progress", ["workspace_id", "stream_id", "updated_at"], "status = 'in_progress'"
    )
    make_partial_index("tasks_with_files", ["workspace_id", "stream_id"], "files <> '[]'")


def make_partial_index(name: str, columns: list[str], condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, "tasks", columns, sqlite_where=where, postgresql_where=where)
