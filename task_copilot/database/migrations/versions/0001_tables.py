"""The first tables: workspaces, streams, tasks, checkpoints and the event log."""

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    make_log()
    make_workspaces()
    make_tasks()
    make_checkpoints()


def make_log() -> None:
    log = op.create_table(
        "log",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("epoch", sa.Text, nullable=False),
        sa.Column("head", sa.Integer, nullable=False),
        sa.CheckConstraint("id = 1", name="log_is_one_row"),
    )
    op.bulk_insert(log, [{"id": 1, "epoch": secrets.token_hex(8), "head": 0}])
    op.create_table(
        "events",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("topic", sa.Text, nullable=False),
        sa.Column("event_type", sa.Text, nullable=False),
        sa.Column("timestamp", sa.Text, nullable=False),
        sa.Column("payload", sa.Text, nullable=False),
    )


def make_workspaces() -> None:
    op.create_table(
        "workspaces",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column("path", sa.Text, unique=True),
        sa.Column("created_at", sa.Text, nullable=False),
    )
    op.create_table(
        "streams",
        sa.Column("workspace_id", sa.Integer, sa.ForeignKey("workspaces.id"), primary_key=True),
        sa.Column("stream_id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("phase", sa.Text, nullable=False),
        sa.Column("dependencies", sa.Text, nullable=False),
        sa.Column("pending", sa.Integer, nullable=False),
        sa.Column("in_progress", sa.Integer, nullable=False),
        sa.Column("blocked", sa.Integer, nullable=False),
        sa.Column("completed", sa.Integer, nullable=False),
        sa.Column("started_at", sa.Text),
        sa.Column("completed_at", sa.Text),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.Column("updated_at", sa.Text, nullable=False),
        sa.CheckConstraint(
            "pending >= 0 AND in_progress >= 0 AND blocked >= 0 AND completed >= 0",
            name="stream_counts_are_not_negative",
        ),
    )


def make_tasks() -> None:
    op.create_table(
        "tasks",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("workspace_id", sa.Integer, sa.ForeignKey("workspaces.id"), nullable=False),
        sa.Column("stream_id", sa.Text),
        sa.Column("parent_id", sa.Integer, sa.ForeignKey("tasks.id")),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("description", sa.Text),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("assigned_agent", sa.Text),
        sa.Column("notes", sa.Text),
        sa.Column("blocked_reason", sa.Text),
        sa.Column("files", sa.Text, nullable=False),
        sa.Column("metadata", sa.Text, nullable=False),
        sa.Column("checkpoints_made", sa.Integer, nullable=False),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.Column("updated_at", sa.Text, nullable=False),
        sa.Column("started_at", sa.Text),
        sa.Column("blocked_at", sa.Text),
        sa.Column("completed_at", sa.Text),
        sa.ForeignKeyConstraint(
            ["workspace_id", "stream_id"], ["streams.workspace_id", "streams.stream_id"]
        ),
        sqlite_autoincrement=True,
    )
    op.create_index("tasks_by_workspace", "tasks", ["workspace_id", "id"])
    op.create_index("tasks_by_stream", "tasks", ["workspace_id", "stream_id", "id"])
    op.create_index("tasks_by_parent", "tasks", ["parent_id"])
    op.create_index(
        "tasks_blocked",
        "tasks",
        ["workspace_id", "stream_id", "blocked_at"],
        sqlite_where=sa.text("status = 'blocked'"),
        postgresql_where=sa.text("status = 'blocked'"),
    )


def make_checkpoints() -> None:
    op.create_table(
        "checkpoints",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("task_id", sa.Integer, sa.ForeignKey("tasks.id"), nullable=False),
        sa.Column("sequence", sa.Integer, nullable=False),
        sa.Column("trigger", sa.Text, nullable=False),
        sa.Column("execution_phase", sa.Text),
        sa.Column("execution_step", sa.Text),
        sa.Column("agent_context", sa.Text),
        sa.Column("draft_content", sa.Text),
        sa.Column("draft_type", sa.Text),
        sa.Column("pause_metadata", sa.Text),
        sa.Column("snapshot", sa.Text, nullable=False),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.Column("expires_at", sa.Text, nullable=False),
        sa.UniqueConstraint("task_id", "sequence"),
        sqlite_autoincrement=True,
    )
    op.create_index("checkpoints_by_expiry", "checkpoints", ["expires_at"])
