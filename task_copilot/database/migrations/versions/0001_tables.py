"""The first tables: workspaces, streams, tasks, checkpoints and the event log."""

import secrets

import sqlalchemy as sa
from alembic import op

from task_copilot.database.migrations.portable import (
    Integer,
    Text,
    deferrable,
    make_commits,
    make_numbers,
    number,
    reference,
)

revision = "0001"
down_revision = None


def upgrade() -> None:
    make_numbers("workspaces", "tasks", "checkpoints")
    make_commits()
    make_log()
    make_workspaces()
    make_tasks()
    make_checkpoints()


def make_log() -> None:
    log = op.create_table(
        "log",
        sa.Column("id", Integer, primary_key=True, autoincrement=False),
        sa.Column("epoch", Text, nullable=False),
        sa.Column("head", Integer, nullable=False),
        sa.CheckConstraint("id = 1", name="log_is_one_row"),
    )
    op.bulk_insert(log, [{"id": 1, "epoch": secrets.token_hex(8), "head": 0}])
    op.create_table(
        "events",
        sa.Column("seq", Integer, primary_key=True, autoincrement=False),
        sa.Column("topic", Text, nullable=False),
        sa.Column("event_type", Text, nullable=False),
        sa.Column("timestamp", Text, nullable=False),
        sa.Column("payload", Text, nullable=False),
    )


def make_workspaces() -> None:
    op.create_table(
        "workspaces",
        number("workspaces"),
        sa.Column("name", Text, nullable=False, unique=True),
        sa.Column("path", Text, unique=True),
        sa.Column("created_at", Text, nullable=False),
    )
    op.create_table(
        "streams",
        reference("workspace_id", "workspaces.id", primary_key=True),
        sa.Column("stream_id", Text, primary_key=True),
        sa.Column("name", Text, nullable=False),
        sa.Column("phase", Text, nullable=False),
        sa.Column("dependencies", Text, nullable=False),
        sa.Column("pending", Integer, nullable=False),
        sa.Column("in_progress", Integer, nullable=False),
        sa.Column("blocked", Integer, nullable=False),
        sa.Column("completed", Integer, nullable=False),
        sa.Column("started_at", Text),
        sa.Column("completed_at", Text),
        sa.Column("created_at", Text, nullable=False),
        sa.Column("updated_at", Text, nullable=False),
        sa.CheckConstraint(
            "pending >= 0 AND in_progress >= 0 AND blocked >= 0 AND completed >= 0",
            name="stream_counts_are_not_negative",
        ),
    )


def make_tasks() -> None:
    op.create_table(
        "tasks",
        number("tasks"),
        reference("workspace_id", "workspaces.id", nullable=False),
        sa.Column("stream_id", Text),
        reference("parent_id", "tasks.id"),
        sa.Column("title", Text, nullable=False),
        sa.Column("description", Text),
        sa.Column("status", Text, nullable=False),
        sa.Column("assigned_agent", Text),
        sa.Column("notes", Text),
        sa.Column("blocked_reason", Text),
        sa.Column("files", Text, nullable=False),
        sa.Column("metadata", Text, nullable=False),
        sa.Column("checkpoints_made", Integer, nullable=False),
        sa.Column("created_at", Text, nullable=False),
        sa.Column("updated_at", Text, nullable=False),
        sa.Column("started_at", Text),
        sa.Column("blocked_at", Text),
        sa.Column("completed_at", Text),
        sa.ForeignKeyConstraint(
            ["workspace_id", "stream_id"],
            ["streams.workspace_id", "streams.stream_id"],
            **deferrable(),
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
        number("checkpoints"),
        reference("task_id", "tasks.id", nullable=False),
        sa.Column("sequence", Integer, nullable=False),
        sa.Column("trigger", Text, nullable=False),
        sa.Column("execution_phase", Text),
        sa.Column("execution_step", Text),
        sa.Column("agent_context", Text),
        sa.Column("draft_content", Text),
        sa.Column("draft_type", Text),
        sa.Column("pause_metadata", Text),
        sa.Column("snapshot", Text, nullable=False),
        sa.Column("created_at", Text, nullable=False),
        sa.Column("expires_at", Text, nullable=False),
        sa.UniqueConstraint("task_id", "sequence"),
        sqlite_autoincrement=True,
    )
    op.create_index("checkpoints_by_expiry", "checkpoints", ["expires_at"])
