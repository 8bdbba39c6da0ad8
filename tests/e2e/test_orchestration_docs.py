"""docs/orchestration.md: its walk-through runs as it is written, and shows what is shown."""

import json
import os
import re
import stat
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import get_args

import pytest

from e2e.servers import free_port
from task_copilot.commands.orchestrate import orchestrate
from task_copilot.orchestrator import machine, reporting, run

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "orchestration.md").read_text(encoding="utf-8")
WORKER = ROOT / "examples" / "script_worker.py"
HOME = "/home/ada"
END = "--- end of a command ---"
WITHIN_SECONDS = 120

CLAUDE = f"""\
#!{sys.executable}
# Stands in for Claude Code: works by the prompt and the server that it is given.
import asyncio, json, os, sys
sys.path.insert(0, {os.fspath(WORKER.parent)!r})
from mcp import Client, StdioServerParameters
from script_worker import work

words = sys.argv[1:]
given = dict(zip(words[::2], words[1::2], strict=True))
assert given["--allowedTools"] == "mcp__task-copilot__*"
assert given["--permission-mode"] == "acceptEdits"
assert "Work on stream sorting of workspace web-shop" in given["-p"]
assert os.path.basename(os.getcwd()) == "sorting"
[own] = json.loads(given["--mcp-config"])["mcpServers"].values()
server = StdioServerParameters(
    command=own["command"], args=own["args"], env={{**os.environ, **own["env"]}}
)

async def main():
    async with Client(server) as client:
        await work(client, "sorting")

asyncio.run(main())
"""


def steps() -> list[tuple[str, str]]:
    """What is done, in the order of the page: commands with what they show, and files."""
    found = []
    for language, code in re.findall(
        r"^```(console|python)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL
    ):
        if language == "python":
            found.append((f"cat >worker.py <<'END'\n{code}END", ""))
        else:
            found += re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", code, re.MULTILINE)
    return found


def environment(home: Path) -> dict[str, str]:
    """A new user's, with a stand-in for Claude Code on the PATH."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("TASK_COPILOT_", "CLAUDE", "GIT_", "XDG_", "TMUX"))
    }
    programs = home / "bin"
    programs.mkdir(parents=True)
    (programs / "claude").write_text(CLAUDE)
    (programs / "claude").chmod(stat.S_IRWXU)
    return kept | {
        "HOME": os.fspath(home),
        "PATH": os.pathsep.join(
            [os.fspath(programs), os.fspath(Path(sys.executable).parent), os.environ["PATH"]]
        ),
        "TASK_COPILOT_PORT": str(free_port()),
        **{
            f"GIT_{who}_{what}": "ada@example.com"
            for who in ("AUTHOR", "COMMITTER")
            for what in ("NAME", "EMAIL")
        },
    }


def shown(text: str, home: str) -> Counter[str]:
    """The lines without times and numbers; in any order, since workers run side by side."""
    text = text.replace(home, HOME)
    text = re.sub(r"^\d\d:\d\d:\d\d ", "TIME ", text, flags=re.MULTILINE)
    text = re.sub(r"\(process \d+\)", "(process N)", text)
    text = re.sub(r"/\S+(/orchestrate/web-shop)-[0-9a-f]{8}/", r"DATA\1/", text)
    return Counter(filter(None, text.splitlines()))


def test_the_worker_of_the_page_is_the_file_that_it_names() -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert code == WORKER.read_text(encoding="utf-8")


def test_the_walk_through_runs_and_shows_what_the_page_shows(tmp_path: Path) -> None:
    home = (tmp_path / "home").resolve()
    script = "".join(
        f"{command}\nstatus=$?; echo; echo '{END}'; (exit $status)\n" for command, _ in steps()
    )
    done = subprocess.run(
        ["sh", "-c", script],
        env=environment(home),
        cwd=home,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=WITHIN_SECONDS,
        check=False,
    )
    said = done.stdout.split(f"{END}\n")
    for (command, expected), printed in zip(steps(), said, strict=False):
        assert shown(printed, os.fspath(home)) == shown(expected, HOME), f"{command}\n{printed}"
    assert len(said) == len(steps()) + 1
    assert done.returncode == 0


def test_the_page_names_every_option_of_the_command() -> None:
    own = {option for each in orchestrate.params for option in each.opts if option[:2] == "--"}
    assert own - set(re.findall(r"--[a-z][a-z-]+", PAGE)) == {"--ca-file"}


def test_the_page_names_all_that_can_happen_and_every_state() -> None:
    table = PAGE.partition("## For programs")[2].partition("\n## ")[0]
    named = set(re.findall(r"`([a-z ]+)`", table))
    source = Path(run.__file__).read_text(encoding="utf-8")
    assert set(re.findall(r"_say\(\s*\"([a-z]+)\"", source)) | {"summary"} <= named
    assert set(get_args(machine.Stage)) <= named
    fields = set(re.findall(r"`([a-zA-Z]+)`", table))
    source = Path(reporting.__file__).read_text(encoding="utf-8")
    assert set(re.findall(r"^\s+\"([a-zA-Z]+)\": ", source, re.MULTILINE)) <= fields


@pytest.mark.parametrize(
    ("row", "value"),
    [
        (r"started again after (\d+) s", machine.RETRY_SECONDS),
        (r"for (\d+) minutes \(`--stall-timeout`", machine.STALL_SECONDS / 60),
        (r"after (\d+) s \(`--grace`", run.GRACE_SECONDS),
        (r"after (\d+) s it is asked to end", machine.LINGER_SECONDS),
        (r"`--max-parallel` of them, (\d+) without", machine.MAX_PARALLEL),
    ],
)
def test_the_numbers_of_the_page_are_those_of_the_program(row: str, value: float) -> None:
    assert [float(found) for found in re.findall(row, PAGE)] == [value]


def test_the_permissions_that_the_page_shows_are_settings() -> None:
    (found,) = re.findall(r'`("permissions": .*?)`', PAGE)
    assert json.loads(f"{{{found}}}")["permissions"]["allow"]
