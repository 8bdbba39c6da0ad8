"""The eight tools over the wire: exact answers, paging, actors and workspaces."""

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from e2e.raw_mcp import result_of
from e2e.servers import Server, actors, contents, events, start_server

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals, terminals and /proc")

TIMESTAMP = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
MAX_ANSWER_BYTES = 60_000
TOOLS = [
    *("task_create", "task_update", "task_get", "task_list", "stream_list"),
    *("checkpoint_create", "checkpoint_resume", "checkpoint_list"),
]
KIB64 = 64 * 1024
ODD = 'é"\\\n\t\x01💡 </script> \u2028'
"""Characters that take more bytes in JSON than one each."""


def filled_with(pattern: str, size: int) -> str:
    """A text of at most `size` bytes, filled up with `pattern` and different everywhere."""
    parts: list[str] = []
    left = size
    while True:
        part = f"{len(parts)}{pattern}"
        left -= len(part.encode())
        if left < 0:
            return "".join(parts)
        parts.append(part)


@pytest.fixture(params=["handshake", "modern"])
async def mcp(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Server]:
    async with start_server(tmp_path, era=request.param) as raw:
        yield raw


@pytest.fixture
async def one(tmp_path: Path) -> AsyncIterator[Server]:
    async with start_server(tmp_path) as raw:
        yield raw


async def written(mcp: Server, tool: str, **arguments: object) -> dict[str, Any]:
    """The object of a writing tool's answer, which has the same as text and as an object."""
    result = await mcp.call(tool, arguments, timeout=30)
    assert not result.get("isError"), result
    [content] = result["content"]
    assert content["type"] == "text"
    structured: dict[str, Any] = result["structuredContent"]
    compact = json.dumps(structured, ensure_ascii=False, separators=(",", ":"))
    assert content["text"] == compact
    assert len(compact.encode()) <= MAX_ANSWER_BYTES
    return structured


async def listed(mcp: Server, tool: str, **arguments: object) -> list[str]:
    """The lines of a list, which comes as text only."""
    result = await mcp.call(tool, arguments, timeout=30)
    assert not result.get("isError"), result
    assert "structuredContent" not in result
    text: str = result["content"][0]["text"]
    assert len(text.encode()) <= MAX_ANSWER_BYTES
    return text.split("\n")


def assert_times(found: dict[str, Any], *names: str) -> None:
    for name in names:
        assert TIMESTAMP.fullmatch(found[name]), (name, found[name])


# Each tool


async def test_task_create_answers_what_was_made(mcp: Server) -> None:
    plain = await written(mcp, "task_create", title="Plain")
    assert list(plain) == ["id", "status", "createdAt"]
    assert (plain["id"], plain["status"]) == ("TASK-1", "pending")
    made = await written(
        mcp,
        "task_create",
        title="Types",
        description="All of them",
        parentId="TASK-1",
        assignedAgent="me",
        streamId="Stream-A",
        streamName="foundation types",
        streamPhase="foundation",
        streamDependencies=["Stream-0"],
        files=["a.py"],
        metadata={"own": [1, None], "empty": {}},
        agent="someone",
    )
    assert list(made) == ["id", "status", "streamId", "createdAt"]
    assert (made["id"], made["streamId"]) == ("TASK-2", "Stream-A")
    assert_times(made, "createdAt")
    assert await written(mcp, "task_get", id="TASK-2") == {
        "id": "TASK-2",
        "title": "Types",
        "status": "pending",
        "streamId": "Stream-A",
        "parentId": "TASK-1",
        "assignedAgent": "me",
        "createdAt": made["createdAt"],
        "updatedAt": made["createdAt"],
        "description": "All of them",
        "files": ["a.py"],
        "metadata": {"own": [1, None], "empty": {}},
    }
    assert set(await written(mcp, "task_get", id="TASK-1")) == {
        *("id", "title", "status", "createdAt", "updatedAt", "subtasks")
    }


