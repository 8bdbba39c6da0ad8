"""The project that a folder belongs to, and its servers of this program."""

from pathlib import Path, PurePath
from typing import Any

MCP_FILE = ".mcp.json"
SERVER = "task-copilot"
MODULE = "task_copilot"


def project_folder(current: Path) -> Path:
    """The top of the git worktree that holds `current`; `current` itself if there is none."""
    for candidate in (current, *current.parents):
        if (candidate / ".git").exists():
            return candidate
    return current


def is_ours(name: str, server: dict[str, Any]) -> bool:
    """Whether a configured server is this program, or has its name."""
    command, arguments = server.get("command"), server.get("args")
    runs_module = isinstance(arguments, list) and MODULE in arguments
    runs_command = isinstance(command, str) and PurePath(command).stem == SERVER
    return name == SERVER or runs_module or runs_command
