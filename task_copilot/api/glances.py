"""What the dashboard reads at once; in one transaction, as all handlers do."""

from bisect import bisect_right
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection

from task_copilot import clock, glance, jsontext, overview, past
from task_copilot.api import answers
from task_copilot.api import parameters as params
from task_copilot.api.handlers import (
    Fields,
    check_workspace,
    checkpoint_fields,
    stream_fields,
)
from task_copilot.errors import NotFound
from task_copilot.events import log, retention
from task_copilot.glance import Glance, StreamSeen, TaskSeen, Wanted
from task_copilot.ids import checkpoint_id, parse_checkpoint_id, task_id
from task_copilot.streams import percentage

BUCKETS = 48
DRAFT_CHARACTERS = 40_000


def show_overview(connection: Connection, given: params.OverviewQuery, now: str) -> Fields:
    check_workspace(connection, given.workspace)
    wanted = Wanted(workspace=given.workspace, archived=given.include_archived)
    head = log.state(connection).head
    oldest = retention.oldest(connection)
    if given.at is None:
        seen = glance.present(connection, wanted, now)
    else:
        seen = past.at(connection, wanted, given.at)
    return {
        "at": head if given.at is None else given.at,
        "oldest_seq": 0 if oldest > head else oldest,
        "timestamp": seen.time,
        "workspaces": [
            answers.WorkspaceRow(
                workspace=each.name,
                path=each.path,
                streams=each.streams,
                tasks=each.tasks,
                last_activity=each.last_activity,
            )
            for each in seen.workspaces
        ],
        "streams": [_stream_row(each) for each in seen.streams],
        "total_streams": seen.total_streams,
        "totals": _totals(seen),
        "blocked": [_blocked_row(each) for each in seen.blocked],
        "total_blocked": seen.total_blocked,
        "activities": [_activity_row(each, seen.active_since) for each in seen.working],
        "total_active": seen.active,
        "total_idle": seen.idle,
    }


def _totals(seen: Glance) -> answers.Totals:
    total = sum(seen.counts.values())
    completed = seen.counts["completed"]
    return answers.Totals(
        total_tasks=total,
        completed_tasks=completed,
        in_progress_tasks=seen.counts["in_progress"],
        blocked_tasks=seen.counts["blocked"],
        pending_tasks=seen.counts["pending"],
        progress_percentage=percentage(completed, total),
    )


def _stream_row(seen: StreamSeen) -> answers.StreamSeenRow:
    return answers.StreamSeenRow(**stream_fields(seen.found) | dict.fromkeys(seen.unknown))


def _blocked_row(seen: TaskSeen) -> answers.BlockedRow:
    return answers.BlockedRow(
        workspace=seen.workspace,
        task_id=task_id(seen.id),
        task_title=seen.title,
        stream_id=seen.stream_id,
        assigned_agent=seen.agent,
        blocked_reason=seen.reason,
        blocked_at=seen.since,
    )


def _activity_row(seen: TaskSeen, since: str) -> answers.ActivitySeenRow:
    return answers.ActivitySeenRow(
        workspace=seen.workspace,
        stream_id=seen.stream_id,
        stream_name=seen.stream_name,
        agent_id=seen.agent,
        agent_name=seen.agent,
        task_id=task_id(seen.id),
        task_title=seen.title,
        started_at=seen.started_at,
        last_heartbeat=seen.since,
        is_active=seen.since is not None and seen.since >= since,
    )


def show_completions(connection: Connection, given: params.CompletionsQuery, now: str) -> Fields:
    check_workspace(connection, given.workspace)
    length = timedelta(hours=given.hours) / BUCKETS
    end = clock.parse(now)
    edges = [clock.timestamp(end - length * (BUCKETS - place)) for place in range(BUCKETS)]
    counts = [0] * BUCKETS
    for moment in overview.completions(
        connection, workspace=given.workspace, since=edges[0], until=now
    ):
        counts[bisect_right(edges, moment) - 1] += 1
    return {
        "buckets": [
            answers.CompletedIn(start=start, completed=count)
            for start, count in zip(edges, counts, strict=True)
        ],
        "bucket_minutes": length / timedelta(minutes=1),
    }


def show_checkpoint(connection: Connection, given: params.OneCheckpoint, now: str) -> Fields:
    number = parse_checkpoint_id(given.checkpoint_id)
    row = overview.one_checkpoint(connection, number, now)
    if row is None:
        raise NotFound(
            f"There is no checkpoint {checkpoint_id(number)}, or it has expired. "
            "/api/tasks/{taskId}/checkpoints lists those of a task."
        )
    kept, draft = jsontext.decode(row.snapshot), row.draft_content
    return {
        **checkpoint_fields(row),
        "workspace": row.workspace,
        "status": kept["status"],
        "notes": kept["notes"],
        "metadata": kept["metadata"],
        "assigned_agent": kept["assignedAgent"],
        "subtasks": kept["subtasks"],
        "agent_context": _decoded(row.agent_context),
        "pause_metadata": _decoded(row.pause_metadata),
        "draft_type": row.draft_type,
        "draft": None if draft is None else draft[:DRAFT_CHARACTERS],
        "draft_length": None if draft is None else len(draft),
    }


def _decoded(text: str | None) -> Any:
    return None if text is None else jsontext.decode(text)