async def test_task_update_answers_the_new_state_and_changes_what_was_given(mcp: Server) -> None:
    await written(mcp, "task_create", title="Old", metadata={"a": 1, "b": {"c": 1}})
    changed = await written(
        mcp, "task_update", id="TASK-1", status="blocked", blockedReason="waits", notes="n"
    )
    assert list(changed) == ["id", "status", "updatedAt"]
    assert (changed["id"], changed["status"]) == ("TASK-1", "blocked")
    assert_times(changed, "updatedAt")
    await written(mcp, "task_update", id="TASK-1", metadata={"a": None, "b": {"d": 2}, "e": "x"})
    task = await written(mcp, "task_get", id="TASK-1")
    assert task["metadata"] == {"b": {"d": 2}, "e": "x"}
    assert (task["blockedReason"], task["notes"]) == ("waits", "n")
    assert_times(task, "createdAt", "updatedAt", "blockedAt")
    await written(mcp, "task_update", id="TASK-1", title="New", status="in_progress", notes="m")
    task = await written(mcp, "task_get", id="TASK-1")
    assert (task["title"], task["notes"]) == ("New", "m")
    assert set(task) & {"blockedReason", "blockedAt"} == set()
    assert_times(task, "startedAt")
    await written(mcp, "task_update", id="TASK-1", status="blocked")
    task = await written(mcp, "task_get", id="TASK-1")
    assert task["blockedReason"] == "no reason given"
    await written(mcp, "task_update", id="TASK-1", status="completed")
    assert_times(await written(mcp, "task_get", id="TASK-1"), "completedAt")


async def test_task_get_shows_subtasks_and_the_latest_checkpoint(mcp: Server) -> None:
    await written(mcp, "task_create", title="Parent")
    for number in range(60):
        await written(mcp, "task_create", title=f"Child {number}", parentId="TASK-1")
    await written(mcp, "checkpoint_create", taskId="TASK-1")
    latest = await written(
        mcp, "checkpoint_create", taskId="TASK-1", executionPhase="p", executionStep=3
    )
    task = await written(mcp, "task_get", id="TASK-1")
    assert task["subtasks"][0] == {"id": "TASK-2", "status": "pending", "title": "Child 0"}
    assert task["subtasksTotal"] == 60
    assert len(task["subtasks"]) == 50
    assert task["latestCheckpoint"] == {
        "id": "CP-2",
        "sequence": 2,
        "trigger": "manual",
        "executionPhase": "p",
        "executionStep": 3,
        "createdAt": latest["createdAt"],
        "expiresAt": latest["expiresAt"],
    }


async def test_task_list_is_a_line_a_task_after_the_counts(mcp: Server) -> None:
    assert await listed(mcp, "task_list") == ["project: 0 tasks"]
    await written(mcp, "task_create", title="Implement the types", streamId="Stream-A")
    await written(mcp, "task_update", id="TASK-1", status="in_progress", assignedAgent="me")
    await written(mcp, "task_create", title="On\n two   lines", assignedAgent="you")
    await written(mcp, "task_create", title="Done", parentId="TASK-1", streamId="Stream-A")
    await written(mcp, "task_update", id="TASK-3", status="completed")
    rows = [
        "TASK-1 in_progress Stream-A @me Implement the types",
        "TASK-2 pending - @you On two lines",
        "TASK-3 completed Stream-A Done",
    ]
    header = "project: 3 tasks: 1 in_progress, 1 pending, 1 completed"
    assert await listed(mcp, "task_list") == [header, *rows]
    for filters, expected in (
        ({"status": "in_progress"}, rows[:1]),
        ({"streamId": "Stream-A"}, [rows[0], rows[2]]),
        ({"assignedAgent": "you"}, rows[1:2]),
        ({"parentId": "TASK-1"}, rows[2:]),
        ({"streamId": "Stream-A", "status": "completed"}, rows[2:]),
        ({"assignedAgent": "nobody"}, []),
    ):
        first, *found = await listed(mcp, "task_list", **filters)
        assert found == expected
        assert first.startswith(f"project: {len(expected)} task")
    found_json = await written(mcp, "task_list", format="json")
    assert found_json["tasks"][0] == {
        "id": "TASK-1",
        "status": "in_progress",
        "streamId": "Stream-A",
        "assignedAgent": "me",
        "title": "Implement the types",
    }
    assert found_json["tasks"][1]["title"] == "On\n two   lines"
    assert set(found_json["tasks"][2]) == {"id", "status", "streamId", "title"}
    assert set(found_json) == {"tasks"}


async def test_stream_list_says_which_stream_is_ready_to_start(mcp: Server) -> None:
    assert (await listed(mcp, "stream_list"))[0].startswith("project: 0 streams")
    for stream, phase, dependencies in (
        ("A", "foundation", []),
        ("B", "parallel", ["A"]),
        ("C", "integration", []),
    ):
        await written(
            mcp,
            "task_create",
            title=f"Task of {stream}",
            streamId=stream,
            streamName=f"Stream {stream}",
            streamPhase=phase,
            streamDependencies=dependencies,
        )
    lines = await listed(mcp, "stream_list")
    assert lines == [
        "project: 3 streams, ready to start: A",
        "A pending 0/1 foundation READY: Stream A",
        "B pending 0/1 parallel needs A: Stream B",
        "C pending 0/1 integration after A,B: Stream C",
    ]
    await written(mcp, "task_update", id="TASK-1", status="completed")
    lines = await listed(mcp, "stream_list")
    assert lines[0] == "project: 3 streams, ready to start: B"
    assert lines[1] == "A completed 1/1 foundation: Stream A"
    streams = (await written(mcp, "stream_list", format="json"))["streams"]
    assert streams[1] == {
        "streamId": "B",
        "streamName": "Stream B",
        "streamPhase": "parallel",
        "status": "pending",
        "totalTasks": 1,
        "completedTasks": 0,
        "inProgressTasks": 0,
        "blockedTasks": 0,
        "pendingTasks": 1,
        "progressPercentage": 0.0,
        "dependencies": ["A"],
        "waitsFor": [],
        "ready": True,
    }


