"""Folding the event log gives the state of the tables. The fold knows only the contract."""

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

import postgres
from histories import OPEN, STREAMS, commit, groups_of_steps, operation
from support import World, close, database_at, table, ticking
from task_copilot.events import log
from task_copilot.streams import BLOCKED_TASKS_SHOWN

REDACTED = {"redacted": True}


class Fold:
    """The state that a listener of everything knows."""

    def __init__(self) -> None:
        self.tasks: dict[str, dict[str, Any]] = {}
        self.streams: dict[tuple[str, str], dict[str, Any]] = {}
        self.checkpoints: dict[str, str] = {}
        self.started: set[tuple[str, str]] = set()
        self.completed: set[tuple[str, str]] = set()
        self.blocked: dict[tuple[str, str], set[str]] = {}
        self.seq = 0

    def apply(self, event: dict[str, Any]) -> None:
        assert event["seq"] == self.seq + 1, "the log has a hole"
        self.seq = event["seq"]
        family = event["eventType"].partition(".")[0]
        getattr(self, family)(event["eventType"], event["data"])

    def task(self, kind: str, data: dict[str, Any]) -> None:
        known = self.tasks.get(data["taskId"])
        if kind == "task.created":
            assert known is None
            assert data["oldStatus"] is None
        elif kind == "task.updated":
            assert known is not None
            assert data["oldStatus"] == known["status"]
            self.check_changes(known, data)
        elif kind == "task.redacted":
            assert known is not None
            assert data["oldStatus"] == data["newStatus"] == known["status"]
        self.tasks[data["taskId"]] = {
            "title": data["taskTitle"],
            "status": data["newStatus"],
            "agent": data["assignedAgent"],
            "stream": data["streamId"],
            "parent": data["parentId"],
            "reason": data["blockedReason"],
            "workspace": data["workspace"],
        }

    def check_changes(self, known: dict[str, Any], data: dict[str, Any]) -> None:
        names = {"title": "title", "status": "status", "assignedAgent": "agent"}
        names |= {"streamId": "stream", "parentId": "parent", "blockedReason": "reason"}
        for change in data["changes"]:
            removed = REDACTED in (change["oldValue"], change["newValue"])
            assert removed or change["oldValue"] != change["newValue"]
            if change["field"] in names and not removed:
                assert change["oldValue"] == known[names[change["field"]]]
            stream = self.streams.get((data["workspace"], data["streamId"]))
            field = change["field"]
            if field in {"streamName", "streamPhase", "streamDependencies"} and stream:
                stream[field] = change["newValue"]

    def stream(self, kind: str, data: dict[str, Any]) -> None:
        key = (data["workspace"], data["streamId"])
        self.streams[key] = {
            "streamName": data["streamName"],
            "streamPhase": data["streamPhase"],
            "streamDependencies": data["dependencies"],
            "pending": data["pendingTasks"],
            "in_progress": data["inProgressTasks"],
            "blocked": data["blockedTasks"],
            "completed": data["completedTasks"],
            "archived": kind == "stream.archived",
        }
        assert data["totalTasks"] == sum(self.streams[key][s] for s in (*OPEN, "completed"))
        if kind == "stream.archived":
            assert data["status"] == "completed"
        if kind == "stream.started":
            assert key not in self.started, "a stream starts once"
            self.started.add(key)
        elif kind == "stream.completed":
            assert key not in self.completed, "a stream completes once until it is reopened"
            self.completed.add(key)
            assert data["duration"] >= 0
        elif kind == "stream.blocked":
            self.blocked[key] = set(data["blockedTaskIds"])
            self.check_blocked(key)
        if data["status"] != "completed":
            self.completed.discard(key)

    def check_blocked(self, key: tuple[str, str]) -> None:
        """The ids that were told last are those of the tasks, as far as so many are shown."""
        found = set(self.in_stream(key, "blocked"))
        assert self.blocked[key] <= found
        assert len(self.blocked[key]) == min(len(found), BLOCKED_TASKS_SHOWN)

    def in_stream(self, key: tuple[str, str], status: str) -> list[str]:
        return [
            task_id
            for task_id, task in self.tasks.items()
            if (task["workspace"], task["stream"]) == key and task["status"] == status
        ]

    def checkpoint(self, kind: str, data: dict[str, Any]) -> None:
        if kind == "checkpoint.created":
            self.checkpoints[data["checkpointId"]] = data["taskId"]
        elif kind == "checkpoint.expired":
            del self.checkpoints[data["checkpointId"]]
        else:
            assert self.checkpoints[data["checkpointId"]] == data["taskId"]


