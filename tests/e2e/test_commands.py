"""What a person does from a shell: archive and redact, beside a running server or without."""

import os
import pty
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from e2e.servers import COMMAND, Server, contents, environment_of, events, start_server

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="terminals")

SECRET = "hunter2"


@pytest.fixture
async def mcp(tmp_path: Path) -> AsyncIterator[Server]:
    """A running server with a finished stream, an open one, and a secret in its tasks."""
    async with start_server(tmp_path) as server:
        await server.ok("task_create", title=f"Log in with {SECRET}", streamId="Stream-A")
        await server.ok("checkpoint_create", taskId="TASK-1", draftContent="a draft")
        await server.ok("task_update", id="TASK-1", status="completed", notes=SECRET)
        await server.ok("task_create", title="Next", streamId="Stream-B")
        yield server


def run(
    mcp: Server, *words: str, folder: Path | None = None, stdin: int = subprocess.DEVNULL
) -> "subprocess.CompletedProcess[str]":
    """The program in the folder of the server; without a terminal unless `stdin` is one."""
    return started(*words, stdin=stdin, folder=folder or mcp.folder, settings=mcp.environment)


def started(
    *words: str, stdin: int, folder: Path, settings: Mapping[str, str]
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*COMMAND, *words],
        stdin=stdin,
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, **settings},
        timeout=60,
        check=False,
    )


def said(mcp: Server, *words: str) -> str:
    """What a command that succeeds prints."""
    finished = run(mcp, *words)
    assert (finished.returncode, finished.stderr) == (0, "")
    return finished.stdout


def refused(mcp: Server, *words: str, folder: Path | None = None) -> str:
    """What a command that fails as expected says: one line, after which nothing has changed."""
    before = contents(mcp.database)
    finished = run(mcp, *words, folder=folder)
    assert finished.returncode == 1
    assert finished.stdout == ""
    assert finished.stderr.startswith("task-copilot: ")
    assert finished.stderr.count("\n") == 1
    assert contents(mcp.database) == before
    return finished.stderr


# archive


async def test_a_stream_is_archived_beside_a_running_server(mcp: Server) -> None:
    assert said(mcp, "archive", "Stream-A") == "project: archived Stream-A with 1 completed task.\n"
    text = await mcp.text("stream_list")
    assert text.splitlines()[0] == "project: 1 stream (+1 archived), ready to start: Stream-B"
    text = await mcp.text("task_list")
    assert text.splitlines()[0].startswith("project: 1 task (+1 in archived streams)")
    await mcp.ok("task_create", title="Once more", streamId="Stream-A")
    assert "archived" not in await mcp.text("stream_list")
    last = events(mcp.database)
    assert [event["eventType"] for event in last[-3:]] == [
        "stream.archived",
        "task.created",
        "stream.progress",
    ]
    assert last[-3]["actor"] == "cli"


async def test_all_finished_streams_are_archived_at_once(mcp: Server) -> None:
    await mcp.ok("task_update", id="TASK-2", status="completed")
    assert said(mcp, "archive", "--all-finished") == (
        "project: archived 2 streams: Stream-A, Stream-B.\n"
    )
    assert said(mcp, "archive", "--all-finished") == "project: no finished stream to archive.\n"


async def test_an_unfinished_or_unknown_stream_is_refused(mcp: Server) -> None:
    assert "it has 1 open task" in refused(mcp, "archive", "Stream-B")
    assert "it has Stream-A, Stream-B" in refused(mcp, "archive", "Stream-X")


@pytest.mark.parametrize("words", [(), ("Stream-A", "--all-finished")])
async def test_archive_takes_one_stream_or_all(mcp: Server, words: tuple[str, ...]) -> None:
    finished = run(mcp, "archive", *words)
    assert finished.returncode == 2
    assert "Give either STREAM_ID or --all-finished" in finished.stderr


# redact