async def test_later_stream_arguments_replace_the_earlier_ones(one: Server) -> None:
    await one.ok("task_create", title="One", streamId="A", streamName="Old", streamPhase="parallel")
    await one.ok(
        "task_create",
        title="Two",
        streamId="A",
        streamName="New",
        streamPhase="foundation",
        streamDependencies=["Z"],
    )
    [stream] = (await one.ok("stream_list", format="json"))["streams"]
    found = [stream[name] for name in ("streamName", "streamPhase", "dependencies")]
    assert found == ["New", "foundation", ["Z"]]
    await one.ok("task_update", id="TASK-1", streamDependencies=[])
    [stream] = (await one.ok("stream_list", format="json"))["streams"]
    assert (stream["streamName"], stream["dependencies"]) == ("New", [])


async def test_checkpoints_are_made_and_listed_newest_first(mcp: Server) -> None:
    await written(mcp, "task_create", title="Work")
    assert await listed(mcp, "checkpoint_list", taskId="TASK-1") == [
        "project: TASK-1 pending: 0 checkpoints"
    ]
    made = await written(mcp, "checkpoint_create", taskId="TASK-1")
    assert list(made) == ["id", "taskId", "sequence", "trigger", "createdAt", "expiresAt"]
    assert (made["id"], made["taskId"], made["sequence"]) == ("CP-1", "TASK-1", 1)
    assert made["trigger"] == "manual"
    assert_times(made, "createdAt", "expiresAt")
    second = await written(
        mcp,
        "checkpoint_create",
        taskId="TASK-1",
        trigger="error",
        executionPhase="tests",
        executionStep="write them",
        draftContent="x",
        expiresIn=60,
    )
    header, *lines = await listed(mcp, "checkpoint_list", taskId="TASK-1")
    assert header == "project: TASK-1 pending: 2 checkpoints"
    assert lines == [
        f"CP-2 #2 error {second['createdAt']} tests step write them draft",
        f"CP-1 #1 manual {made['createdAt']}",
    ]
    assert len(await listed(mcp, "checkpoint_list", taskId="TASK-1", limit=1)) == 2
    rows = (await written(mcp, "checkpoint_list", taskId="TASK-1", format="json"))["checkpoints"]
    assert rows == [
        {
            "id": "CP-2",
            "sequence": 2,
            "trigger": "error",
            "executionPhase": "tests",
            "executionStep": "write them",
            "hasDraft": True,
            "createdAt": second["createdAt"],
            "expiresAt": second["expiresAt"],
        },
        {
            "id": "CP-1",
            "sequence": 1,
            "trigger": "manual",
            "createdAt": made["createdAt"],
            "expiresAt": made["expiresAt"],
        },
    ]


async def test_a_checkpoint_expires_after_its_time(one: Server) -> None:
    await one.ok("task_create", title="Work")
    for arguments, minutes in (
        ({}, 7 * 24 * 60),
        ({"trigger": "auto_status"}, 24 * 60),
        ({"trigger": "auto_subtask"}, 24 * 60),
        ({"trigger": "error"}, 24 * 60),
        ({"trigger": "error", "expiresIn": 5}, 5),
    ):
        made = await one.ok("checkpoint_create", taskId="TASK-1", **arguments)
        kept = datetime.fromisoformat(made["expiresAt"]) - datetime.fromisoformat(made["createdAt"])
        assert kept == timedelta(minutes=minutes)


async def test_the_newest_five_checkpoints_of_a_task_are_kept(one: Server) -> None:
    await one.ok("task_create", title="Work")
    await one.ok("task_create", title="Other")
    await one.ok("checkpoint_create", taskId="TASK-2")
    for number in range(8):
        made = await one.ok("checkpoint_create", taskId="TASK-1")
        assert made["sequence"] == number + 1
    rows = (await one.ok("checkpoint_list", taskId="TASK-1", format="json"))["checkpoints"]
    assert [row["sequence"] for row in rows] == [8, 7, 6, 5, 4]
    assert "CP-1 #1" in await one.text("checkpoint_list", taskId="TASK-2")
    assert len(contents(one.database)["checkpoints"]) == 6


