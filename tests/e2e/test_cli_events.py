"""``task-copilot events``, beside a running server and without one."""

import json
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from e2e.programs import beside, invoked, running
from e2e.servers import COMMAND, Server, events, opened, start_server
from e2e.test_commands import run

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals")


@pytest.fixture
async def mcp(tmp_path: Path) -> AsyncIterator[Server]:
    """A server with three changes, which are eight events."""
    async with start_server(tmp_path, log_level="info") as server:
        await server.served()
        await server.ok("task_create", title="Pay by card", streamId="Stream-B", agent="ada")
        await server.ok("task_update", id="TASK-1", status="in_progress", agent="ada")
        await server.ok(
            "task_update", id="TASK-1", status="blocked", blockedReason="no key", agent="bob"
        )
        yield server


LINES = [
    "ada TASK-1 Pay by card: created (Stream-B 0 %)",
    "ada TASK-1 Pay by card: pending → in_progress (Stream-B 0 %, started)",
    "bob TASK-1 Pay by card: in_progress → blocked: no key (Stream-B 0 %, 1 blocked)",
]


def without_times(text: str) -> list[str]:
    return [line.partition(" ")[2] for line in text.splitlines()]


def said(mcp: Server, *words: str) -> str:
    """What a command that succeeds prints."""
    done = beside(mcp, *words)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def url(mcp: Server) -> tuple[str, str]:
    return "--url", f"http://127.0.0.1:{mcp.port}"


@pytest.mark.parametrize("by", ["database", "hub"])
async def test_each_change_is_a_line_and_in_json_every_event_is_one(mcp: Server, by: str) -> None:
    place = url(mcp) if by == "hub" else ()
    assert without_times(said(mcp, "events", *place)) == LINES
    printed = [json.loads(line) for line in said(mcp, "events", "--json", *place).splitlines()]
    assert printed == events(mcp.database)
    only = said(mcp, "events", "--not-actor", "ada", "--event-types", "task.*", *place)
    assert without_times(only) == ["bob TASK-1 Pay by card: in_progress → blocked: no key"]


async def test_it_begins_and_ends_where_it_is_told(mcp: Server) -> None:
    assert without_times(said(mcp, "events", "--since", "2")) == LINES[1:]
    assert without_times(said(mcp, "events", "--replay", "5")) == LINES[2:]
    first = said(mcp, "events", "--since", "0", "--limit", "2", "--json")
    assert [json.loads(line)["seq"] for line in first.splitlines()] == [1, 2]


@pytest.mark.parametrize("by", ["database", "hub"])
async def test_it_follows_until_it_is_interrupted(mcp: Server, by: str) -> None:
    words = [*COMMAND, "events", "-f", "--since", "2", *(url(mcp) if by == "hub" else ())]
    async with running(words, mcp.environment, mcp.folder) as program:
        assert LINES[1] in await program.line()
        assert LINES[2] in await program.line()
        await mcp.ok("task_update", id="TASK-1", status="completed")
        assert "blocked → completed after " in await program.line()
        assert await program.interrupted() == 130


async def test_it_follows_the_database_when_its_hub_is_killed_and_when_there_is_none(
    tmp_path: Path,
) -> None:
    async with start_server(tmp_path) as first:
        await first.ok("task_create", title="One")
        words = [*COMMAND, "events", "--follow", "--json", "--since", "0"]
        async with running(words, first.environment, first.folder) as program:
            assert json.loads(await program.line())["seq"] == 1
            first.process.send_signal(signal.SIGKILL)
            await first.process.wait()
            assert "TASK-2 created" in run(first, "create", "Two").stdout
            assert json.loads(await program.line())["data"]["taskTitle"] == "Two"
            async with start_server(tmp_path, port=first.port) as second:
                await second.ok("task_create", title="Three")
                assert json.loads(await program.line())["seq"] == 3
    assert len(said(first, "events").splitlines()) == 3


async def test_a_gap_is_said(mcp: Server) -> None:
    with opened(mcp.database, write=True) as connection:
        connection.execute("DELETE FROM events WHERE seq <= 2")
    finished = beside(mcp, "events", "--since", "0", "--json")
    assert finished.stderr == "task-copilot: The events 1 to 2 are no longer kept.\n"
    first, second, *_ = map(json.loads, finished.stdout.splitlines())
    assert first == {"gap": {"from": 1, "to": 2, "reason": "pruned"}}
    assert second["seq"] == 3


REFUSED = [
    (("--since", "1", "--replay", "1"), 2, "Give either --since or --replay."),
    (("--workspace", "x", "--all-workspaces"), 2, "Give either --workspace or"),
    (("--since", "-1"), 2, "--since"),
    (("--since", "99"), 1, "99 is no position of the log, whose newest event is 11."),
    (("--topics", "nonsense"), 1, "--topics: 'nonsense' is no topic"),
    (("--event-types", "task.nothing"), 1, "'task.nothing' selects no event"),
    (("--workspace", "nowhere"), 1, "There is no workspace nowhere."),
    (("--url", "http://127.0.0.1:1"), 1, "Nobody serves at http://127.0.0.1:1"),
]


async def test_what_makes_no_sense_is_refused(mcp: Server, monkeypatch: Any) -> None:
    monkeypatch.chdir(mcp.folder)
    for words, code, reason in REFUSED:
        finished = invoked(["events", *words], mcp.environment)
        assert (finished.exit_code, finished.stdout) == (code, "")
        assert reason in finished.stderr


async def test_only_the_events_of_the_workspace_are_shown_unless_all_are_wanted(
    mcp: Server, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert beside(mcp, "events", folder=elsewhere).stdout == "", "nothing was written there yet"
    everywhere = beside(mcp, "events", "--all-workspaces", folder=elsewhere).stdout
    assert without_times(everywhere) == [f"project {line}" for line in LINES]
