"""``task-copilot wait``: what a coding agent runs in the background to be woken."""

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from e2e.programs import Program, beside, invoked, remove_database, running
from e2e.servers import COMMAND, Server, free_port, start_server
from e2e.test_commands import run

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals")

WAIT = (*COMMAND, "wait")


@pytest.fixture
async def mcp(tmp_path: Path) -> AsyncIterator[Server]:
    """A server with one task in work: five events and none that is waited for."""
    async with start_server(tmp_path, log_level="info") as server:
        await server.served()
        await server.ok("task_create", title="One", streamId="Stream-A")
        await server.ok("task_update", id="TASK-1", status="in_progress", agent="ada")
        yield server


def waited(mcp: Server, *words: str, code: int = 0) -> str:
    finished = beside(mcp, "wait", *words)
    assert (finished.returncode, finished.stderr) == (code, ""), finished.stdout
    return finished.stdout


async def printed(program: Program) -> list[str]:
    """What a wait that was woken prints, without times; whatever took seconds took none."""
    code, out, _ = await program.ends()
    out = re.sub(r"after \d+ s", "after 0 s", out)
    assert code == 0
    *lines, last = out.splitlines()
    return [*(line.partition(" ")[2] for line in lines), last]


def url(mcp: Server) -> tuple[str, str]:
    return "--url", f"http://127.0.0.1:{mcp.port}"


@pytest.mark.parametrize("by", ["database", "hub"])
async def test_it_ends_when_something_happens_and_says_where_to_go_on(mcp: Server, by: str) -> None:
    place = url(mcp) if by == "hub" else ()
    async with running([*WAIT, *place], mcp.environment, mcp.folder) as program:
        await program.waits()
        await mcp.ok("task_update", id="TASK-1", title="Uno")  # nothing to wake for
        await mcp.ok("task_update", id="TASK-1", status="completed", agent="ada")
        assert await printed(program) == [
            "ada TASK-1 Uno: in_progress → completed after 0 s (Stream-A 100 %, completed)",
            "next: 12",
        ]


@pytest.mark.parametrize("by", ["database", "hub"])
async def test_it_answers_at_once_where_something_matches_already(mcp: Server, by: str) -> None:
    place = url(mcp) if by == "hub" else ()
    await mcp.ok("task_update", id="TASK-1", status="blocked", blockedReason="no key", agent="bob")
    out = waited(mcp, "--since", "0", *place)
    line, last = out.splitlines()
    assert line.endswith("bob TASK-1 One: in_progress → blocked: no key")
    assert last == "next: 11"
    rows = [json.loads(row) for row in waited(mcp, "--since", "0", "--json", *place).splitlines()]
    assert [row.get("eventType") for row in rows] == ["task.blocked", None]
    assert rows[-1] == {"next": 11}
    assert waited(mcp, "--since", "11", "--timeout", "0", *place, code=124) == "next: 11\n"


async def test_it_ends_with_124_when_the_time_is_up(mcp: Server) -> None:
    assert waited(mcp, "--timeout", "0.2", code=124) == "next: 6\n"
    assert waited(mcp, "--timeout", "0.2", "--json", *url(mcp), code=124) == '{"next":6}\n'


async def test_a_cursor_misses_nothing_between_two_waits(mcp: Server) -> None:
    words = ("--cursor", "me", "--not-actor", "me", "--event-types", "task.created")
    assert waited(mcp, *words, "--timeout", "0", code=124) == "next: 6\n", "a new name begins now"
    await mcp.ok("task_create", title="Two", agent="ada")
    await mcp.ok("task_create", title="Mine", agent="me")
    out = waited(mcp, *words)
    assert [line.partition(" ")[2] for line in out.splitlines()] == [
        "ada TASK-2 Two: created",
        "8",
    ]
    assert waited(mcp, *words, "--timeout", "0", code=124) == "next: 8\n", "not twice"
    async with running([*WAIT, *words], mcp.environment, mcp.folder) as program:
        await program.waits()
        assert await program.interrupted() == 130
    await mcp.ok("task_create", title="Three", agent="ada")
    assert "TASK-4 Three: created" in waited(mcp, *words), "also after one that was interrupted"
    assert waited(mcp, *words, "--timeout", "0", *url(mcp), code=124), "a url has its own"


async def test_the_first_wait_of_a_name_counts_also_where_it_was_interrupted(mcp: Server) -> None:
    words = ("--cursor", "new")
    async with running([*WAIT, *words], mcp.environment, mcp.folder) as program:
        await program.waits()
        assert await program.interrupted() == 130
    await mcp.ok("task_update", id="TASK-1", status="completed")
    assert "TASK-1 One: in_progress → completed" in waited(mcp, *words)