async def test_how_many_checkpoints_are_kept_can_be_set(tmp_path: Path) -> None:
    async with start_server(tmp_path, checkpoints_kept=2) as mcp:
        await mcp.ok("task_create", title="Work")
        for _ in range(4):
            await mcp.ok("checkpoint_create", taskId="TASK-1")
        assert len(await listed(mcp, "checkpoint_list", taskId="TASK-1")) == 3


RESUMED = {
    *("checkpointId", "sequence", "checkpointCreatedAt", "restoredStatus", "restoredPhase"),
    *("restoredStep", "agentContext", "draftType", "draftContent", "subtaskSummary"),
    *("changedSince", "resumeInstructions", "pauseMetadata"),
}
"""What the contract promises, all of which this checkpoint has."""

PAUSE = {
    "pauseReason": "end of the day",
    "pausedBy": "first",
    "nextSteps": ["write the tests", "run them"],
    "blockers": "none",
    "keyFiles": ["a.py"],
    "estimatedResumeTime": "tomorrow",
}


async def test_a_different_agent_can_go_on_from_a_checkpoint(tmp_path: Path) -> None:
    async with start_server(tmp_path, agent="first") as first:
        await first.ok("task_create", title="Work", streamId="A", metadata={"k": 1})
        for number in range(3):
            await first.ok("task_create", title=f"Part {number}", parentId="TASK-1")
        await first.ok("task_update", id="TASK-1", status="in_progress", notes="half done")
        await first.ok("task_update", id="TASK-2", status="completed")
        made = await first.ok(
            "checkpoint_create",
            taskId="TASK-1",
            executionPhase="build",
            executionStep=2,
            agentContext={"decided": ["x", {"y": None}]},
            draftContent="half a file",
            draftType="code",
            pauseMetadata=PAUSE,
        )
    async with start_server(tmp_path, agent="second") as second:
        await second.ok(
            "task_update", id="TASK-1", status="blocked", notes="asked", metadata={"k": 2}
        )
        await second.ok("task_update", id="TASK-3", status="in_progress")
        await second.ok("task_create", title="Part 3", parentId="TASK-1")
        resumed = await written(second, "checkpoint_resume", taskId="TASK-1")
        assert set(resumed) - {"taskId", "taskTitle"} == RESUMED
        assert resumed["checkpointId"] == "CP-1"
        assert resumed["checkpointCreatedAt"] == made["createdAt"]
        found = [resumed[f"restored{name}"] for name in ("Status", "Phase", "Step")]
        assert found == ["in_progress", "build", 2]
        assert resumed["agentContext"] == {"decided": ["x", {"y": None}]}
        assert (resumed["draftType"], resumed["draftContent"]) == ("code", "half a file")
        assert resumed["pauseMetadata"] == PAUSE
        counts = {"total": 4, "completed": 1, "inProgress": 1, "pending": 2}
        assert resumed["subtaskSummary"] == counts
        changes = {item.get("field", item.get("subtask")): item for item in resumed["changedSince"]}
        assert set(changes) == {
            *("status", "blockedReason", "notes", "metadata", "TASK-3", "TASK-5")
        }
        assert changes["status"] == {"field": "status", "then": "in_progress", "now": "blocked"}
        assert (changes["notes"]["then"], changes["notes"]["now"]) == ("half done", "asked")
        assert (changes["metadata"]["then"], changes["metadata"]["now"]) == ({"k": 1}, {"k": 2})
        assert (changes["TASK-3"]["then"], changes["TASK-3"]["now"]) == ("pending", "in_progress")
        assert changes["TASK-5"]["now"] == "pending"
        for word in ("TASK-1", "in_progress", "build", "blocked", "changedSince", "draftContent"):
            assert word in resumed["resumeInstructions"]
    last = events(second.database)[-1]
    assert (last["eventType"], last["actor"]) == ("checkpoint.resumed", "second")


async def test_a_checkpoint_of_nothing_answers_nothing_without_value(mcp: Server) -> None:
    await written(mcp, "task_create", title="Work")
    await written(mcp, "checkpoint_create", taskId="TASK-1")
    resumed = await written(mcp, "checkpoint_resume", taskId="TASK-1")
    assert not resumed.pop("changedSince", None)
    assert set(resumed) - {"taskId", "taskTitle"} == {
        *("checkpointId", "sequence", "checkpointCreatedAt", "restoredStatus"),
        "resumeInstructions",
    }
    assert None not in resumed.values()


