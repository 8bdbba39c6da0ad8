"""An agent that is given `claude_config.example.json` gets a server that works."""

import json
import os
import shutil
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from e2e.raw_mcp import RawMcp
from e2e.servers import free_port
from task_copilot.tools.registry import TOOLS

ROOT = Path(__file__).resolve().parents[2]
INSTALLED = Path(sysconfig.get_path("scripts")) / "task-copilot"


def configured() -> dict[str, Any]:
    """The one server of the example."""
    config = json.loads((ROOT / "claude_config.example.json").read_text(encoding="utf-8"))
    (server,) = config["mcpServers"].values()
    assert server["type"] == "stdio"
    found: dict[str, Any] = server
    return found


@pytest.fixture
def surroundings(tmp_path: Path) -> dict[str, str]:
    """A person's environment: a home of their own, and no virtual environment on PATH."""
    scripts = INSTALLED.parent.resolve()
    folders = os.environ["PATH"].split(os.pathsep)
    path = [folder for folder in folders if folder and Path(folder).resolve() != scripts]
    home = tmp_path / "home"
    home.mkdir()
    return {
        "PATH": os.pathsep.join(path),
        "HOME": str(home),
        "XDG_DATA_HOME": str(home / "data"),
        "TASK_COPILOT_PORT": str(free_port()),
        "TASK_COPILOT_DATABASE_URL": "",
        "CLAUDE_PROJECT_DIR": "",
        "VIRTUAL_ENV": "",
    }


def install(folder: Path) -> None:
    """Puts the command into a folder of commands as pipx and uv do: as a link."""
    folder.mkdir()
    (folder / "task-copilot").symlink_to(INSTALLED)


async def work_with(command: str, server: Mapping[str, Any], environment: dict[str, str]) -> None:
    """Does what an agent does first, in a project of its own."""
    project = Path(environment["HOME"]) / "web-shop"
    project.mkdir()
    given = {**environment, **server["env"]}
    async with RawMcp([command, *server["args"]], given, project) as mcp:
        greeting = await mcp.initialize(timeout=30)
        assert greeting["serverInfo"]["name"] == "task-copilot"
        assert "Workspace: web-shop" in greeting["instructions"]
        listed = (await mcp.request("tools/list"))["result"]["tools"]
        assert {tool["name"] for tool in listed} == {tool.name for tool in TOOLS}
        made = await mcp.call("task_create", {"title": "Cart"}, timeout=30)
        assert made["structuredContent"]["id"] == "TASK-1"
        found = await mcp.call("task_list")
        assert "TASK-1 pending - Cart" in found["content"][0]["text"]
        mcp.close_stdin()
        assert await mcp.wait_exit() == 0
        assert mcp.stderr_text() == ""


async def test_the_command_of_the_example_is_found_on_the_path(
    tmp_path: Path, surroundings: dict[str, str]
) -> None:
    server = configured()
    assert shutil.which(server["command"], path=surroundings["PATH"]) is None
    install(tmp_path / "bin")
    surroundings["PATH"] = os.pathsep.join([str(tmp_path / "bin"), surroundings["PATH"]])
    await work_with(server["command"], server, surroundings)
    assert len(list((tmp_path / "home").rglob("task-copilot.db"))) == 1


async def test_the_command_may_be_an_absolute_path(
    tmp_path: Path, surroundings: dict[str, str]
) -> None:
    assert shutil.which("task-copilot", path=surroundings["PATH"]) is None
    await work_with(str(INSTALLED), configured(), surroundings)
