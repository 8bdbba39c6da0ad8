"""The routes that write: what the tools take, refuse and answer, over HTTP."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from hubs import RunningHub, bearer, running_hub, secret_file
from support import counts, events_of
from validation import problems, validated

LONG = "x" * 501
TASK = "/api/tasks?workspace=shop"


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[RunningHub]:
    async with running_hub(tmp_path) as found:
        yield found


async def send(
    hub: RunningHub, method: str, path: str, status: int, body: Any = None, **headers: str
) -> Any:
    answer: httpx2.Response = await hub.http.request(
        method, path, json={} if body is None else body, headers=headers
    )
    assert answer.status_code == status, answer.text
    return validated(method, path, status, answer.json())


async def test_a_task_is_made_changed_kept_and_resumed_as_by_the_tools(hub: RunningHub) -> None:
    body = {"title": "One", "streamId": "S", "metadata": {"a": 1}, "files": ["a.py"]}
    made = await send(hub, "POST", TASK, 201, body)
    assert (made["id"], made["status"], made["streamId"]) == ("TASK-1", "pending", "S")
    assert made["seq"] == 2
    body = {"status": "blocked", "blockedReason": "no key", "metadata": {"b": 2}}
    saved = await send(hub, "PATCH", "/api/tasks/task-1", 200, body)
    assert (saved["id"], saved["status"], saved["seq"]) == ("TASK-1", "blocked", 8)
    body = {"agentContext": {"x": 1}, "draftContent": "d" * 50_000}
    kept = await send(hub, "POST", "/api/tasks/1/checkpoints", 201, body)
    assert (kept["id"], kept["taskId"], kept["sequence"]) == ("CP-1", "TASK-1", 1)
    opened = await send(hub, "POST", "/api/tasks/1/resume", 200)
    assert (opened["agentContext"], opened["restoredStatus"]) == ({"x": 1}, "blocked")
    assert opened["draftRemaining"] == 10_000
    rest = await send(hub, "POST", "/api/tasks/1/resume", 200, {"draftOffset": 40_000})
    assert (len(rest["draftContent"]), rest["restoredStatus"]) == (10_000, None)
    found = (await hub.http.get("/api/tasks/1")).json()
    assert (found["metadata"], found["files"]) == ({"a": 1, "b": 2}, ["a.py"])
    assert [event["eventType"] for event in events_of(hub.database)[-2:]] == [
        *("checkpoint.created", "checkpoint.resumed"),
    ]


BAD: tuple[tuple[Any, ...], ...] = (
    ("POST", TASK, {"title": LONG}, 422, "title", "title: got 501 characters; takes a text"),
    ("POST", TASK, {}, 422, "title", "title: is missing"),
    ("POST", TASK, {"title": 1}, 422, "title", "title: got 1; takes a text"),
    ("POST", TASK, {"title": "x", "id": "1"}, 422, None, "'id' is no argument of the body"),
    ("POST", TASK, {"title": "x", "parentId": "9"}, 404, None, "parentId: no task TASK-9"),
    ("POST", TASK, {"title": "x", "parentId": "y"}, 422, "parentId", "parentId: 'y' is not"),
    ("POST", TASK, {"title": "x", "files": ["a", ""]}, 422, "files", "files[1]: got 0"),
    ("POST", "/api/tasks?workspace=a/b", {"title": "x"}, 422, "workspace", "workspace: 'a/b'"),
    ("POST", "/api/tasks?colour=red", {"title": "x"}, 422, None, "'colour' is no argument"),
    ("PATCH", "/api/tasks/1", {}, 422, None, "Nothing to change"),
    ("PATCH", "/api/tasks/1", {"id": "1"}, 422, None, "'id' is no argument"),
    ("PATCH", "/api/tasks/1", {"status": "done"}, 422, "status", "status: got 'done'; takes"),
    ("PATCH", "/api/tasks/1", {"blockedReason": "x"}, 422, "blockedReason", "blockedReason: "),
    ("PATCH", "/api/tasks/x", {"title": "x"}, 422, "id", "id: 'x' is not an id"),
    ("PATCH", "/api/tasks/9", {"title": "x"}, 404, None, "There is no task TASK-9."),
    ("PATCH", "/api/tasks/1?workspace=no", {"title": "x"}, 404, None, "There is no workspace"),
    (
        *("PATCH", "/api/tasks/1?workspace=blog", {"title": "x"}, 404, None),
        "id: TASK-1 belongs to the workspace 'shop', not to this one.",
    ),
    ("POST", "/api/tasks/1/checkpoints", {"trigger": "x"}, 422, "trigger", "trigger: got"),
    (
        *("POST", "/api/tasks/1/checkpoints", {"pauseMetadata": {"x": 1}}, 422, None),
        "'x' is no argument of pauseMetadata",
    ),
    ("POST", "/api/tasks/1/resume", {}, 404, None, "taskId: TASK-1 has no checkpoint"),
    ("POST", "/api/tasks/1/resume", {"checkpointId": "z"}, 422, "checkpointId", "checkpointId"),
    ("POST", "/api/tasks/1/resume", {"taskId": "1"}, 422, None, "'taskId' is no argument"),
)
"""Method, path, body, and the answer's status, field and beginning."""


