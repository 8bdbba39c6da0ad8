"""What tests of the orchestrator share: streams as the server shows them."""

from typing import Any

PHASE = "parallel"


def row(
    stream_id: str,
    *needs: str,
    phase: str = PHASE,
    pending: int = 0,
    in_progress: int = 0,
    blocked: int = 0,
    completed: int = 0,
    reason: str | None = None,
) -> dict[str, Any]:
    """A stream as ``/api/streams`` and the events of streams show it."""
    total = pending + in_progress + blocked + completed
    if blocked:
        status = "blocked"
    elif completed and completed == total:
        status = "completed"
    else:
        status = "in_progress" if in_progress or completed else "pending"
    return {
        "streamId": stream_id,
        "streamName": stream_id,
        "streamPhase": phase,
        "dependencies": list(needs),
        "totalTasks": total,
        "pendingTasks": pending,
        "inProgressTasks": in_progress,
        "blockedTasks": blocked,
        "completedTasks": completed,
        "status": status,
        "lastUpdated": "2026-01-08T12:00:00.000Z",
        "blockedReason": reason,
    }
