"""What the dashboard reads besides the lists, and the files that it is made of."""

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from hubs import RunningHub, running_hub
from task_copilot import glance, task_updates, workspaces
from task_copilot.api import pages
from task_copilot.checkpoints import NewCheckpoint, create
from task_copilot.database.transaction import Transaction
from task_copilot.location import Location
from task_copilot.task_updates import TaskChange
from task_copilot.workspaces import Scope
from validation import validated


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[RunningHub]:
    async with running_hub(tmp_path) as found:
        yield found


async def get(hub: RunningHub, path: str, status: int = 200) -> Any:
    answer = await hub.http.get(path)
    assert answer.status_code == status, answer.text
    return validated("GET", path, status, answer.json())


async def update(hub: RunningHub, number: int, **change: Any) -> None:
    def make(transaction: Transaction) -> None:
        place = workspaces.ensure(transaction, Location(name="shop", path="/work/shop"))
        said = TaskChange(**change)
        task_updates.update_task(transaction, Scope(place, "tester"), number, said)

    await hub.database.write(make)


# --- the files ---


async def test_the_page_is_served_whatever_its_query_and_costs_nothing_unchanged(
    hub: RunningHub,
) -> None:
    for path in ("/", "/?workspace=shop&text=a%20b"):
        answer = await hub.http.get(path)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert answer.text.lstrip().lower().startswith("<!doctype html>")
        known = {"If-None-Match": answer.headers["etag"]}
        again = await hub.http.get(path, headers=known)
        assert (again.status_code, again.content) == (304, b"")
        for headers in (answer.headers, again.headers):
            assert headers["cache-control"] == "no-cache"
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["content-security-policy"] == pages.POLICY
    assert (await hub.http.head("/")).status_code == 200
    assert (await hub.http.post("/")).status_code == 405


async def test_every_file_of_the_page_is_served_with_its_type(hub: RunningHub) -> None:
    folder = Path(pages.__file__).parents[1] / "dashboard"
    found = [
        path
        for path in sorted(folder.rglob("*.*"))
        if path.suffix not in {".py", ".pyc", ".html"} and path.is_file()
    ]
    assert {path.suffix for path in found} >= {".css", ".js"}
    for path in found:
        answer = await hub.http.get(f"/assets/{path.relative_to(folder).as_posix()}")
        assert answer.status_code == 200, path
        assert answer.headers["content-type"] == pages.MEDIA_TYPES[path.suffix[1:]]
        assert answer.content == path.read_bytes()


NOT_THERE = (
    *("__init__.py", "index.html", "", "styles", "styles/", "scripts/none.js", ".css"),
    *("..%2f__init__.py", "%2e%2e/web.py", "scripts/..%2f..%2fpyproject.css", "a/.b/c.css"),
    *("scripts//main.js", "%2fetc%2fhosts.css", "scripts%5cmain.js", "a%00.css", f"{'a/' * 9}b.js"),
)


async def test_what_is_no_file_of_the_page_is_not_there(hub: RunningHub) -> None:
    for path in NOT_THERE:
        answer = await hub.http.get(f"/assets/{path}")
        assert answer.status_code == 404, path
        assert answer.json()["error"].startswith("There is nothing at /"), path


# --- the overview ---


async def test_the_overview_counts_all_tasks_and_names_what_is_blocked_first(
    hub: RunningHub,
) -> None:
    for title, stream in (
        ("One", "A"),
        ("Two", "A"),
        ("Three", None),
        ("Four", "B"),
        ("Five", "A"),
    ):
        await hub.task(title, stream)
    await update(hub, 1, status="completed")
    await update(hub, 2, status="blocked", blocked_reason="first")
    await update(hub, 3, status="blocked", blocked_reason="then")
    await update(hub, 4, status="in_progress", assigned_agent="ada")
    await update(hub, 5, status="cancelled")
    found = await get(hub, "/api/overview")
    assert found["totals"] == {
        "totalTasks": 4,
        "completedTasks": 1,
        "inProgressTasks": 1,
        "blockedTasks": 2,
        "pendingTasks": 0,
        "progressPercentage": 25.0,
    }
    assert [(row["taskId"], row["blockedReason"]) for row in found["blocked"]] == [
        *(("TASK-3", "then"), ("TASK-2", "first")),
    ]
    assert [row["agentId"] for row in found["activities"]] == ["ada"]
    assert (found["totalBlocked"], found["totalActive"], found["totalIdle"]) == (2, 1, 0)
    assert [row["streamId"] for row in found["streams"]] == ["A", "B"]
    assert (found["at"], found["oldestSeq"]) == (found["seq"], 1)
    assert [row["workspace"] for row in found["workspaces"]] == ["shop"]
    await get(hub, "/api/overview?workspace=nowhere", 404)


