"""Real processes: a call that is sent again is carried out once, whatever happened to the first."""

import asyncio
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from e2e.servers import Server, after, contents, events, start_server
from support import close, database_at
from task_copilot import checkpoints, tasks, workspaces
from task_copilot.checkpoints import NewCheckpoint
from task_copilot.database.transaction import Transaction
from task_copilot.location import locate
from task_copilot.streams import StreamChange
from task_copilot.tasks import NewTask
from task_copilot.workspaces import Scope

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")

KILLED_BEFORE_THE_ANSWER = """
import os, signal
from task_copilot.tools import adapter
adapter.success = lambda _answer: os.kill(os.getpid(), signal.SIGKILL)
"""
KILLED_BEFORE_THE_COMMIT = """
import os, signal
from task_copilot import requests
requests.keep = lambda *_given: os.kill(os.getpid(), signal.SIGKILL)
"""

CALLS: dict[str, dict[str, Any]] = {
    "task_create": {"title": "New", "streamId": "Stream-A"},
    "task_update": {"id": "TASK-1", "status": "completed"},
    "checkpoint_create": {"taskId": "TASK-1", "draftContent": "half"},
    "checkpoint_resume": {"taskId": "TASK-1"},
}
EACH = pytest.mark.parametrize("tool", CALLS)
EVENT = {
    "task_create": "task.created",
    "task_update": "task.completed",
    "checkpoint_create": "checkpoint.created",
    "checkpoint_resume": "checkpoint.resumed",
}


def prepared(tmp_path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """A database with one task, its checkpoint and no server; what it holds."""
    project = tmp_path / "project"
    project.mkdir()
    new = NewTask(title="First", stream=StreamChange(stream_id="Stream-A"))
    checkpoint = NewCheckpoint(agent_context={"open": ["x"]})

    def prepare(transaction: Transaction) -> None:
        place = workspaces.ensure(transaction, locate(None, {}, project))
        task = tasks.create(transaction, Scope(place, "tester"), new).id
        checkpoints.create(transaction, Scope(place, "tester"), task, checkpoint, kept=5)

    database = database_at(tmp_path)
    database.write_now(prepare)
    close(database)
    return contents(tmp_path / "tasks.db")


async def killed_in(tmp_path: Path, preparation: str, tool: str) -> None:
    """A call of a server that is killed in the midst of it."""
    async with start_server(tmp_path, command=after(preparation)) as mcp:
        with pytest.raises(ConnectionResetError):
            await mcp.call(tool, {**CALLS[tool], "requestId": "r-1"}, timeout=30)
        assert await mcp.wait_exit() == -signal.SIGKILL


async def asked_again(mcp: Server, tool: str) -> dict[str, Any]:
    return await mcp.call(tool, {**CALLS[tool], "requestId": "r-1"}, timeout=30)


@EACH
async def test_another_process_answers_for_one_that_was_killed_before_it_could(
    tmp_path: Path, tool: str
) -> None:
    before = prepared(tmp_path)
    await killed_in(tmp_path, KILLED_BEFORE_THE_ANSWER, tool)
    carried_out = contents(tmp_path / "tasks.db")
    assert len(carried_out["events"]) > len(before["events"])
    answers = []
    for _ in range(2):
        async with start_server(tmp_path) as mcp:
            answers += [await asked_again(mcp, tool), await asked_again(mcp, tool)]
    assert not answers[0].get("isError")
    assert answers[1:] == answers[:1] * 3
    assert contents(tmp_path / "tasks.db") == carried_out
    last = next(e for e in reversed(events(tmp_path / "tasks.db")) if e["eventType"] == EVENT[tool])
    told = answers[0]["structuredContent"]
    data = last["data"]
    assert data["taskId"] == (told["id"] if tool.startswith("task") else told["taskId"])
    assert data.get("checkpointId") in {None, told.get("checkpointId"), told.get("id")}
    assert told.get("createdAt", last["timestamp"]) == last["timestamp"]


@EACH
async def test_a_call_that_was_killed_before_its_commit_is_carried_out_when_it_comes_again(
    tmp_path: Path, tool: str
) -> None:
    before = prepared(tmp_path)
    await killed_in(tmp_path, KILLED_BEFORE_THE_COMMIT, tool)
    assert contents(tmp_path / "tasks.db") == before
    async with start_server(tmp_path) as mcp:
        first, second = await asked_again(mcp, tool), await asked_again(mcp, tool)
    assert first == second
    assert not first.get("isError")
    new = [event["eventType"] for event in events(tmp_path / "tasks.db")][len(before["events"]) :]
    assert new.count(EVENT[tool]) == 1


async def test_one_id_in_flight_in_several_processes_makes_one_change_and_one_answer(
    tmp_path: Path,
) -> None:
    async with (
        start_server(tmp_path) as one,
        start_server(tmp_path, port=one.port) as two,
        start_server(tmp_path, port=one.port) as three,
    ):
        servers = (one, two, three)
        await asyncio.gather(*(each.text("task_list") for each in servers))
        for number in range(1, 21):
            answers = await asyncio.gather(
                *(
                    each.call("task_create", {"title": "t", "requestId": f"r-{number}"}, 30)
                    for each in servers * 3
                )
            )
            assert answers[1:] == answers[:1] * 8
            assert answers[0]["structuredContent"]["id"] == f"TASK-{number}"
    assert len(events(one.database)) == 20


async def test_a_repetition_in_either_era_of_the_protocol_is_answered_the_same(
    tmp_path: Path,
) -> None:
    call = {"title": "t", "requestId": "r-1"}
    answers = []
    for era in ("handshake", "modern"):
        async with start_server(tmp_path, era=era) as mcp:
            answers.append(await mcp.call("task_create", call, timeout=30))
    texts = [(answer["content"], answer["structuredContent"]) for answer in answers]
    assert texts[0] == texts[1]
