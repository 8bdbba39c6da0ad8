"""What ``doctor`` looks at in the configuration of agents. It starts nothing that is there."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from task_copilot.commands.check_machine import environment
from task_copilot.commands.findings import Finding, note, ok, wrong
from task_copilot.commands.project import MCP_FILE, is_ours, project_folder
from task_copilot.location import current_folder

MAX_BYTES = 64 * 1024 * 1024
SCRIPT_BYTES = 1024
INIT = "task-copilot init writes one."


def agents() -> Iterator[Finding]:
    """The servers of that name in the project's file and in Claude Code's own."""
    folder = project_folder(current_folder())
    found = 0
    for path, sections in (
        (folder / MCP_FILE, [()]),
        (Path.home() / ".claude.json", [(), ("projects", str(folder))]),
    ):
        try:
            content = _read(path)
        except ValueError as error:
            yield wrong("agent", f"{path} cannot be read: {error}.", "Mend it, or move it away.")
            continue
        for section in sections:
            for server in _servers(content, section):
                found += 1
                yield from _server(path, folder, server)
    if not found:
        yield note("agent", f"No configuration for {folder} names Task Copilot.", INIT)


def _read(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            return json.loads(file.read(MAX_BYTES))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ValueError(error.strerror) from None
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def _servers(content: Any, section: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    for name in (*section, "mcpServers"):
        content = content.get(name) if isinstance(content, dict) else None
    if isinstance(content, dict):
        for name, server in content.items():
            if isinstance(server, dict) and is_ours(name, server):
                yield server


def _server(path: Path, folder: Path, server: dict[str, Any]) -> Iterator[Finding]:
    command, variables = server.get("command"), server.get("env")
    if isinstance(variables, dict):
        yield from environment({str(k): str(v) for k, v in variables.items()}, f"env in {path}")
    if not isinstance(command, str):
        if "url" not in server:
            yield wrong("agent", f"{path}: the server has no command.", f"Remove it; {INIT}")
        return
    reason = _cannot_start(command, folder)
    if reason is None:
        yield ok("agent", f"{path}: {command} can be started")
    else:
        remedy = "Install it where agents find it, or: task-copilot init --remove, and init again."
        yield wrong("agent", f"{path}: {command} cannot be started: {reason}.", remedy)


def _cannot_start(command: str, folder: Path) -> str | None:
    """Why a command cannot be started in a folder; None where nothing speaks against it."""
    path = os.path.expandvars(command)
    if os.sep in path and not Path(path).is_absolute():
        path = str(folder / path)
    found = shutil.which(path)
    if found is None:
        missing = Path(path).is_absolute() and not Path(path).exists()
        return "it is not there" if missing else "no program of that name is on the PATH"
    with Path(found).open("rb") as script:
        first = script.read(SCRIPT_BYTES).split(b"\n")[0]
    interpreter = first.removeprefix(b"#!").split()[:1] if first.startswith(b"#!") else []
    if interpreter and not Path(os.fsdecode(interpreter[0])).exists():
        return f"its interpreter {os.fsdecode(interpreter[0])} is not there"
    return None
