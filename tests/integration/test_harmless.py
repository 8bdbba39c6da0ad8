"""Whatever agents write into whatever field, it does no harm to the terminal that shows it."""

import json
import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from e2e.shells import Shell
from nasty import HARMFUL, READABLE, harmful_signs, texts
from support import World, database_at
from task_copilot import checkpoints
from task_copilot.api.routes import STREAMS, TASK, TASK_CHECKPOINTS, TASKS
from task_copilot.application import open_blocking
from task_copilot.checkpoints import NewCheckpoint
from task_copilot.clock import system_clock
from task_copilot.commands import shown
from task_copilot.commands.board import Board, Picture
from task_copilot.commands.board_lines import draw
from task_copilot.commands.changes import changes_of
from task_copilot.commands.sentences import sentence
from task_copilot.commands.source import DatabaseSource
from task_copilot.commands.stream_lines import UNICODE
from task_copilot.settings import Settings
from task_copilot.task_updates import TaskChange, update_task

WIDTH, HEIGHT = 80, 40
LONGEST_LINE = 3_000


def fill(world: World, text: str) -> None:
    """Writes `text` wherever an agent can; the checks at the entrance would refuse some of it."""
    first = world.task(text, assigned_agent=text, stream="S", description=text, files=(text,))
    world.task(text, parent=first, metadata={text: text})
    change = TaskChange(status="blocked", blocked_reason=text, notes=text, stream_name=text)
    world.do(lambda tx, scope: update_task(tx, scope, first, change))
    new = NewCheckpoint(execution_phase=text, execution_step=text)
    world.do(lambda tx, scope: checkpoints.create(tx, scope, first, new, kept=5))
    working = world.task(text, assigned_agent=text, stream="T")
    change = TaskChange(status="in_progress", assigned_agent=f"{text} ", title=f"{text}.")
    world.do(lambda tx, scope: update_task(tx, scope, working, change))


def every_line(world: World) -> list[str]:
    """What the commands and the screen print of it."""
    source = DatabaseSource(world.database)
    streams, tasks = source.read(STREAMS, {}), source.read(TASKS, {})
    task, of_task = source.read(TASK, {"taskId": "1"}), {"taskId": "1"}
    now = datetime.now(UTC)
    recent = tuple(changes_of(world.events()))
    picture = Picture(
        board=Board.of(streams["streams"], tasks["tasks"]),
        recent=recent,
        title=world.scope.workspace.name,
        everywhere=True,
        address="http://127.0.0.1:9090",
    )
    return [
        *shown.streams(streams, everywhere=True),
        *shown.tasks(tasks, everywhere=True),
        *shown.task(task),
        *shown.checkpoints(source.read(TASK_CHECKPOINTS, of_task)),
        *(sentence(change, now, everywhere=True) for change in recent),
        *(line.plain for line in draw(picture, WIDTH, HEIGHT, now, UNICODE)),
    ]


@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(texts, st.integers(1, 200))
def test_lines_for_people_are_harmless_and_not_too_long(text: str, times: int) -> None:
    text = (text.replace("\0", " ") * times)[:2000]
    with tempfile.TemporaryDirectory() as folder:
        world = World(database_at(Path(folder)), text[:100])
        fill(world, text)
        lines = every_line(world)
        world.database.committer.close()
        world.database.read_engine.dispose()
    assert [(line, harmful_signs(line)) for line in lines if harmful_signs(line)] == []
    assert max(map(len, lines)) <= LONGEST_LINE


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    found = Shell(tmp_path, monkeypatch)
    given = Settings(database_url=f"sqlite:///{found.database}", durability="normal")
    world = World(open_blocking(given, system_clock), "".join(HARMFUL)[:50])
    for text in (*HARMFUL, *READABLE):
        fill(world, text)
    world.database.committer.close()
    world.database.read_engine.dispose()
    return found


def test_every_command_prints_harmless_lines_and_the_same_values_as_json(shell: Shell) -> None:
    everywhere = "--all-workspaces"
    for words in (
        ("streams", everywhere),
        ("tasks", everywhere),
        ("task", "1"),
        ("checkpoints", "1"),
        ("events", everywhere, "--since", "0"),
        ("wait", everywhere, "--since", "0"),
        ("doctor",),
    ):
        for more in ((), ("--json",)):
            found = shell.run(*words, *more)
            assert found.stdout, words
            for line in [*found.stdout.split("\n"), *found.stderr.split("\n")]:
                assert harmful_signs(line) == [], words
                if more and line:
                    json.loads(line)
    titles = [
        task["title"] for task in json.loads(shell.said("tasks", everywhere, "--json"))["tasks"]
    ]
    assert {*HARMFUL, *READABLE} <= set(titles)
    people = shell.said("tasks", everywhere)
    assert all(text in people for text in READABLE)


def test_an_export_is_harmless_to_look_at_and_loses_nothing(shell: Shell, tmp_path: Path) -> None:
    text = shell.said("export", "-")
    assert [line for line in text.split("\n") if harmful_signs(line)] == []
    rows: list[Any] = [json.loads(line) for line in text.splitlines()]
    found = {row["row"]["title"] for row in rows if row.get("table") == "tasks"}
    assert {*HARMFUL, *READABLE} <= found
    (tmp_path / "export.jsonl").write_text(text, encoding="utf-8")
    url = f"sqlite:///{tmp_path / 'copy.db'}"
    shell.said("--database-url", url, "import", str(tmp_path / "export.jsonl"))
    again = shell.said("--database-url", url, "export", "-")
    assert again.split("\n")[1:] == text.split("\n")[1:]


def test_the_log_quotes_without_harm(tmp_path: Path) -> None:
    variable = "TASK_COPILOT_DATABASE_URL\x1b[2J\n!"
    finished = subprocess.run(
        [sys.executable, "-m", "task_copilot", "init", "--dry-run"],
        cwd=tmp_path,
        env={**os.environ, "XDG_DATA_HOME": str(tmp_path), variable: "x"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert finished.stderr == (
        "task-copilot: WARNING: TASK_COPILOT_DATABASE_URL\\x1b[2J\\n! is no setting and does "
        "nothing; TASK_COPILOT_DATABASE_URL is one.\n"
    )


def test_a_refusal_quotes_without_harm(shell: Shell) -> None:
    bad = "\x1b[2J\u202e\u2028\x9b"
    for words in (("tasks", "--workspace", bad), ("wait", "--cursor", bad), ("task", bad)):
        found = shell.run(*words)
        assert found.exit_code != 0
        assert harmful_signs(found.stderr.rstrip("\n")) == [], words
