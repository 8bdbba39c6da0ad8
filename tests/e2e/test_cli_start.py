"""How the command line starts: what it imports, what it completes, and what it warns of."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from e2e.servers import COMMAND, start_server
from e2e.shells import Shell
from task_copilot.cli import COMMANDS


def test_the_stdio_server_starts_without_the_modules_of_the_commands() -> None:
    code = (
        "import sys, task_copilot.cli\n"
        "heavy = ('sqlalchemy', 'http.client', 'difflib', 'task_copilot.commands', 'pydantic')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert found.stdout == "[]\n"


def test_help_lists_every_command_with_what_it_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell = Shell(tmp_path, monkeypatch)
    listed = shell.said("--help").partition("Commands:\n")[2]
    assert re.findall(r"^  ([\w-]+)  +\w", listed, re.MULTILINE) == sorted(COMMANDS)
    for name in COMMANDS:
        assert shell.said(name, "--help").startswith(f"Usage: task-copilot {name} ")


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("task-copilot che", {"checkpoints"}),
        ("task-copilot tasks --sta", {"--status"}),
        ("task-copilot tasks --status in", {"in_progress"}),
        ("task-copilot create x --phase f", {"foundation"}),
    ],
)
def test_a_shell_completes_commands_options_and_values(typed: str, offered: set[str]) -> None:
    completion = {
        "_TASK_COPILOT_COMPLETE": "bash_complete",
        "COMP_WORDS": typed,
        "COMP_CWORD": str(len(typed.split()) - 1),
    }
    found = subprocess.run(
        COMMAND,
        env={**os.environ, **completion},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert {line.partition(",")[2] for line in found.stdout.splitlines()} == offered


@pytest.mark.parametrize(
    ("name", "warned"),
    [("TASK_COPILOT_PROT", True), ("TASK_COPILOT_SOMETHING_ELSE", False)],
)
async def test_a_server_warns_once_of_a_variable_that_is_a_misspelt_setting(
    tmp_path: Path, name: str, *, warned: bool
) -> None:
    async with start_server(tmp_path, environment={name: "1"}) as mcp:
        await mcp.ok("task_create", title="One")
        mcp.close_stdin()
        assert await mcp.wait_exit() == 0
        said = f"{name} is no setting and does nothing; TASK_COPILOT_PORT is one."
        assert mcp.stderr_text().count(said) == (1 if warned else 0)
        assert (mcp.stderr_text() == "") is not warned


def test_the_url_of_a_hub_is_a_known_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell = Shell(tmp_path, monkeypatch)
    found = shell.run("doctor", TASK_COPILOT_URL="http://127.0.0.1:1", TASK_COPILOT_PORT="")
    assert "no setting" not in found.output
