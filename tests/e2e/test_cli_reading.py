"""``task-copilot streams``, ``tasks``, ``task`` and ``checkpoints``."""

import json
import subprocess
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from e2e.servers import COMMAND, Server, free_port, server, start_server
from e2e.shells import Shell
from task_copilot import runtime
from task_copilot.clock import timestamp
from task_copilot.commands import lines
from task_copilot.places import Places

ESCAPE = "\x1b[31m"


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """Some tasks in two projects."""
    found = Shell(tmp_path, monkeypatch)
    found.said("create", "The schema", "--stream", "Stream-A", "--phase", "foundation")
    found.said("create", f"Cart {ESCAPE}page\n日本", "--agent", "ben", "--parent", "1")
    found.said("update", "1", "--status", "completed", "--notes", "as agreed")
    found.go(found.home / "blog")
    found.said("create", "A post", "--stream", "Stream-A", "--file", "post.md")
    found.go(found.folder)
    return found


def test_lists_are_aligned_and_of_the_current_workspace(shell: Shell) -> None:
    assert shell.said("tasks").splitlines() == [
        "TASK-1  completed  Stream-A  -     just now  The schema",
        "TASK-2  pending    -         @ben  just now  Cart [31mpage 日本",
        "2 tasks",
    ]
    assert shell.said("streams").splitlines() == [
        "Stream-A  completed  100 %  1 of 1  foundation  just now  -",
        "1 stream",
    ]


def test_other_workspaces_are_shown_by_name_by_folder_or_all(shell: Shell) -> None:
    for place in ("blog", str(shell.home / "blog")):
        assert "A post" in shell.said("tasks", "--workspace", place)
    assert "A post" in shell.said("--workspace", "blog", "tasks")
    assert "A post" in shell.said("tasks", TASK_COPILOT_WORKSPACE="blog")
    everywhere = shell.said("tasks", "--all-workspaces")
    assert [line.split()[0] for line in everywhere.splitlines()[:3]] == [
        *("project", "project", "blog")
    ]
    assert "2 streams" in shell.said("streams", "--all-workspaces")


@pytest.mark.parametrize(
    ("words", "titles"),
    [
        (("--status", "completed"), ["The schema"]),
        (("--stream", "Stream-A"), ["The schema"]),
        (("--agent", "ben"), ["Cart"]),
        (("--parent", "TASK-1"), ["Cart"]),
        (("--limit", "1"), ["The schema"]),
        (("--agent", "nobody"), []),
    ],
)
def test_tasks_are_selected(shell: Shell, words: tuple[str, ...], titles: list[str]) -> None:
    text = shell.said("tasks", *words)
    assert [title for title in ("The schema", "Cart", "A post") if title in text] == titles


def test_a_list_goes_on_at_its_cursor(shell: Shell) -> None:
    first = shell.said("tasks", "--limit", "1").splitlines()[-1]
    assert first.startswith("1 of 2 tasks. The next: --cursor ")
    assert "Cart" in shell.said("tasks", "--limit", "1", "--cursor", first.split()[-1])


def test_archived_streams_are_shown_when_asked_for(shell: Shell) -> None:
    shell.said("archive", "Stream-A")
    assert shell.said("streams") == "No streams.\n"
    assert "Stream-A  archived" in shell.said("streams", "--all")
    assert shell.said("streams", "--archived") == shell.said("streams", "--all")
    assert "The schema" not in shell.said("tasks")
    assert "The schema" in shell.said("tasks", "--archived")


def test_a_task_is_shown_whole(shell: Shell) -> None:
    shown = shell.said("task", "task-1").splitlines()
    assert shown[0] == "TASK-1 The schema"
    assert "  status     completed" in shown
    assert "  as agreed" in shown
    assert "  TASK-2  pending  @ben  Cart [31mpage 日本" in shown
    assert ESCAPE not in shell.said("task", "2")
    assert json.loads(shell.said("task", "1", "--json"))["notes"] == "as agreed"


def test_checkpoints_are_listed_newest_first(shell: Shell) -> None:
    assert shell.said("checkpoints", "1") == "No checkpoints.\n"
    assert json.loads(shell.said("checkpoints", "1", "--json"))["checkpoints"] == []