async def test_the_overview_of_the_past_is_refused_where_the_log_does_not_reach(
    hub: RunningHub,
) -> None:
    await hub.task("One", "A")
    then = await get(hub, "/api/overview")
    await hub.task("Two", "A")
    past = await get(hub, f"/api/overview?at={then['seq']}")
    assert past["totals"] == then["totals"]
    assert (past["at"], past["seq"]) == (then["seq"], then["seq"] + 2)
    assert past["timestamp"] == past["streams"][0]["createdAt"]
    assert (await get(hub, "/api/overview?at=0"))["streams"] == []
    refused = await get(hub, f"/api/overview?at={past['seq'] + 1}", 422)
    assert refused["error"].endswith("it takes 0 to 4.")
    await get(hub, "/api/overview?at=-1", 422)
    await get(hub, "/api/overview?at=x", 422)


async def test_two_overviews_are_read_at_once_and_the_others_wait_for_their_turn(
    hub: RunningHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    await hub.task("One", "A")
    pair, lock, present = threading.Barrier(2), threading.Lock(), glance.present
    now, most = 0, 0

    def counted(*given: Any) -> Any:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        pair.wait(timeout=10)
        try:
            return present(*given)
        finally:
            pair.wait(timeout=10)
            with lock:
                now -= 1

    monkeypatch.setattr(glance, "present", counted)
    found = await asyncio.gather(
        get(hub, "/api/tasks"), *(get(hub, "/api/overview") for _ in range(6))
    )
    assert most == 2
    assert all(answer["totals"]["totalTasks"] == 1 for answer in found[1:])


# --- the others ---


async def test_completed_tasks_are_counted_in_48_stretches(hub: RunningHub) -> None:
    for title in ("One", "Two", "Three"):
        await hub.task(title)
    await update(hub, 1, status="completed")
    await update(hub, 2, status="completed")
    await update(hub, 2, status="pending")
    found = await get(hub, "/api/completions?hours=12&workspace=shop")
    assert found["bucketMinutes"] == 15
    assert [bucket["completed"] for bucket in found["buckets"]] == [*[0] * 47, 1]
    starts = [bucket["start"] for bucket in found["buckets"]]
    assert starts == sorted(set(starts))
    assert len((await get(hub, "/api/completions"))["buckets"]) == 48
    for hours in (0, 745, "x"):
        await get(hub, f"/api/completions?hours={hours}", 422)
    await get(hub, "/api/completions?workspace=nowhere", 404)


async def test_tasks_are_found_by_text_and_by_id(hub: RunningHub) -> None:
    for title in ("Pay by card", "100 % sure", "Plain"):
        await hub.task(title)
    await update(hub, 3, notes="asked the Payment team", description="snake_case")

    async def found(text: str) -> list[str]:
        answer = await hub.http.get("/api/tasks", params={"text": text})
        assert answer.status_code == 200
        return [task["id"] for task in answer.json()["tasks"]]

    assert await found("PAY") == ["TASK-1", "TASK-3"]
    assert await found("%") == ["TASK-2"]
    assert await found("e_c") == ["TASK-3"]
    assert await found("nothing") == []
    for text in ("2", "task-2", "TASK-2"):
        assert await found(text) == ["TASK-2"]
    first = await get(hub, "/api/tasks?text=pay&limit=1")
    assert (first["totalTasks"], len(first["tasks"])) == (2, 1)
    second = await get(hub, f"/api/tasks?text=pay&limit=1&cursor={first['nextCursor']}")
    assert [task["id"] for task in second["tasks"]] == ["TASK-3"]
    await get(hub, f"/api/tasks?text=card&cursor={first['nextCursor']}", 422)
    await get(hub, f"/api/tasks?text={'x' * 201}", 422)


async def test_a_checkpoint_comes_with_what_it_keeps(hub: RunningHub) -> None:
    await hub.task("One")
    await update(hub, 1, status="in_progress", notes="half", metadata={"a": 1})

    def make(transaction: Transaction) -> None:
        place = workspaces.ensure(transaction, Location(name="shop", path="/work/shop"))
        new = NewCheckpoint(
            agent_context={"step": [1]},
            draft_content="x" * 40_001,
            draft_type="text",
            pause_metadata={"nextSteps": "go on"},
        )
        create(transaction, Scope(place, "tester"), 1, new, kept=5)

    await hub.database.write(make)
    await update(hub, 1, status="completed", notes="whole")
    found = await get(hub, "/api/checkpoints/cp-1")
    assert (found["status"], found["notes"], found["metadata"]) == ("in_progress", "half", {"a": 1})
    assert (len(found["draft"]), found["draftLength"]) == (40_000, 40_001)
    assert found["agentContext"] == {"step": [1]}
    assert found["pauseMetadata"] == {"nextSteps": "go on"}
    assert (found["workspace"], found["taskId"], found["hasDraft"]) == ("shop", "TASK-1", True)
    assert (await get(hub, "/api/checkpoints/CP-9", 404))["error"].startswith("There is no")
    await get(hub, "/api/checkpoints/x", 422)
