"""``task-copilot init``."""

import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from task_copilot.commands import block, jsonedit
from task_copilot.commands.check_machine import is_no_project
from task_copilot.commands.common import Refusal, json_option, print_json, say
from task_copilot.commands.files import replace
from task_copilot.commands.project import MCP_FILE, MODULE, SERVER, is_ours, project_folder

SERVERS = "mcpServers"
NOTES = ("CLAUDE.md", "AGENTS.md")
"""Files for agents: the first that is there gets the block; the first of all is made."""

MARK = "\ufeff"
"""May stand at the beginning of a file from Windows; JSON does not have it."""


@dataclass(frozen=True, slots=True)
class Change:
    """What is to become of a file: `content` is what it gets, None that it goes."""

    path: Path
    content: bytes | None
    said: str


@click.command()
@click.option("--remove", is_flag=True, help="Take out again what init has written.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@json_option
def init(*, remove: bool, dry_run: bool, as_json: bool) -> None:
    """Set up the project of the current folder for agents.

    Adds the server to .mcp.json, and to CLAUDE.md (or AGENTS.md, where only that is there) a
    marked block that says when to use it. All else in these files stays as it is; a second time
    changes nothing.
    """
    folder = project_folder(Path.cwd())
    if is_no_project(str(folder)):
        raise Refusal(f"{folder} is no project. Run this in the folder of one.")
    changes = planned(folder, remove=remove)
    changed = []
    for change in changes:
        if not dry_run:
            carry_out(change)
            changed.append(str(change.path))
        if not as_json:
            say(f"{'not done, only said: ' if dry_run else ''}{change.said}")
    said = [change.said for change in changes]
    if as_json:
        print_json({"folder": str(folder), "changed": changed, "said": said})
    elif not changes:
        say(f"{folder}: nothing to {'remove' if remove else 'do'}.")


def planned(folder: Path, *, remove: bool) -> list[Change]:
    """What is to be done in a project; all is read and checked before anything is written."""
    return _removal(folder) if remove else _set_up(folder)


def carry_out(change: Change) -> None:
    """Writes or removes the file, whole or not at all; raises Refusal."""
    if change.content is not None:
        replace(change.path, change.content)
        return
    try:
        change.path.unlink()
    except OSError as error:
        raise Refusal(f"{change.path} cannot be removed: {error.strerror}.") from None


def server() -> dict[str, Any]:
    """The server as an agent starts it: the command where it is found, else this Python."""
    found = {"type": "stdio", "command": SERVER, "args": [], "env": {}}
    if shutil.which(SERVER) is None:
        found |= {"command": sys.executable, "args": ["-m", MODULE]}
    return found


def _set_up(folder: Path) -> list[Change]:
    changes = [_with_server(folder / MCP_FILE), _with_notes(folder)]
    return [change for change in changes if change is not None]


def _with_server(path: Path) -> Change | None:
    content = _read(path)
    if content is None:
        text = _dumped({SERVERS: {SERVER: server()}})
        return Change(path, text.encode(), f"{path}: made, with the server {SERVER}.")
    text, mark = _text(path, content)
    try:
        if SERVER in _servers(text):
            return None
        new = jsonedit.with_member(text, SERVERS, SERVER, server())
    except jsonedit.Unfit as error:
        raise _unfit(path, error) from None
    return Change(path, (mark + new).encode(), f"{path}: server {SERVER} added.")


def _dumped(value: Any) -> str:
    return json.dumps(value, indent=2) + "\n"


def _unfit(path: Path, error: Exception) -> Refusal:
    return Refusal(f"{path}: {error}. Nothing was changed; mend it first.")


def _servers(text: str) -> dict[str, Any]:
    root = jsonedit.parse(text)
    member = root.member(SERVERS)
    if member is None:
        return {}
    inner = root.inner(member)
    inner.member(SERVER)  # not twice
    return {each.name: each.value for each in inner.members}


def _with_notes(folder: Path) -> Change | None:
    path = next((folder / name for name in NOTES if (folder / name).exists()), folder / NOTES[0])
    content = _read(path)
    if content is None:
        return Change(path, block.new_text().encode(), f"{path}: made, with a block for agents.")
    text = _lossless(content)
    if _has_block(path, text):
        return None
    new = _bytes(block.with_block(text))
    return Change(path, new, f"{path}: block for agents added at the end.")


def _has_block(path: Path, text: str) -> bool:
    try:
        return block.has_block(text)
    except block.HalfMarked as error:
        raise _unfit(path, error) from None


def _removal(folder: Path) -> list[Change]:
    changes = [_without_server(folder / MCP_FILE)]
    changes += [_without_notes(folder / name) for name in NOTES]
    return [change for change in changes if change is not None]


def _without_server(path: Path) -> Change | None:
    content = _read(path)
    if content is None:
        return None
    text, mark = _text(path, content)
    try:
        found = _servers(text).get(SERVER)
        if not isinstance(found, dict) or not _is_this_program(found):
            return None
        if text == _dumped({SERVERS: {SERVER: found}}):
            return Change(path, None, f"{path}: removed; it had nothing else.")
        new = jsonedit.without_member(text, SERVERS, SERVER)
    except jsonedit.Unfit as error:
        raise _unfit(path, error) from None
    return Change(path, (mark + new).encode(), f"{path}: server {SERVER} removed.")


def _is_this_program(found: dict[str, Any]) -> bool:
    return is_ours("", found)


def _without_notes(path: Path) -> Change | None:
    content = _read(path)
    if content is None:
        return None
    text = _lossless(content)
    if not _has_block(path, text):
        return None
    new = block.without_block(text)
    if new is None:
        return Change(path, None, f"{path}: removed; it had nothing but the block.")
    return Change(path, _bytes(new), f"{path}: block for agents removed.")


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Refusal(f"{path} cannot be read: {error.strerror}.") from None


def _text(path: Path, content: bytes) -> tuple[str, str]:
    """The text of a JSON file, and the mark that stood before it."""
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise _unfit(path, ValueError(f"byte {error.start + 1} is not UTF-8")) from None
    return text.removeprefix(MARK), text[: text.startswith(MARK)]


def _lossless(content: bytes) -> str:
    return content.decode("utf-8", "surrogateescape")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


COMMANDS = {"init": init}