def test_bad_input_is_told_with_the_names_of_options(shell: Shell) -> None:
    assert shell.refused("tasks", "--parent", "x").startswith("--parent: 'x' is not an id")
    assert shell.refused("task", "x").startswith("ID: 'x' is not an id such as TASK-12")
    assert shell.refused("task", "../1").startswith("ID: '../1' is not an id")
    assert shell.refused("checkpoints", "9") == "There is no task TASK-9. /api/tasks lists them."
    assert shell.refused("tasks", "--stream", "a b").startswith("--stream: ")
    assert "cursor: is not one that this list gave" in shell.refused("tasks", "--cursor", "1.x")
    assert "There are: blog, project" in shell.refused("tasks", "--workspace", "nix")
    assert "is no folder" in shell.refused("streams", "--workspace", "/nowhere")
    for words in (
        ("tasks", "--status", "done"),
        ("tasks", "--limit", "0"),
        ("tasks", "--workspace", "a", "--all-workspaces"),
        ("streams", "more"),
        ("task",),
        ("nonsense",),
    ):
        assert "Error:" in shell.misused(*words)


@pytest.mark.parametrize("command", [("streams",), ("tasks",), ("task", "1"), ("checkpoints", "1")])
def test_without_a_database_reading_makes_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    shell = Shell(tmp_path, monkeypatch)
    assert shell.refused(*command).startswith("There is no database")
    assert not shell.data.exists()


# The hub


@pytest.fixture
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    return Shell(tmp_path, monkeypatch)


@pytest.fixture
async def mcp(tmp_path: Path) -> AsyncIterator[Server]:
    async with start_server(tmp_path, log_level="info") as found:
        await found.served()
        await found.ok("task_create", title="One", streamId="Stream-A")
        await found.ok("checkpoint_create", taskId="1", executionPhase="tests", executionStep=3)
        yield found


READS = (("streams",), ("tasks", "--all"), ("task", "1"), ("checkpoints", "1"))


async def test_the_hub_and_the_database_answer_the_same(
    mcp: Server, tmp_path: Path, beside: Shell
) -> None:
    url = f"http://127.0.0.1:{mcp.port}"
    elsewhere = {"XDG_DATA_HOME": str(tmp_path / "other")}  # no runtime file, so no hub
    for words in READS:
        asked = await beside.beside(mcp, *words, "--json", "--url", url, **elsewhere)
        found = await beside.beside(mcp, *words, "--json")
        read = await beside.beside(mcp, *words, "--json", **elsewhere)
        assert asked.exit_code == found.exit_code == read.exit_code == 0
        assert json.loads(asked.stdout) == json.loads(found.stdout) == json.loads(read.stdout)
    shown = (await beside.beside(mcp, "checkpoints", "1")).stdout.splitlines()
    assert shown[0].startswith("CP-1  #1  manual  ")
    assert shown[0].endswith("tests step 3")


async def test_refusals_of_the_hub_and_of_the_database_are_the_same(
    mcp: Server, tmp_path: Path, beside: Shell
) -> None:
    for words in (("task", "99"), ("tasks", "--parent", "x"), ("tasks", "--stream", "é")):
        asked = await beside.beside(mcp, *words)
        read = await beside.beside(mcp, *words, XDG_DATA_HOME=str(tmp_path / "other"))
        assert (asked.exit_code, asked.stderr) == (read.exit_code, read.stderr)
        assert asked.exit_code == 1


class Pretender(BaseHTTPRequestHandler):
    """Answers as a hub of the epoch `e` would, with nothing in it."""

    def do_GET(self) -> None:
        found = {"service": "task-copilot", "epoch": "e", "seq": 0}
        found |= {"tasks": [], "totalTasks": 0, "nextCursor": None}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(found).encode())

    def log_message(self, *_arguments: Any) -> None:
        pass