async def test_bad_input_gets_the_sentence_of_the_tool_and_its_field_and_changes_nothing(
    hub: RunningHub,
) -> None:
    await hub.task("One")
    await send(hub, "POST", "/api/tasks?workspace=blog", 201, {"title": "Two"})
    before = counts(hub.database)
    for method, path, body, status, field, reason in BAD:
        found = await send(hub, method, path, status, body)
        assert found["error"].startswith(reason), (path, body)
        assert found.get("field") == field, (path, body)
    assert counts(hub.database) == before


async def test_a_new_task_goes_to_the_only_workspace_or_to_the_one_that_is_named(
    hub: RunningHub,
) -> None:
    found = await send(hub, "POST", "/api/tasks", 422, {"title": "x"})
    assert found["field"] == "workspace"
    await hub.task("One")  # in the workspace of a folder
    await send(hub, "POST", "/api/tasks", 201, {"title": "Two"})
    await send(hub, "POST", TASK, 201, {"title": "Three"})
    await send(hub, "POST", "/api/tasks?workspace=blog", 201, {"title": "Four"})
    refused = await send(hub, "POST", "/api/tasks", 409, {"title": "x"})
    assert refused["workspaces"] == ["blog", "shop"]
    rows = (await hub.http.get("/api/workspaces")).json()["workspaces"]
    assert [(row["workspace"], row["path"], row["tasks"]) for row in rows] == [
        *(("blog", None, 1), ("shop", "/work/shop", 3)),
    ]


async def test_a_refused_task_makes_no_workspace(hub: RunningHub) -> None:
    path = "/api/tasks?workspace=new"
    await send(hub, "POST", path, 404, {"title": "x", "parentId": "1"})
    await send(hub, "POST", path, 422, {"title": "x", "streamName": "x"})
    assert (await hub.http.get("/api/workspaces")).json()["workspaces"] == []


async def test_a_request_with_an_id_is_carried_out_once(hub: RunningHub) -> None:
    body = {"title": "One", "requestId": "r"}
    first = await send(hub, "POST", TASK, 201, body)
    assert await send(hub, "POST", TASK, 201, body) == first
    refused = await send(hub, "POST", TASK, 422, {**body, "title": "Two"})
    assert refused["field"] == "requestId"
    change = {"notes": "n", "requestId": "s"}
    saved = await send(hub, "PATCH", "/api/tasks/1", 200, change)
    assert await send(hub, "PATCH", "/api/tasks/1", 200, change) == saved
    assert len(events_of(hub.database)) == 2


async def test_who_acts_is_the_agent_else_our_page_else_the_program(hub: RunningHub) -> None:
    ours = {"Origin": f"http://127.0.0.1:{hub.port}", "User-Agent": "Mozilla/5.0"}
    for headers, agent in (
        ({"User-Agent": "curl/8.1 (x)"}, None),
        (ours, None),
        (ours, "ada"),
        ({"User-Agent": "curl/8.1"}, ""),
        ({"User-Agent": "(none)"}, None),
    ):
        body = {"title": "x"} if agent is None else {"title": "x", "agent": agent}
        await send(hub, "POST", TASK, 201, body, **headers)
    assert [event["actor"] for event in events_of(hub.database)] == [
        *("curl", "dashboard", "ada", "curl", "http"),
    ]


@pytest.mark.parametrize("scheme", ["text/plain", ""])
async def test_a_body_that_is_not_declared_as_json_is_refused(hub: RunningHub, scheme: str) -> None:
    answer = await hub.http.post(
        TASK, content=json.dumps({"title": "x"}).encode(), headers={"Content-Type": scheme}
    )
    assert answer.status_code == 415
    assert validated("POST", "/api/tasks", 415, answer.json())
    assert counts(hub.database)["tasks"] == 0


async def test_writing_needs_a_token_that_allows_it_and_names_its_subject(tmp_path: Path) -> None:
    settings = {"auth": "required", "token_file": str(secret_file(tmp_path))}
    async with running_hub(tmp_path, **settings) as hub:
        for method, path in (
            *(("POST", TASK), ("PATCH", "/api/tasks/1")),
            *(("POST", "/api/tasks/1/checkpoints"), ("POST", "/api/tasks/1/resume")),
        ):
            await send(hub, method, path, 401)
        await send(hub, "POST", TASK, 201, {"title": "x"}, **bearer())
        assert len(events_of(hub.database)) == 1


async def test_a_refused_method_is_told_of_all_that_a_path_takes(hub: RunningHub) -> None:
    answer = await hub.http.delete("/api/tasks/1")
    assert answer.status_code == 405
    assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD", "PATCH"}
    assert problems("openapi", "/components/schemas/Error", answer.json()) == []
