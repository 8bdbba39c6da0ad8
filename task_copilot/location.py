"""Which project a folder belongs to, read from the folder and its git repository."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from task_copilot.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Location:
    """A workspace before the database knows it: its name, and its folder if it has one."""

    name: str
    path: str | None

    @property
    def described(self) -> str:
        """The name with the folder, since several folders may have the same name."""
        return self.name if self.path is None else f"{self.name} ({self.path})"

    @property
    def other_name(self) -> str:
        """The name to take where another folder holds the plain one already."""
        digest = hashlib.sha256((self.path or self.name).encode(errors="replace")).hexdigest()
        return f"{self.name}-{digest[:6]}"


def current_folder() -> Path:
    """The folder in which this runs; where it was removed meanwhile, as the shell remembers it."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return Path(os.environ.get("PWD", "/"))


def locate(wanted: str | None, environment: Mapping[str, str], current: Path) -> Location:
    """The workspace of a server: `wanted` (a folder or a name) if given, else the git
    repository of ``CLAUDE_PROJECT_DIR`` or of the `current` folder, else that folder.
    Raises InvalidInput for a wanted folder that does not exist.
    """
    if wanted and not names_a_folder(wanted):
        return Location(name=_printable(wanted), path=None)
    folder = Path(wanted or environment.get("CLAUDE_PROJECT_DIR") or current).expanduser()
    if wanted and not folder.is_dir():
        raise InvalidInput(
            f"TASK_COPILOT_WORKSPACE (--workspace) names {wanted!r}, which is no folder. Give a "
            "folder that exists, or a name without slashes."
        )
    root = repository_of(folder.resolve())
    return Location(name=_name(root), path=os.fsencode(root).decode(errors="replace"))


def names_a_folder(wanted: str) -> bool:
    """Whether a wanted workspace is a folder, and not a name."""
    return wanted.startswith(("~", ".")) or "/" in wanted or "\\" in wanted


def repository_of(folder: Path) -> Path:
    """The main folder of the git repository that holds `folder`, the same for all of its
    worktrees; `folder` itself if there is none."""
    for candidate in (folder, *folder.parents):
        marker = candidate / ".git"
        if marker.is_dir():
            return candidate
        if marker.is_file():
            return _main_folder(candidate, marker)
    return folder


def _main_folder(worktree: Path, marker: Path) -> Path:
    # A worktree's `.git` is a file that names its git directory, which in turn names the
    # one that all worktrees share. A submodule's has no such file: it stands for itself.
    try:
        named = marker.read_text(errors="replace").partition("gitdir:")[2].strip()
        git_directory = (worktree / named).resolve()
        shared = git_directory / (git_directory / "commondir").read_text(errors="replace").strip()
    except OSError:
        return worktree
    shared = shared.resolve()
    return shared.parent if shared.name == ".git" else shared


def _name(folder: Path) -> str:
    return _printable(folder.name.removesuffix(".git")) or "root"


def _printable(text: str) -> str:
    cleaned = "".join(sign if sign.isprintable() else "?" for sign in text)
    return cleaned[:100].strip()