async def test_two_projects_may_use_the_same_name_of_a_cursor(mcp: Server) -> None:
    words = ("--cursor", "me", "--timeout", "0")
    waited(mcp, *words, code=124)
    waited(mcp, *words, "--all-workspaces", code=124)
    await mcp.ok("task_update", id="TASK-1", status="completed")
    assert "TASK-1" in waited(mcp, *words, "--all-workspaces")
    assert "TASK-1" in waited(mcp, *words)


async def test_what_could_not_be_printed_is_not_forgotten(mcp: Server) -> None:
    words = [*WAIT, "--cursor", "pipe"]
    assert waited(mcp, "--cursor", "pipe", "--timeout", "0", code=124)
    await mcp.ok("task_update", id="TASK-1", status="completed")
    process = await asyncio.create_subprocess_exec(
        "/bin/sh",
        "-c",
        'exec "$@" >/dev/full',
        "sh",
        *words,
        cwd=mcp.folder,
        env=mcp.environment,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert await process.wait() != 0
    assert "TASK-1 One: in_progress → completed" in waited(mcp, "--cursor", "pipe")


async def test_another_database_is_told_and_begun_anew(tmp_path: Path) -> None:
    async with start_server(tmp_path) as first:
        await first.ok("task_create", title="One")
        assert waited(first, "--cursor", "me", "--timeout", "0", code=124) == "next: 1\n"
    remove_database(tmp_path)
    async with start_server(tmp_path, port=first.port) as second:
        for number in range(3):
            await second.ok("task_create", title=f"New {number}")
        finished = beside(second, "wait", "--cursor", "me", "--timeout", "0")
        assert (finished.returncode, finished.stdout) == (124, "next: 3\n")
        assert "The database is another one now, or was restored" in finished.stderr
        assert waited(second, "--cursor", "me", "--timeout", "0", code=124) == "next: 3\n"


@pytest.mark.parametrize("by", ["database", "hub"])
async def test_it_outlives_the_hub(tmp_path: Path, by: str) -> None:
    port = free_port()
    async with start_server(tmp_path, port=port, log_level="info") as first:
        await first.served()
        await first.ok("task_create", title="One")
        place = url(first) if by == "hub" else ()
        async with running([*WAIT, *place], first.environment, first.folder) as program:
            await program.waits()
            first.process.kill()
            await first.process.wait()
            async with start_server(tmp_path, port=port) as second:
                await second.ok("task_update", id="TASK-1", status="completed", agent="ada")
                assert await printed(program) == [
                    "ada TASK-1 One: pending → completed",
                    "next: 4",
                ]


async def test_it_needs_no_hub_at_all(tmp_path: Path) -> None:
    async with start_server(tmp_path) as mcp:
        await mcp.ok("task_create", title="One")
    async with running(WAIT, mcp.environment, mcp.folder) as program:
        await program.waits()
        assert run(mcp, "update", "1", "--status", "completed").returncode == 0
        assert (await printed(program))[0] == "cli TASK-1 One: pending → completed"


async def test_it_waits_in_a_folder_where_nothing_was_written_yet(
    mcp: Server, tmp_path: Path
) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    words = [*WAIT, "--event-types", "task.created"]
    async with running(words, mcp.environment, folder) as program:
        await program.waits()
        await mcp.ok("task_create", title="Not here")
        async with start_server(tmp_path, folder=folder, port=mcp.port) as other:
            await other.ok("task_create", title="Here", agent="ada")
            assert (await printed(program))[0] == "ada TASK-3 Here: created"


REFUSED = [
    (("--since", "1", "--cursor", "me"), 2, "Give either --since or --cursor."),
    (("--timeout", "-1"), 2, "--timeout"),
    (("--cursor", "../x"), 1, "--cursor: '../x' is no name"),
    (("--since", "99"), 1, "99 is no position of the log"),
    (("--url", "http://127.0.0.1:1"), 1, "Nobody serves at"),
]


async def test_what_makes_no_sense_is_refused(mcp: Server, monkeypatch: Any) -> None:
    monkeypatch.chdir(mcp.folder)
    for words, code, reason in REFUSED:
        finished = invoked(["wait", *words], mcp.environment)
        assert (finished.exit_code, finished.stdout) == (code, "")
        assert reason in finished.stderr


def test_without_a_database_it_is_refused(tmp_path: Path) -> None:
    words = ("--database-url", f"sqlite:///{tmp_path / 'no.db'}")
    mcp = Server(tmp_path, tmp_path / "no.db", 1, {"XDG_DATA_HOME": str(tmp_path)})
    finished = beside(mcp, *words, "wait")
    assert finished.returncode == 1
    assert "There is no database" in finished.stderr
