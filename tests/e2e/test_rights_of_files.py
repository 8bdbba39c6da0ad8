"""What running servers leave on the disk can be used by their user alone."""

import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from e2e.servers import Server, free_port, start_server
from e2e.test_replaced_while_running import remove

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="rights are of another kind there")

BARE = ("-I", "-c", "import os; os.umask(0); from task_copilot.cli import main; main()")
"""Starts the server as a careless user would."""


def modes(folder: Path) -> dict[str, str]:
    """The mode of each file that there is, by its name; names that hold a hash without it."""
    found = {}
    for path in folder.iterdir():
        name = f"hub{path.suffix}" if path.name.startswith("hub-") else path.name
        found[name] = f"{stat.S_IMODE(path.lstat().st_mode):o}"
    return found


def data_of(mcp: Server) -> Path:
    return Path(mcp.environment["XDG_DATA_HOME"]) / "task-copilot"


async def test_all_files_are_for_the_user_alone_also_those_of_a_database_that_is_made_again(
    tmp_path: Path,
) -> None:
    database = tmp_path / "data" / "task-copilot" / "task-copilot.db"
    port, command = free_port(), (sys.executable, *BARE)
    given: dict[str, Any] = {"database": database, "port": port, "command": command}
    given["log_level"] = "info"
    async with start_server(tmp_path, **given) as hub, start_server(tmp_path, **given) as other:
        await hub.served()
        await other.ok("task_create", title="Old")
        every = {"hub.lock", "hub.json", "hub.head", "hub.opening"}
        every |= {f"task-copilot.db{ending}" for ending in ("", "-wal", "-shm")}
        assert modes(data_of(hub)) == dict.fromkeys(every, "600")
        assert stat.S_IMODE(data_of(hub).stat().st_mode) == 0o700
        remove(database)
        await other.ok("task_create", title="New")
        await hub.ok("task_create", title="Newer")
        assert modes(data_of(hub)) == dict.fromkeys(every, "600")
    assert modes(hub.folder) == {}