Groups = list[list[tuple[bool, tuple[str, dict[str, Any]]]]]


def folded(database: Any, groups: Groups) -> None:
    worlds = [World(database, "shop"), World(database, "blog")]
    for number in range(6):
        worlds[number == 0].task("seed", STREAMS[number % 2])
    fold = Fold()
    check(fold, database)
    for group in groups:
        commit(database, [operation(worlds[other], *step) for other, step in group])
        check(fold, database)
    check(Fold(), database)  # what was redacted is gone from the log, and nothing else
    close(database)


CHECKS = settings(
    deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@pytest.mark.timeout(300)
@settings(CHECKS, max_examples=150)
@given(groups_of_steps)
def test_folding_the_log_gives_the_state_of_the_tables(groups: Groups) -> None:
    with tempfile.TemporaryDirectory() as folder:
        folded(database_at(Path(folder), clock=ticking(step_ms=5000)), groups)


@pytest.mark.timeout(300)
@settings(CHECKS, max_examples=15)
@given(groups_of_steps)
def test_folding_the_log_gives_the_state_of_the_tables_on_postgres(
    postgres_server: postgres.Server, groups: Groups
) -> None:
    with postgres_server.database() as url:
        folded(database_at(url, clock=ticking(step_ms=5000)), groups)


def check(fold: Fold, database: Any) -> None:
    for row in database.read_now(lambda c: log.rows_after(c, fold.seq, 10**6, 10**9)):
        fold.apply(json.loads(row.payload))
    assert fold.tasks == stored_tasks(database)
    assert fold.streams == stored_streams(database)
    assert fold.streams == counted_streams(fold, database)
    assert set(fold.checkpoints) == {f"CP-{row['id']}" for row in table(database, "checkpoints")}
    assert fold.seq == table(database, "log")[0]["head"]
    check_milestones(fold, database)


def check_milestones(fold: Fold, database: Any) -> None:
    workspaces = names(database)
    for row in table(database, "streams"):
        key = (workspaces[row["workspace_id"]], row["stream_id"])
        assert (key in fold.started) == (row["started_at"] is not None)
        assert (key in fold.completed) == (row["completed_at"] is not None)
        if row["blocked"]:
            fold.check_blocked(key)


def names(database: Any) -> dict[int, str]:
    return {row["id"]: row["name"] for row in table(database, "workspaces")}


def stored_tasks(database: Any) -> dict[str, dict[str, Any]]:
    workspaces = names(database)
    return {
        f"TASK-{row['id']}": {
            "title": row["title"],
            "status": row["status"],
            "agent": row["assigned_agent"],
            "stream": row["stream_id"],
            "parent": None if row["parent_id"] is None else f"TASK-{row['parent_id']}",
            "reason": row["blocked_reason"],
            "workspace": workspaces[row["workspace_id"]],
        }
        for row in table(database, "tasks")
    }


def stored_streams(database: Any) -> dict[tuple[str, str], dict[str, Any]]:
    workspaces = names(database)
    return {
        (workspaces[row["workspace_id"]], row["stream_id"]): {
            "streamName": row["name"],
            "streamPhase": row["phase"],
            "streamDependencies": [] if row["dependencies"] == "[]" else _list(row),
            **{status: row[status] for status in (*OPEN, "completed")},
            "archived": row["archived_at"] is not None,
        }
        for row in table(database, "streams")
    }


def _list(row: dict[str, Any]) -> list[str]:
    return [item.strip('"') for item in row["dependencies"].strip("[]").split(",")]


def counted_streams(fold: Fold, database: Any) -> dict[tuple[str, str], dict[str, Any]]:
    """The streams with their counters taken from the tasks one by one."""
    return {
        key: {
            **stream,
            **{status: len(fold.in_stream(key, status)) for status in (*OPEN, "completed")},
        }
        for key, stream in stored_streams(database).items()
    }
