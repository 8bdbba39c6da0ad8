"""``task-copilot watch`` on a terminal, while agents work and servers come and go."""

import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from e2e.programs import remove_database, running
from e2e.servers import COMMAND, Server, free_port, start_server

if sys.platform == "win32":
    pytest.skip("terminals", allow_module_level=True)

from e2e.terminals import Terminal, on_terminal

COLOUR = re.compile(rb"\x1b\[(?:\d+;)*(?:3[0-8]|4[0-8]|9[0-7])(?:;\d+)*m")


def watching(
    mcp: Server, *words: str, columns: int = 80, rows: int = 24, **environment: str
) -> AbstractAsyncContextManager[Terminal]:
    every = {**mcp.environment, **environment}
    command = [*COMMAND, "watch", *words]
    return on_terminal(command, every, mcp.folder, columns=columns, rows=rows)


@pytest.fixture
async def mcp(tmp_path: Path) -> AsyncIterator[Server]:
    """A server with two streams, of which one has work in it."""
    async with start_server(tmp_path, agent="ada", log_level="info") as server:
        await server.served()
        for stream, name in (("Stream-A", "Model"), ("Stream-B", "Payments")):
            for part in ("one", "two"):
                await server.ok(
                    "task_create", title=f"{name} {part}", streamId=stream, streamName=name
                )
        await server.ok("task_update", id="TASK-1", status="in_progress", assignedAgent="ada")
        yield server


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (200, 60)])
async def test_the_screen_shows_the_work_as_it_goes_on(
    mcp: Server, columns: int, rows: int
) -> None:
    async with watching(mcp, columns=columns, rows=rows) as terminal:
        await terminal.shows("live", "2 streams: 0 of 4 tasks completed; 1 in progress, 0 blocked")
        assert "BLOCKED" not in terminal.text
        assert terminal.lines[0].startswith("Task Copilot  project")
        assert terminal.lines[0].endswith(f"live  http://127.0.0.1:{mcp.port}")
        assert "ada TASK-1 Model one: pending → in_progress, assigned to ada" in terminal.text

        await mcp.ok("task_update", id="TASK-3", status="blocked", blockedReason="no [red]key[/]")
        await terminal.shows("BLOCKED", "(Stream-B, ", " s): no [red]key[/]")
        assert terminal.lines[3].startswith("! TASK-3 Payments one (Stream-B")

        await mcp.ok("task_update", id="TASK-1", status="completed")
        await terminal.shows("50 % 1 of 2", "0 in progress, 1 blocked", without="AGENTS")
        await mcp.ok("task_update", id="TASK-2", status="completed")
        await terminal.shows("100 % 2 of 2 completed", "in_progress → completed")
        await mcp.ok("task_update", id="TASK-3", status="pending")
        await terminal.shows("0 blocked", without="BLOCKED")

        assert not any(line[columns:] for line in terminal.lines)
        assert [line for line in terminal.lines if line.startswith("Task Copilot")] == [
            terminal.lines[0]
        ], "nothing was scrolled"
        terminal.type(b"q")
        assert await terminal.ends() == 0
        await terminal.until(terminal.is_given_back, "the terminal")


async def test_many_streams_and_long_titles_stay_on_the_screen(mcp: Server) -> None:
    for number in range(30):
        title = f"{number} " + "漢字\u202e\x07 [bold]long[/] " * 10
        await mcp.ok("task_create", title=title, streamId=f"Z-{number:02}", streamName=title[:150])
        await mcp.ok("task_update", id=f"TASK-{5 + number}", status="in_progress")
    async with watching(mcp) as terminal:
        await terminal.shows("32 streams: ", "more streams are not shown", "CHANGES", "AGENTS")
        assert terminal.lines[0].startswith("Task Copilot  project")
        terminal.resize(200, 60)
        await terminal.shows("32 streams: ", "CHANGES", without="not shown")
        terminal.resize(80, 24)
        await terminal.shows("32 streams: ", "more streams are not shown")
        assert terminal.lines[0].startswith("Task Copilot  project")


