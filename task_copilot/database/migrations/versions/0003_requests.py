"""Calls that can be repeated: the caller's id of each, and what it was answered."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "requests",
        sa.Column("workspace_id", sa.Integer, sa.ForeignKey("workspaces.id"), primary_key=True),
        sa.Column("request_id", sa.Text, primary_key=True),
        sa.Column("tool", sa.Text, nullable=False),
        sa.Column("task_id", sa.Integer, sa.ForeignKey("tasks.id"), nullable=False),
        sa.Column("digest", sa.Text),
        sa.Column("answer", sa.Text),
        sa.Column("created_at", sa.Text, nullable=False),
    )
    op.create_index("requests_by_time", "requests", ["created_at"])