async def test_an_older_checkpoint_can_be_resumed_by_its_id(one: Server) -> None:
    await one.ok("task_create", title="Work")
    await one.ok("checkpoint_create", taskId="TASK-1", draftContent="old")
    await one.ok("checkpoint_create", taskId="TASK-1", draftContent="new")
    assert (await one.ok("checkpoint_resume", taskId="TASK-1"))["draftContent"] == "new"
    old = await one.ok("checkpoint_resume", taskId="TASK-1", checkpointId="CP-1")
    assert (old["draftContent"], old["sequence"]) == ("old", 1)


# Long content


DRAFTS = {
    "letters": filled_with(" line of the draft\n", 1_048_576),
    "odd characters": filled_with(ODD, 1_048_576),
    "control characters": "\x01" * 200_000,
    "emoji": "💡" * 262_144,
}


@pytest.mark.parametrize("draft", list(DRAFTS.values()), ids=list(DRAFTS))
async def test_a_long_draft_is_read_completely_in_pieces_without_further_events(
    one: Server, draft: str
) -> None:
    await one.ok("task_create", title="Work")
    await one.ok("checkpoint_create", taskId="TASK-1", draftContent=draft)
    first = await written(one, "checkpoint_resume", taskId="TASK-1")
    parts, remaining = [first["draftContent"]], first["draftRemaining"]
    assert len(parts[0]) <= 40_000
    before = len(events(one.database))
    while remaining:
        offset = sum(map(len, parts))
        assert remaining == len(draft) - offset
        piece = await written(
            one, "checkpoint_resume", taskId="TASK-1", checkpointId="CP-1", draftOffset=offset
        )
        assert piece["draftContent"]
        parts.append(piece["draftContent"])
        remaining = piece.get("draftRemaining", 0)
    assert "".join(parts) == draft
    assert len(events(one.database)) == before


async def test_a_draft_of_forty_thousand_characters_comes_whole(one: Server) -> None:
    await one.ok("task_create", title="Work")
    for size, remaining in ((40_000, None), (40_001, 1)):
        await one.ok("checkpoint_create", taskId="TASK-1", draftContent="x" * size)
        resumed = await written(one, "checkpoint_resume", taskId="TASK-1")
        assert len(resumed["draftContent"]) == 40_000
        assert resumed.get("draftRemaining") == remaining
    past = await written(one, "checkpoint_resume", taskId="TASK-1", draftOffset=50_000)
    assert past["draftContent"] == ""
    assert "draftRemaining" not in past


@pytest.mark.parametrize("pattern", [" of the context ", ODD], ids=["letters", "odd"])
async def test_a_long_context_is_read_completely_beside_a_long_draft(
    one: Server, pattern: str
) -> None:
    context: dict[str, Any] = {"kept": []}
    text = filled_with(pattern, 30_000)
    context["kept"] = [text[n : n + 100] for n in range(0, len(text), 100)]
    context["more"] = "y" * (KIB64 - len(compact_bytes(context)) - len(',"more":""'))
    assert len(compact_bytes(context)) == KIB64
    await one.ok("task_create", title="Work")
    await one.ok(
        "checkpoint_create", taskId="TASK-1", agentContext=context, draftContent="d" * 70_000
    )
    first = await written(one, "checkpoint_resume", taskId="TASK-1")
    before = len(events(one.database))
    parts = [first["agentContextText"]]
    remaining = first["agentContextTextRemaining"]
    while remaining:
        offset = sum(map(len, parts))
        piece = await written(one, "checkpoint_resume", taskId="TASK-1", contextOffset=offset)
        parts.append(piece["agentContextText"])
        assert parts[-1]
        remaining = piece.get("agentContextTextRemaining", 0)
    assert json.loads("".join(parts)) == context
    draft = [first.get("draftContent", "")]
    remaining = first["draftRemaining"]
    while remaining:
        offset = sum(map(len, draft))
        piece = await written(one, "checkpoint_resume", taskId="TASK-1", draftOffset=offset)
        draft.append(piece["draftContent"])
        assert draft[-1]
        remaining = piece.get("draftRemaining", 0)
    assert "".join(draft) == "d" * 70_000
    assert len(events(one.database)) == before