async def test_a_value_is_redacted_beside_a_running_server(mcp: Server) -> None:
    text = said(mcp, "redact", "task-1", "--field", "title", "--yes")
    assert (
        text == "project: TASK-1: title redacted, in 5 events, 1 checkpoint and 0 stored answers.\n"
    )
    said(mcp, "redact", "TASK-1", "--field", "notes", "--yes")
    assert SECRET not in str(contents(mcp.database))
    assert (await mcp.ok("task_get", id="TASK-1"))["title"] == "[redacted]"
    assert (await mcp.ok("task_update", id="TASK-1", title="Log in"))["status"] == "completed"
    assert [event["seq"] for event in events(mcp.database)] == list(range(1, 15))
    mcp.close_stdin()
    assert await mcp.wait_exit() == 0
    files = mcp.database.parent.glob(f"{mcp.database.name}*")
    assert SECRET.encode() not in b"".join(file.read_bytes() for file in files)


async def test_redact_refuses_without_a_terminal_and_without_yes(mcp: Server) -> None:
    assert "give --yes" in refused(mcp, "redact", "TASK-1", "--field", "title")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("TASK-9", "--field", "title"), "no task TASK-9 in this workspace"),
        (("TASK-X", "--field", "title"), "TASK_ID: 'TASK-X' is not an id such as TASK-12"),
        (("TASK-1", "--field", "status"), "'status' cannot be redacted; what can is title,"),
        (("TASK-1", "--field", "files"), "TASK-1 has no files to redact, now or before"),
    ],
)
async def test_redact_says_what_it_cannot_do(
    mcp: Server, words: tuple[str, ...], reason: str
) -> None:
    assert reason in refused(mcp, "redact", *words, "--yes")


@pytest.mark.parametrize(("answer", "done"), [("y\n", True), ("n\n", False), ("\n", False)])
async def test_redact_asks_on_a_terminal(mcp: Server, answer: str, *, done: bool) -> None:
    keyboard, terminal = pty.openpty()
    os.write(keyboard, answer.encode())
    finished = run(mcp, "redact", "TASK-1", "--field", "title", stdin=terminal)
    os.close(keyboard)
    os.close(terminal)
    assert "TASK-1: remove title for good, now and in its history?" in finished.stderr
    assert finished.returncode == (0 if done else 1)
    assert (events(mcp.database)[-1]["eventType"] == "task.redacted") is done
    if not done:
        assert "task-copilot: Nothing was changed." in finished.stderr


# Where they act


async def test_commands_work_without_a_server(tmp_path: Path) -> None:
    async with start_server(tmp_path) as mcp:
        await mcp.ok("task_create", title="t", streamId="Stream-A")
        await mcp.ok("task_update", id="TASK-1", status="completed", agent=None)
    assert "archived Stream-A" in said(mcp, "archive", "Stream-A")
    assert "title redacted" in said(mcp, "redact", "1", "--field", "title", "--yes")


async def test_commands_act_in_the_workspace_of_the_folder_or_of_the_setting(
    mcp: Server, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    words = ("redact", "TASK-1", "--field", "title", "--yes")
    assert "has no workspace elsewhere" in refused(mcp, *words, folder=elsewhere)
    named = run(mcp, "--workspace", str(mcp.folder), "--agent", "ops", *words, folder=elsewhere)
    assert (named.returncode, named.stderr) == (0, "")
    assert events(mcp.database)[-1]["actor"] == "ops"


def test_a_database_that_cannot_be_used_is_told_in_one_line(tmp_path: Path) -> None:
    database = tmp_path / "tasks.db"
    database.write_bytes(b"no database at all" * 100)
    finished = started(
        *("archive", "--all-finished"),
        stdin=subprocess.DEVNULL,
        folder=tmp_path,
        settings=environment_of(tmp_path, database, 9090, {}),
    )
    assert finished.returncode == 1
    assert "the file is not a database" in finished.stderr
    assert finished.stderr.startswith("task-copilot: ")
    assert finished.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["archive", "redact"])
def test_help_lists_the_commands(command: str) -> None:
    def shown(*words: str) -> str:
        finished = subprocess.run(
            [*COMMAND, *words], capture_output=True, text=True, timeout=60, check=True
        )
        return finished.stdout

    assert f"  {command}  " in shown("--help")
    assert f"task-copilot {command} [OPTIONS]" in shown(command, "--help")
