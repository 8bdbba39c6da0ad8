"""What ``task-copilot orchestrate`` shows, and what it refuses before it starts anything."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial

import pytest

if sys.platform == "win32":
    pytest.skip("process groups", allow_module_level=True)

from e2e.orchestrating import DIAMOND, Project, until
from e2e.programs import invoked
from e2e.servers import COMMAND
from e2e.terminals import on_terminal

WAIT = {"does": "wait"}


def here(project: Project, **environment: str) -> dict[str, str]:
    return {**project.environment, "TASK_COPILOT_LOG_LEVEL": "", **environment}


# --- plans ---


def test_a_dry_run_shows_the_plan_and_starts_nothing(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.streams(DIAMOND, count=2)
    monkeypatch.chdir(project.folder)
    words = ("orchestrate", "--dry-run", "--worker", "agent 'on {stream}' {folder}")
    result = invoked(words, here(project))
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        "step 1",
        "  Base (parallel, 0 of 2 tasks completed)",
        "step 2",
        "  Left (parallel, 0 of 2 tasks completed), waits for Base",
        "  Right (parallel, 0 of 2 tasks completed), waits for Base",
        "step 3",
        "  Top (parallel, 0 of 2 tasks completed), waits for Left, Right",
        f"folder: {project.folder}",
        "worker: agent 'on {stream}' '{folder}'",
    ]
    result = invoked((*words, "--json"), here(project))
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(row["streamId"], row["step"], row["waitsFor"]) for row in rows] == [
        ("Base", 1, []),
        ("Left", 2, ["Base"]),
        ("Right", 2, ["Base"]),
        ("Top", 3, ["Left", "Right"]),
    ]
    assert rows[0]["command"] == ["agent", "on Base", str(project.folder)]
    assert not list(project.database.parent.glob("data/task-copilot/orchestrate"))


REFUSED: dict[str, tuple[tuple[str, ...], str]] = {
    "an unknown stream": (("Stream-Z",), "There is no stream Stream-Z in this workspace"),
    "a program that is missing": (("--worker", "no-such-agent"), "no program 'no-such-agent'"),
    "no Claude Code": ((), "There is no program 'claude'"),
    "bad quoting": (("--worker", "agent 'x"), "is no command: No closing quotation"),
    "no repository": (("--worktrees", "--worker", "true"), "not a git repository"),
    "nobody at the address": (
        ("--url", "http://127.0.0.1:1", "--worker", "true"),
        "Nobody serves at http://127.0.0.1:1",
    ),
    "no tmux": (("--tmux", "--worker", sys.executable), "--tmux needs tmux"),
    "a workspace that is not there": (
        ("--worker", "true"),
        "There is no workspace nowhere. There are: project. --workspace NAME names another.",
    ),
    "no streams": (("--worker", "true"), "has no streams"),
    "no database": (("--worker", "true"), "There is no database"),
    "a circle through phases": (("--worker", "true"), "none of them could ever start"),
    "a dependency that is missing": (("--worker", "true"), "there is no such stream"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_done_is_refused_in_one_line(
    project: Project, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    words, reason = REFUSED[what]
    environment = {}
    match what:
        case "a circle through phases":
            project.streams({"Base": (), "Left": ("Base",), "Right": ()}, phases=CIRCLE)
        case "a dependency that is missing":
            project.streams({"Left": ("Base",)})
        case "no database":
            pass
        case "no streams":
            project.streams({})
        case _:
            project.streams(DIAMOND)
    if what == "a workspace that is not there":
        environment["TASK_COPILOT_WORKSPACE"] = "nowhere"
    if what in {"no tmux", "no Claude Code"}:
        environment["PATH"] = str(project.play)
    monkeypatch.chdir(project.folder)
    result = invoked(("orchestrate", *words), here(project, **environment))
    assert result.exit_code in {1, 2}
    assert result.stdout == ""
    assert reason in result.stderr
    assert result.stderr.count("\n") == 1, result.stderr
    assert not list(project.database.parent.glob("data/task-copilot/orchestrate/*/logs/*"))


CIRCLE = {"Base": "integration", "Left": "parallel"}


def test_what_claude_may_do_is_nothing_to_another_worker(project: Project) -> None:
    words = ("orchestrate", "--worker", "true", "--permission-mode", "acceptEdits")
    result = invoked(words, here(project))
    assert result.exit_code == 2
    assert "--permission-mode is for Claude Code; --worker names another." in result.stderr


def test_what_stands_in_the_place_of_its_folder_is_named(project: Project) -> None:
    project.streams(DIAMOND)
    place = project.folder / "data"
    (place / "task-copilot").mkdir(parents=True, mode=0o700)
    (place / "task-copilot" / "orchestrate").write_text("mine")
    environment = here(project, XDG_DATA_HOME=str(place), TASK_COPILOT_WORKSPACE="project")
    result = invoked(("orchestrate", "--worker", "true"), environment)
    assert result.exit_code == 1
    reason = "task-copilot/orchestrate cannot be used: it is a file and no folder.\n"
    assert result.stderr.endswith(reason)


def test_where_the_current_folder_was_removed_it_says_so(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.streams(DIAMOND)
    gone = project.folder / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    environment = here(project, PWD=str(gone))
    for words, reason in (
        (("orchestrate", "--worker", "true"), "There is no workspace gone"),
        (("--workspace", "project", "orchestrate", "--worker", "true"), "folder was removed"),
        (("tasks",), "There is no workspace gone"),
    ):
        result = invoked(words, environment)
        assert result.exit_code == 1
        assert reason in result.stderr
        assert result.stderr.count("\n") == 1, result.stderr


@pytest.mark.parametrize(
    ("command", "option"),
    [
        *(("orchestrate", one) for one in ("--grace", "--retry-delay", "--stall-timeout")),
        ("wait", "--timeout"),
    ],
)
def test_seconds_that_are_no_number_are_refused(
    project: Project, command: str, option: str
) -> None:
    result = invoked((command, option, "nan"), here(project))
    assert result.exit_code == 2
    assert f"Invalid value for '{option}': 'nan' is not a number." in result.stderr


# --- on a terminal ---


async def test_the_summary_on_a_terminal_follows_the_work(project: Project) -> None:
    long = "Which of these keys? " * 20
    streams: dict[str, tuple[str, ...]] = {
        "Stream-A": (),
        "Stream-B": (),
        "Stream-C": ("Stream-A",),
    }
    project.streams(streams)
    project.parts({"Stream-A": [WAIT], "Stream-B": [{"does": "block", "reason": long}]})
    words = [*COMMAND, "orchestrate", "--on-blocked", "", "--worker", project.worker()]
    with project.gate_closed() as open_the_gate:
        async with on_terminal(words, here(project), project.folder, rows=40) as terminal:
            await terminal.shows("step 1", "0 of 1, process ", "Stream-B is blocked: Which of")
            await terminal.until(lambda: "blocked" in "".join(table(terminal.lines)), "its row")
            blocked, running, waiting = table(terminal.lines)
            assert blocked.startswith("Stream-B ░░░░░░░░░░ blocked 0 of 1 Which of these keys?")
            assert blocked.endswith("…")
            assert re.fullmatch(r"Stream-A ░{10} running 0 of 1, process \d+", running)
            assert waiting == "Stream-C ░░░░░░░░░░ waiting 0 of 1, for Stream-A"
            open_the_gate()
            await terminal.shows("Stream-C ██████████ completed 1 of 1")
            await project.update(project.tasks["Stream-B"][0], status="completed")
            assert await terminal.ends() == 0
            await terminal.until(lambda: "3 of 3 streams are complete." in terminal.text, "the end")
            assert b"\x1b[?25h" in terminal.written
            assert table(terminal.lines) == [], "the summary is gone"
            assert b"Traceback" not in terminal.written
    project.judge(streams)


def table(lines: list[str]) -> list[str]:
    """The rows of the summary: those with a bar."""
    return [line for line in lines if "█" in line or "░" in line]


def _has(text: str, content: Callable[[], str]) -> bool:
    return text in content()


@pytest.fixture
def tmux() -> Iterator[dict[str, str]]:
    """The environment of a tmux server of its own; the path of its socket has to be short."""
    folder = tempfile.mkdtemp(prefix="tmux", dir="/tmp")
    environment = {"TMUX_TMPDIR": folder, "TMUX": ""}
    yield environment
    subprocess.run(
        ("tmux", "kill-server"), env={**os.environ, **environment}, check=False, capture_output=True
    )
    shutil.rmtree(folder)


async def test_each_stream_has_a_pane_of_tmux_until_it_is_complete(
    project: Project, tmux: dict[str, str]
) -> None:
    streams: dict[str, tuple[str, ...]] = {"Stream-A": (), "Stream-B": ()}
    project.streams(streams)
    project.parts({"Stream-A": [WAIT], "Stream-B": [WAIT]})

    def asked(*words: str) -> str:
        command = ("tmux", *words)
        environment = {**os.environ, **tmux}
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False
        ).stdout

    def panes() -> dict[str, str]:
        form = "#{@task_copilot_stream} #{pane_id}"
        found = asked("list-panes", "-s", "-t", "=task-copilot-project:", "-F", form)
        return dict(line.split(" ") for line in found.splitlines() if not line.startswith(" "))

    with project.gate_closed() as open_the_gate:
        async with project.orchestrated("--tmux", **tmux) as running:
            await until(lambda: set(panes()) == set(streams), "the panes")
            for stream, pane in panes().items():
                content = partial(asked, "capture-pane", "-p", "-t", pane)
                await until(partial(_has, f"run 1 of {stream}", content), "the output")
            open_the_gate()
            await running.completes()
            assert panes() == {}
    assert asked("list-sessions") == ""