@pytest.mark.parametrize("by", ["runtime file", "url"])
async def test_a_hub_that_is_killed_is_said_and_the_next_one_found(tmp_path: Path, by: str) -> None:
    port = free_port()
    words = ("--url", f"http://127.0.0.1:{port}") if by == "url" else ()
    async with start_server(tmp_path, port=port, log_level="info") as first:
        await first.served()
        await first.ok("task_create", title="One", streamId="Stream-A")
        async with watching(first, *words) as terminal:
            await terminal.shows("live", "1 stream: 0 of 1 task completed")
            first.process.kill()
            await terminal.shows("OFFLINE", "trying again", "What follows is the state of then.")
            assert "0 of 1 task completed" in terminal.text
            async with start_server(tmp_path, port=port) as second:
                await second.ok("task_update", id="TASK-1", status="completed")
                await terminal.shows("live", "1 of 1 task completed", without="OFFLINE")


async def test_without_a_hub_it_says_so_and_waits_for_one(tmp_path: Path) -> None:
    async with start_server(tmp_path) as mcp:
        await mcp.ok("task_create", title="One", streamId="Stream-A")
    async with watching(mcp) as terminal:
        await terminal.shows("OFFLINE", "no session or 'task-copilot serve' runs")
        assert "0 streams" not in terminal.text, "nothing is known yet"
        async with start_server(tmp_path, port=mcp.port):
            await terminal.shows("live", "1 stream: 0 of 1 task completed", without="OFFLINE")


async def test_another_database_is_read_anew(tmp_path: Path) -> None:
    async with start_server(tmp_path, log_level="info") as first:
        await first.served()
        await first.ok("task_create", title="Old one", streamId="Stream-A")
        async with watching(first) as terminal:
            await terminal.shows("live", "Old one")
            first.process.kill()
            await terminal.shows("OFFLINE")
            remove_database(tmp_path)
            async with start_server(tmp_path, port=first.port) as second:
                await second.ok("task_create", title="New one")
                await terminal.shows("live", "New one", "0 streams", without="Old one")


async def test_the_first_task_of_a_workspace_is_shown_as_it_comes(
    mcp: Server, tmp_path: Path
) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    command = [*COMMAND, "watch"]
    async with on_terminal(command, mcp.environment, folder) as terminal:
        await terminal.shows("no tasks here yet", "0 streams")
        async with start_server(tmp_path, folder=folder, port=mcp.port) as other:
            await other.ok("task_create", title="First", streamId="Stream-X")
            await terminal.shows("Task Copilot  elsewhere", "Stream-X", "1 stream: ")
            assert "Payments" not in terminal.text
    async with watching(mcp, "--all-workspaces") as terminal:
        await terminal.shows(
            "all workspaces", "3 streams: ", "elsewhere: parallel", "project: parallel"
        )
    async with watching(mcp, "--workspace", "elsewhere") as terminal:
        await terminal.shows("1 stream: ", "Stream-X")


@pytest.mark.parametrize("way", ["Ctrl+C", "SIGTERM"])
async def test_the_terminal_is_given_back_however_it_ends(mcp: Server, way: str) -> None:
    async with watching(mcp, NO_COLOR="1") as terminal:
        await terminal.shows("live")
        if way == "Ctrl+C":
            terminal.type(b"\x03")
        else:
            terminal.process.send_signal(signal.SIGTERM)
        assert await terminal.ends() == 130
        await terminal.until(terminal.is_given_back, "the terminal")
        assert COLOUR.search(terminal.written) is None, "NO_COLOR"
        assert b"Traceback" not in terminal.written


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--url", "http://127.0.0.1:1"), "Nobody serves at http://127.0.0.1:1"),
        (("--workspace", "nowhere"), "There is no workspace nowhere. There are: project."),
    ],
)
async def test_what_cannot_be_watched_is_refused(
    mcp: Server, words: tuple[str, ...], reason: str
) -> None:
    async with watching(mcp, *words) as terminal:
        assert await terminal.ends() == 1
        await terminal.until(lambda: reason in terminal.text, reason)


async def test_into_a_pipe_it_prints_lines(mcp: Server) -> None:
    words = [*COMMAND, "watch", "--url", f"http://127.0.0.1:{mcp.port}"]
    async with running(words, mcp.environment, mcp.folder) as program:
        assert "TASK-1 Model one: created (Stream-A 0 %)" in await program.line()
        for _ in range(4):
            await program.line()
        await mcp.ok("task_update", id="TASK-2", status="in_progress")
        assert "TASK-2 Model two: pending → in_progress (Stream-A 0 %)" in await program.line()
        assert await program.interrupted() == 130