def compact_bytes(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


@pytest.mark.parametrize("pattern", [" of the text ", ODD], ids=["letters", "odd"])
async def test_a_task_with_all_its_texts_full_is_read_completely(one: Server, pattern: str) -> None:
    description, notes = filled_with(pattern, KIB64), filled_with(pattern[::-1], KIB64)
    metadata: dict[str, Any] = {"a": filled_with(pattern, 30_000), "b": [1] * 100}
    files = [f"folder/{number}/{'n' * 100}.py" for number in range(200)]
    await one.ok(
        "task_create", title="x" * 500, description=description, metadata=metadata, files=files
    )
    await one.ok("task_update", id="TASK-1", notes=notes)
    for number in range(50):
        await one.ok("task_create", title=f"{number} {'💡' * 400}", parentId="TASK-1")
    first = await written(one, "task_get", id="TASK-1")
    assert first["title"] == "x" * 500
    texts = {"description": description, "notes": notes}
    objects = {"metadata": metadata, "files": files}
    for name, whole in (texts | objects).items():
        if f"{name}Remaining" not in first:
            assert first[name] == whole
            continue
        parts, remaining = [first[name]], first[f"{name}Remaining"]
        while remaining:
            offset = sum(map(len, parts))
            piece = await written(one, "task_get", id="TASK-1", field=name, offset=offset)
            assert piece["id"] == "TASK-1"
            assert piece[name]
            parts.append(piece[name])
            remaining = piece.get(f"{name}Remaining", 0)
        text = "".join(parts)
        assert (json.loads(text) if name in objects else text) == whole


# Lists of many


async def made_many(mcp: Server, count: int, **arguments: Any) -> None:
    """Makes tasks, many at once; `arguments` are functions of the number."""
    for start in range(0, count, 250):
        await asyncio.gather(
            *(
                mcp.ok("task_create", **{name: make(number) for name, make in arguments.items()})
                for number in range(start, min(count, start + 250))
            )
        )


async def pages(mcp: Server, tool: str, **arguments: object) -> AsyncIterator[list[str]]:
    """The pages of a list without their first and last lines."""
    cursor: dict[str, str] = {}
    for _ in range(200):
        _header, *lines = await listed(mcp, tool, **arguments, **cursor)
        found = re.search(r"cursor=(\S+)", lines[-1]) if lines else None
        if not lines or not lines[-1].startswith("More:"):
            yield lines
            return
        assert found
        yield lines[:-1]
        cursor = {"cursor": found.group(1)}
    pytest.fail("the list has no end")


async def test_every_task_is_on_exactly_one_page(one: Server) -> None:
    await made_many(
        one,
        250,
        title=lambda n: f"Task number {n}",
        streamId=lambda n: "A" if n % 2 else None,
    )
    found = [page async for page in pages(one, "task_list")]
    assert [len(page) for page in found] == [100, 100, 50]
    ids = [line.split()[0] for page in found for line in page]
    assert ids == [f"TASK-{number}" for number in range(1, 251)]
    found = [page async for page in pages(one, "task_list", limit=30, streamId="A")]
    assert [len(page) for page in found] == [30, 30, 30, 30, 5]
    assert len({line for page in found for line in page}) == 125
    objects: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = await written(one, "task_list", format="json", limit=70, **cursor)
        objects += [task["id"] for task in page["tasks"]]
        if "nextCursor" not in page:
            break
        cursor = {"cursor": page["nextCursor"]}
    assert sorted(objects) == sorted(ids)
    assert len(objects) == 250


async def test_a_task_that_is_made_between_two_pages_shifts_none(one: Server) -> None:
    await made_many(one, 20, title=lambda n: f"Task {n}")
    seen: list[str] = []
    async for page in pages(one, "task_list", limit=6):
        seen += [line.split()[0] for line in page]
        if len(seen) == 6:
            await one.ok("task_create", title="In between")
            await one.ok("task_update", id="TASK-2", status="completed")
    assert seen == [f"TASK-{number}" for number in range(1, 22)]


async def test_a_cursor_goes_with_its_filters(one: Server) -> None:
    await made_many(one, 3, title=lambda n: f"Task {n}")
    cursor = (await written(one, "task_list", format="json", limit=1))["nextCursor"]
    text = await one.refused("task_list", cursor=cursor, status="pending")
    assert "cursor: " in text
    assert "same filters" in text


async def test_a_thousand_long_titles_are_listed_in_answers_of_limited_size(one: Server) -> None:
    await made_many(one, 1000, title=lambda n: f"{n} {('💡' if n % 2 else 'x') * 490}"[:500])
    titles = [
        line.split(" ", 3)[3] async for page in pages(one, "task_list", limit=1000) for line in page
    ]
    assert sorted(int(title.split()[0]) for title in titles) == list(range(1000))
    assert min(map(len, titles)) > 490
    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = await written(one, "task_list", format="json", limit=1000, **cursor)
        found += [task["title"] for task in page["tasks"]]
        if "nextCursor" not in page:
            break
        cursor = {"cursor": page["nextCursor"]}
    assert found == titles


async def test_many_streams_are_listed_in_pages_too(one: Server) -> None:
    await made_many(
        one,
        300,
        title=lambda n: f"Task {n}",
        streamId=lambda n: f"Stream-{n:03}",
        streamName=lambda n: "💡" * 190,
        streamDependencies=lambda n: [f"Stream-{other:03}" for other in range(n % 40)],
    )
    lines = [line async for page in pages(one, "stream_list") for line in page]
    assert {line.split()[0] for line in lines} == {f"Stream-{n:03}" for n in range(300)}
    assert len(lines) == 300


async def test_a_list_costs_at_most_24_bytes_a_task_beyond_its_words(one: Server) -> None:
    await made_many(
        one,
        500,
        title=lambda n: f"Title {n}",
        streamId=lambda n: f"Stream-{n % 7}",
        assignedAgent=lambda n: f"agent-{n % 5}",
    )
    statuses = ["in_progress", "pending", "completed", "blocked", "pending"]
    await asyncio.gather(
        *(
            one.ok("task_update", id=f"TASK-{n}", status=statuses[n % 5], notes="n")
            for n in range(1, 501)
        )
    )
    text = await one.text("task_list", limit=1000)
    rows = (await one.ok("task_list", limit=1000, format="json"))["tasks"]
    words = sum(len(row["title"] + row["streamId"] + row["assignedAgent"]) for row in rows)
    assert len(rows) == 500
    assert (len(text.encode()) - words) / 500 <= 24


# The list of tools


async def test_the_tools_are_listed_in_few_bytes_with_their_hints(mcp: Server) -> None:
    ask = mcp.modern if mcp._modern else mcp.request
    result = result_of(await ask("tools/list"))
    tools = {tool["name"]: tool for tool in result["tools"]}
    assert list(tools) == TOOLS
    assert len(compact_bytes(result)) < 8000
    for name, tool in tools.items():
        writes = name in {"task_create", "task_update", "checkpoint_create", "checkpoint_resume"}
        assert tool["annotations"]["readOnlyHint"] is not writes
        assert tool["annotations"]["openWorldHint"] is False
        assert tool["annotations"].get("destructiveHint", False) is False
        assert "outputSchema" not in tool
        schema = tool["inputSchema"]
        assert schema["type"] == "object"
        assert schema["additionalProperties"] is False
        always = name in {"task_create", "task_update"}
        assert tool.get("_meta", {}).get("anthropic/alwaysLoad", False) is always


async def test_schemas_refer_to_nothing_that_is_missing(one: Server) -> None:
    result = result_of(await one.request("tools/list"))
    for tool in result["tools"]:
        for name, schema in tool["inputSchema"]["properties"].items():
            text = json.dumps(schema)
            for definition in re.findall(r'"\$ref": "#/\$defs/(\w+)"', text):
                assert definition in tool["inputSchema"].get("$defs", {}), (tool["name"], name)


async def test_the_instructions_name_the_workspace_and_when_to_use_the_tools(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "a project of mine"
    async with start_server(tmp_path, folder=folder, era=None) as mcp:
        discovered = result_of(await mcp.modern("server/discover"))["instructions"]
        instructions = (await mcp.initialize())["instructions"]
    assert discovered == instructions
    assert len(instructions) < 2000
    assert "Workspace: a project of mine" in instructions
    start = instructions[:400]
    assert "your own task list" in start
    assert "outlive" in start


async def test_long_names_of_workspaces_keep_the_instructions_short(tmp_path: Path) -> None:
    async with start_server(tmp_path, workspace="w" * 5000, era=None) as mcp:
        assert len((await mcp.initialize())["instructions"]) < 2000


# Who acts


async def test_the_actor_is_the_client_with_a_short_id_by_default(mcp: Server) -> None:
    await mcp.ok("task_create", title="One", streamId="A")
    await mcp.ok("task_update", id="TASK-1", status="in_progress")
    await mcp.ok("checkpoint_create", taskId="TASK-1")
    found = set(actors(mcp.database))
    assert len(found) == 1
    assert re.fullmatch(r"raw-[0-9a-f]{4,}", found.pop())


async def test_the_setting_and_the_argument_win_over_the_client_as_actor(tmp_path: Path) -> None:
    async with start_server(tmp_path, agent="from the setting") as mcp:
        await mcp.ok("task_create", title="One")
        await mcp.ok("task_create", title="Two", agent="from the call")
        await mcp.ok("task_update", id="TASK-1", notes="n", agent="another")
        await mcp.ok("checkpoint_create", taskId="TASK-1", agent="third")
        await mcp.ok("checkpoint_resume", taskId="TASK-1", agent="fourth")
        await mcp.ok("task_update", id="TASK-1", notes="m")
    assert actors(mcp.database) == [
        *("from the setting", "from the call", "another", "third", "fourth", "from the setting")
    ]


async def test_processes_of_the_same_client_are_different_actors(tmp_path: Path) -> None:
    for name in ("claude-code", "claude-code", "codex"):
        async with start_server(tmp_path, era=None) as mcp:
            await mcp.introduce(name)
            await mcp.ok("task_create", title="One")
    first, second, third = actors(tmp_path / "tasks.db")
    assert first.startswith("claude-code-")
    assert second.startswith("claude-code-")
    assert third.startswith("codex-")
    assert first != second


@pytest.mark.parametrize("name", ["", "x" * 5000, "a\nb\x1b[31m", "\U0001f600"])
async def test_a_strange_name_of_a_client_makes_a_printable_actor(
    tmp_path: Path, name: str
) -> None:
    async with start_server(tmp_path, era=None) as mcp:
        await mcp.introduce(name)
        await mcp.ok("task_create", title="One")
    [actor] = actors(mcp.database)
    assert 5 <= len(actor) <= 100
    assert actor.isprintable()


# Workspaces


async def test_worktrees_of_one_repository_are_one_workspace(tmp_path: Path) -> None:
    main, other = tmp_path / "repository", tmp_path / "elsewhere" / "worktree"
    main.mkdir()
    git = ("git", "-c", "user.name=me", "-c", "user.email=me@example.org")
    for command in (
        ("init", "-q"),
        ("commit", "-q", "--allow-empty", "-m", "first"),
        ("worktree", "add", "-q", str(other)),
    ):
        run = (*git, *command)
        await asyncio.to_thread(subprocess.run, run, cwd=main, check=True, capture_output=True)
    below = other / "deep" / "below"
    below.mkdir(parents=True)
    async with start_server(tmp_path, folder=main) as mcp:
        await mcp.ok("task_create", title="From the main folder")
    async with start_server(tmp_path, folder=other) as mcp:
        await mcp.ok("task_update", id="TASK-1", notes="from the worktree")
        await mcp.ok("task_create", title="From the worktree")
    async with start_server(tmp_path, folder=below) as mcp:
        header, *lines = await listed(mcp, "task_list")
    assert header.startswith("repository: 2 tasks")
    assert len(lines) == 2
    assert {event["workspace"] for event in events(mcp.database)} == {"repository"}


async def test_a_folder_of_the_same_name_is_another_workspace(tmp_path: Path) -> None:
    first, second = tmp_path / "one" / "app", tmp_path / "two" / "app"
    async with start_server(tmp_path, folder=first) as mcp:
        await mcp.ok("task_create", title="Mine")
    async with start_server(tmp_path, folder=second) as mcp:
        assert "Mine" not in await mcp.text("task_list")
        await mcp.ok("task_create", title="Yours", streamId="A")
        header, line = await listed(mcp, "task_list")
        assert line == "TASK-2 pending A Yours"
        assert re.match(r"app-[0-9a-f]{6}: 1 task", header)
        assert "'app'" in await mcp.refused("task_get", id="TASK-1")
    async with start_server(tmp_path, folder=first) as mcp:
        assert (await listed(mcp, "task_list"))[0] == "app: 1 task: 1 pending"
        assert (await listed(mcp, "stream_list"))[0].startswith("app: 0 streams")


async def test_a_workspace_given_by_name_is_the_same_from_everywhere(tmp_path: Path) -> None:
    async with start_server(tmp_path, folder=tmp_path / "one", workspace="shared work") as mcp:
        await mcp.ok("task_create", title="From one")
    async with start_server(tmp_path, folder=tmp_path / "two", workspace="shared work") as mcp:
        header, line = await listed(mcp, "task_list")
    assert (header, line) == ("shared work: 1 task: 1 pending", "TASK-1 pending - From one")


async def test_a_workspace_given_by_folder_is_that_of_the_folder(tmp_path: Path) -> None:
    project, other = tmp_path / "project", tmp_path / "other"
    async with start_server(tmp_path, folder=project) as mcp:
        await mcp.ok("task_create", title="In the project")
    for given in (str(project), "../project", f"{project}/"):
        async with start_server(tmp_path, folder=other, workspace=given) as mcp:
            assert (await listed(mcp, "task_list"))[0] == "project: 1 task: 1 pending"
    environment = {"CLAUDE_PROJECT_DIR": str(project)}
    async with start_server(tmp_path, folder=other, environment=environment) as mcp:
        assert (await listed(mcp, "task_list"))[0] == "project: 1 task: 1 pending"
    async with start_server(
        tmp_path, folder=other, environment=environment, workspace=str(other)
    ) as mcp:
        assert (await listed(mcp, "task_list"))[0] == "other: 0 tasks"
