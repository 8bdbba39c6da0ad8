"""A git worktree and a branch of its own for each stream. Nothing is merged, removed or pushed."""

import os
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path

from task_copilot.errors import InvalidInput
from task_copilot.orchestrator.records import file_name

BRANCHES = "task-copilot"
"""The branch of a stream is this with its id: ``task-copilot/Stream-A``."""

GIT_SECONDS = 120.0
"""How long git may take to check out a large repository."""

INDEX = ("--git-path", "index")

_ONE_AT_A_TIME = threading.Lock()
"""git fails where it meets a worktree that another git is just adding. Checking out, which may
take long, goes on side by side."""


class GitFailed(InvalidInput):
    """git cannot do what a worktree needs; the message has its words."""


@dataclass(frozen=True, slots=True)
class Worktrees:
    """The worktrees of one repository; `beside` holds them, next to the repository."""

    repository: Path
    beside: Path

    @classmethod
    def of(cls, folder: Path) -> "Worktrees":
        """Those of the repository in which `folder` is. Blocking; raises GitFailed where there is
        none, or no commit to begin from."""
        shared = Path(_git(folder, "rev-parse", "--path-format=absolute", "--git-common-dir"))
        _git(folder, "rev-parse", "--verify", "--quiet", "HEAD^{commit}")
        repository = shared.parent if shared.name == ".git" else shared
        return cls(repository, repository.with_name(f"{repository.name}.worktrees"))

    def branch(self, stream_id: str) -> str:
        """The branch of a stream."""
        return f"{BRANCHES}/{file_name(stream_id)}"

    def folder(self, stream_id: str) -> Path:
        """Where the worktree of a stream stands, or would."""
        return self.beside / file_name(stream_id)

    def ready(self, stream_id: str, start: Path) -> Path:
        """The worktree of a stream, made where it is missing: on its branch, which begins where
        `start` stands. Blocking; raises GitFailed."""
        folder, branch = self.folder(stream_id), self.branch(stream_id)
        if os.path.lexists(folder):
            self._require_own(folder, branch)
        else:
            self._add(folder, branch, _git(start, "rev-parse", "HEAD"))
        # git writes it last: without it the files are not there yet, or not all of them.
        if not Path(_git(folder, "rev-parse", "--path-format=absolute", *INDEX)).exists():
            _git(folder, "checkout", "--quiet", "--force")
        return folder

    def _add(self, folder: Path, branch: str, begin: str) -> None:
        add = ("worktree", "add", "--no-checkout")
        with _ONE_AT_A_TIME:
            _git(self.repository, "worktree", "prune")
            if _has_branch(self.repository, branch):
                _git(self.repository, *add, os.fspath(folder), branch)
            else:
                _git(self.repository, *add, "-b", branch, os.fspath(folder), begin)

    def _require_own(self, folder: Path, branch: str) -> None:
        try:
            of = Path(_git(folder, "rev-parse", "--path-format=absolute", "--git-common-dir"))
            top = Path(_git(folder, "rev-parse", "--path-format=absolute", "--show-toplevel"))
        except GitFailed:
            of = top = Path()
        shared = self.repository / ".git"
        here = shared if shared.exists() else self.repository
        if top.resolve() != folder.resolve() or of.resolve() != here.resolve():
            raise GitFailed(
                f"{folder} is in the way: it is no worktree of {self.repository}. Move it away."
            )
        present = _git(folder, "branch", "--show-current") or "no branch"
        if present != branch:
            raise GitFailed(f"{folder} is on {present}, not on {branch}. Check that branch out.")
        if _is_half_made(folder):
            raise GitFailed(
                f"{folder} is being made, or was left half made by a git that was killed: then "
                f"'git worktree remove -ff {folder}' makes room for a new one."
            )


def _is_half_made(folder: Path) -> bool:
    """Whether git has not checked out all of a worktree: it locks it until then."""
    lock = Path(_git(folder, "rev-parse", "--path-format=absolute", "--git-dir")) / "locked"
    try:
        return lock.read_text(errors="replace").strip() == "initializing"
    except FileNotFoundError:
        return False


def _has_branch(repository: Path, branch: str) -> bool:
    try:
        _git(repository, "rev-parse", "--verify", "--quiet", f"refs/heads/{branch}")
    except GitFailed:
        return False
    return True


def _git(folder: Path, *words: str) -> str:
    """What git prints; raises GitFailed with what it complains of."""
    # Another repository than the folder's own may be named in the environment, as in a hook.
    environment = {name: text for name, text in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(  # noqa: S603 - no shell, and no word begins with what a stream says
            ["git", "-C", os.fspath(folder), *words],  # noqa: S607 - the user's own git
            env={**environment, "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=GIT_SECONDS,
            check=False,
        )
    except FileNotFoundError:
        raise GitFailed("--worktrees needs git, and there is no program of that name.") from None
    except subprocess.TimeoutExpired:
        raise GitFailed(f"git {words[0]} in {folder} took over {GIT_SECONDS:.0f} s.") from None
    if done.returncode:
        complaint = done.stderr.strip().splitlines() or [f"git {words[0]} failed"]
        if words[0] == "rev-parse" and "HEAD^{commit}" in words:
            complaint = ["it has no commit yet, from which a worktree could begin"]
        raise GitFailed(f"--worktrees in {folder}: {complaint[-1].removeprefix('fatal: ')}.")
    return done.stdout.strip()
