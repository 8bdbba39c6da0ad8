"""The tables as the program uses them. `migrations/` is what makes and changes them.

Times are UTC texts that sort by time; lists and objects are compact JSON texts.
"""

from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    MetaData,
    Table,
    UniqueConstraint,
)

from task_copilot.database.types import Integer, Text

SCHEMA_VERSION = 3
"""The number of the newest migration; the database stores its own to compare."""

CLOSED_VERSION = 9999
"""Stands in the place of that number where nobody may use a database: a file that was moved to a
server, and the copy there until that is so. Programs that do not know it take it for the number
of a newer one, and leave the database alone."""

VERSION_TABLE = "task_copilot_version"
"""Where PostgreSQL keeps that number; a SQLite file has a place for it in its header."""

metadata = MetaData()

log = Table(
    "log",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("epoch", Text, nullable=False),
    Column("head", Integer, nullable=False),
    CheckConstraint("id = 1", name="log_is_one_row"),
)

events = Table(
    "events",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("topic", Text, nullable=False),
    Column("event_type", Text, nullable=False),
    Column("timestamp", Text, nullable=False),
    Column("payload", Text, nullable=False),
)

workspaces = Table(
    "workspaces",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("path", Text, unique=True),
    Column("created_at", Text, nullable=False),
)

streams = Table(
    "streams",
    metadata,
    Column("workspace_id", ForeignKey("workspaces.id"), primary_key=True),
    Column("stream_id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("phase", Text, nullable=False),
    Column("dependencies", Text, nullable=False),
    Column("pending", Integer, nullable=False),
    Column("in_progress", Integer, nullable=False),
    Column("blocked", Integer, nullable=False),
    Column("completed", Integer, nullable=False),
    Column("started_at", Text),
    Column("completed_at", Text),
    Column("created_at", Text, nullable=False),
    Column("updated_at", Text, nullable=False),
    Column("archived_at", Text),
    CheckConstraint(
        "pending >= 0 AND in_progress >= 0 AND blocked >= 0 AND completed >= 0",
        name="stream_counts_are_not_negative",
    ),
)

tasks = Table(
    "tasks",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("workspace_id", ForeignKey("workspaces.id"), nullable=False),
    Column("stream_id", Text),
    Column("parent_id", ForeignKey("tasks.id")),
    Column("title", Text, nullable=False),
    Column("description", Text),
    Column("status", Text, nullable=False),
    Column("assigned_agent", Text),
    Column("notes", Text),
    Column("blocked_reason", Text),
    Column("files", Text, nullable=False),
    Column("metadata", Text, nullable=False),
    Column("checkpoints_made", Integer, nullable=False, default=0),
    Column("created_at", Text, nullable=False),
    Column("updated_at", Text, nullable=False),
    Column("started_at", Text),
    Column("blocked_at", Text),
    Column("completed_at", Text),
    ForeignKeyConstraint(
        ["workspace_id", "stream_id"], ["streams.workspace_id", "streams.stream_id"]
    ),
    sqlite_autoincrement=True,
)

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("task_id", ForeignKey("tasks.id"), nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("trigger", Text, nullable=False),
    Column("execution_phase", Text),
    Column("execution_step", Text),
    Column("agent_context", Text),
    Column("draft_content", Text),
    Column("draft_type", Text),
    Column("pause_metadata", Text),
    Column("snapshot", Text, nullable=False),
    Column("created_at", Text, nullable=False),
    Column("expires_at", Text, nullable=False),
    UniqueConstraint("task_id", "sequence"),
    sqlite_autoincrement=True,
)

requests = Table(
    "requests",
    metadata,
    Column("workspace_id", ForeignKey("workspaces.id"), primary_key=True),
    Column("request_id", Text, primary_key=True),
    Column("tool", Text, nullable=False),
    Column("task_id", ForeignKey("tasks.id"), nullable=False),
    # Both are null once they were redacted.
    Column("digest", Text),
    Column("answer", Text),
    Column("created_at", Text, nullable=False),
)

Index("tasks_by_workspace", tasks.c.workspace_id, tasks.c.id)
Index("tasks_by_stream", tasks.c.workspace_id, tasks.c.stream_id, tasks.c.id)
Index("tasks_by_parent", tasks.c.parent_id)
Index(
    "tasks_blocked",
    tasks.c.workspace_id,
    tasks.c.stream_id,
    tasks.c.blocked_at,
    sqlite_where=tasks.c.status == "blocked",
    postgresql_where=tasks.c.status == "blocked",
)
Index(
    "tasks_in_progress",
    tasks.c.workspace_id,
    tasks.c.stream_id,
    tasks.c.updated_at,
    sqlite_where=tasks.c.status == "in_progress",
    postgresql_where=tasks.c.status == "in_progress",
)
Index("tasks_by_change", tasks.c.workspace_id, tasks.c.stream_id, tasks.c.updated_at)
Index(
    "tasks_with_files",
    tasks.c.workspace_id,
    tasks.c.stream_id,
    sqlite_where=tasks.c.files != "[]",
    postgresql_where=tasks.c.files != "[]",
)
Index("checkpoints_by_expiry", checkpoints.c.expires_at)
Index("requests_by_time", requests.c.created_at)
