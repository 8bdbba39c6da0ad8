"""What README.md says is so."""

import asyncio
import re
import subprocess
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from command_line import options
from e2e.servers import Server, free_port, start_server
from task_copilot.events.types import EVENT_CLASSES
from task_copilot.settings import declared, known_variables
from task_copilot.tools.registry import TOOLS

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
LISTEN = ROOT / "examples" / "listen.py"
MONITOR = ROOT / "examples" / "monitor.py"
POLLING = ROOT / "examples" / "monitor_polling.py"


def blocks(language: str) -> list[str]:
    """The code blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with start_server(tmp_path, log_level="info") as mcp:
        await mcp.served()
        yield mcp


def test_the_python_of_the_readme_is_the_file_that_it_names() -> None:
    (code,) = blocks("python")
    assert code == MONITOR.read_text(encoding="utf-8")


def test_the_readme_says_how_long_both_monitors_are() -> None:
    for file in (MONITOR, POLLING):
        assert f"{len(file.read_text(encoding='utf-8').splitlines())} lines" in README


async def test_the_example_without_a_client_prints_progress(server: Server) -> None:
    listener = await asyncio.create_subprocess_exec(
        *(sys.executable, "-u", str(LISTEN), f"ws://127.0.0.1:{server.port}/ws"),
        stdout=PIPE,
        stderr=PIPE,
    )
    assert listener.stdout is not None
    first = asyncio.create_task(listener.stdout.readline())
    async with asyncio.timeout(30):
        while not first.done():  # until it has subscribed; what came before is not for it
            await server.ok("task_create", title="x", streamId="Stream-A", streamName="types")
    assert (await first).decode() == "types 0.0 % pending\n"
    server.close_stdin()
    _out, err = await asyncio.wait_for(listener.communicate(), 20)
    assert (listener.returncode, b"1012" in err, b"Traceback" in err) == (1, True, False)


def test_the_example_without_a_client_says_that_nobody_serves() -> None:
    port = free_port()
    command = [sys.executable, str(LISTEN), f"ws://127.0.0.1:{port}/ws"]
    found = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert found.returncode == 1
    assert found.stderr.startswith("Nobody serves events at")
    assert "Traceback" not in found.stderr


def test_the_readme_names_the_default_address() -> None:
    assert f"ws://127.0.0.1:{next(f.default for f in declared() if f.name == 'port')}/ws" in README


def test_the_table_names_every_tool_and_no_other() -> None:
    assert re.findall(r"^\| `(\w+)` \|", README, re.MULTILINE) == [tool.name for tool in TOOLS]


def test_the_types_of_events_that_the_readme_shows_exist() -> None:
    known = {event.event_type for event in EVENT_CLASSES}
    kinds = "|".join({event.kind for event in EVENT_CLASSES})
    assert set(re.findall(rf"\b(?:{kinds})\.\w+", README)) <= known


def test_the_settings_that_the_readme_names_exist() -> None:
    assert set(re.findall(r"--[a-z][a-z-]+", README)) <= options() | {"--help", "--keep"}
    assert set(re.findall(r"TASK_COPILOT_\w+", README)) <= known_variables()


def test_the_files_and_commands_that_the_readme_names_exist() -> None:
    for target in re.findall(r"\]\(([^)]+)\)", README):
        assert (ROOT / target).is_file(), target
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"(?:`|^)make (\w+)", README, re.MULTILINE):
        assert f"\n{target}:" in makefile


def test_the_readme_is_short_and_its_picture_fits_a_page() -> None:
    assert len(README.splitlines()) < 170
    (picture,) = blocks("text")
    assert picture in (ROOT / "docs" / "watch.md").read_text(encoding="utf-8")
    assert max(map(len, picture.splitlines())) <= 100