@pytest.mark.parametrize(("epoch", "asked"), [("e", True), ("another", False)])
def test_the_hub_of_the_runtime_file_is_asked_if_it_is_there(
    shell: Shell, epoch: str, *, asked: bool
) -> None:
    with HTTPServer(("127.0.0.1", 0), Pretender) as hub:
        Thread(target=hub.serve_forever, daemon=True).start()
        record = runtime.HubRecord(
            takeovers=1,
            epoch=epoch,
            version="0",
            host="127.0.0.1",
            started_at="2026-01-08T12:00:00.000Z",
            url=f"http://127.0.0.1:{hub.server_port}",
        )
        runtime.write(Places.of(shell.database).runtime, record)
        answer = json.loads(shell.said("tasks", "--all-workspaces", "--json"))
        hub.shutdown()
    assert len(answer["tasks"]) == (0 if asked else 3)
    assert len(json.loads(shell.said("tasks", "--all-workspaces", "--json"))["tasks"]) == 3


async def test_a_stale_runtime_file_leads_to_the_database(tmp_path: Path, beside: Shell) -> None:
    async with server(tmp_path, log_level="info") as mcp:
        await mcp.initialize(timeout=30)
        await mcp.served()
        await mcp.ok("task_create", title="One")
        mcp.process.kill()
        await mcp.wait_exit()
    found = await beside.beside(mcp, "tasks")
    assert (found.exit_code, found.stderr) == (0, "")
    assert "One" in found.stdout


@pytest.mark.parametrize(
    "url",
    ["foo", "ftp://127.0.0.1", "http://", "http://127.0.0.1:99999", "http://127.0.0.1/?a=b", "//x"],
)
def test_what_is_no_address_of_a_hub_is_refused(shell: Shell, url: str) -> None:
    assert "it looks like http://127.0.0.1:9090" in shell.refused("tasks", "--url", url)
    assert "it looks like" in shell.refused("task", "1", TASK_COPILOT_URL=url)


def test_with_an_address_only_that_hub_is_asked(shell: Shell) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    for words in READS:
        assert shell.refused(*words, "--url", url).startswith(f"Nobody serves at {url}")


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"service": "other"}', b"[" * 100_000])
def test_a_stranger_at_the_address_is_found_out(shell: Shell, body: bytes) -> None:
    class Stranger(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Stranger) as stranger:
        Thread(target=stranger.handle_request, daemon=True).start()
        url = f"http://127.0.0.1:{stranger.server_port}"
        assert shell.refused("tasks", "--url", url).startswith(f"Nobody serves at {url}: what")


# Times and widths


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "just now"),
        (59, "just now"),
        (60, "1 min ago"),
        (3599, "59 min ago"),
        (7200, "2 h ago"),
        (86_400, "1 day ago"),
        (6 * 86_400, "6 days ago"),
    ],
)
def test_times_are_told_from_now_on(seconds: int, shown: str) -> None:
    now = datetime(2026, 11, 22, 12, tzinfo=UTC)
    assert lines.ago(timestamp(now - timedelta(seconds=seconds)), now) == shown


@pytest.mark.parametrize("seconds", [8 * 86_400, -3600])
def test_what_is_long_past_or_to_come_has_its_date(seconds: int) -> None:
    now = datetime(2026, 11, 22, 12, tzinfo=UTC)
    moment = timestamp(now - timedelta(seconds=seconds))
    assert lines.ago(moment, now) == lines.local(moment)


def test_wide_and_combining_characters_keep_columns_aligned() -> None:
    assert lines.columns([("日", "x"), ("e\u0301a", "y"), ("", "z")]) == [
        *("日  x", "e\u0301a  y", "-   z")
    ]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is full is needed")
@pytest.mark.parametrize("words", [("tasks",), ("streams", "--json"), ("orchestrate", "--dry-run")])
def test_output_that_finds_no_room_is_said_in_one_line(
    shell: Shell, words: tuple[str, ...]
) -> None:
    found = subprocess.run(
        ["/bin/sh", "-c", 'exec "$@" >/dev/full', "sh", *COMMAND, *words, "--workspace", "blog"],
        check=False,
        stderr=subprocess.PIPE,
        text=True,
        cwd=shell.folder,
    )
    said = "Error: The output cannot be written: No space left on device.\n"
    assert (found.returncode, found.stderr) == (1, said)
