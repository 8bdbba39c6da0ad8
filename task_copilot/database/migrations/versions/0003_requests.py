"""Calls that can be repeated: the caller's id of each, and what it was answered."""

import sqlalchemy as sa
from alembic import op

from task_copilot.database.migrations.portable import Text, reference

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "requests",
        reference("workspace_id", "workspaces.id", primary_key=True),
        sa.Column("request_id", Text, primary_key=True),
        sa.Column("tool", Text, nullable=False),
        reference("task_id", "tasks.id", nullable=False),
        sa.Column("digest", Text),
        sa.Column("answer", Text),
        sa.Column("created_at", Text, nullable=False),
    )
    op.create_index("requests_by_time", "requests", ["created_at"])
