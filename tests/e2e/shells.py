"""Commands as a person gives them, with a home, a data directory and a project of their own."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from e2e.servers import Server, contents, free_port
from task_copilot.cli import main


class Shell:
    """Runs commands in this process, which is much faster than a new one."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self.home = tmp_path / "home"
        self.data = self.home / "data" / "task-copilot"
        self.database = self.data / "task-copilot.db"
        self.port = free_port()
        for name in os.environ:
            if name.startswith(("TASK_COPILOT_", "CLAUDE_")):
                monkeypatch.delenv(name)
        monkeypatch.setenv("HOME", str(self.home))
        monkeypatch.setenv("XDG_DATA_HOME", str(self.home / "data"))
        monkeypatch.setenv("TASK_COPILOT_PORT", str(self.port))
        self.folder = self.go(self.home / "project")

    def go(self, folder: Path) -> Path:
        """Makes a folder the current one."""
        folder.mkdir(parents=True, exist_ok=True)
        self._monkeypatch.chdir(folder)
        return folder

    def run(self, *words: str, typed: str | bytes | None = None, **environment: str) -> Result:
        """A command with its exit code, its output and what it said on stderr."""
        found = CliRunner().invoke(
            main, list(words), input=typed, env=environment, prog_name="task-copilot"
        )
        if not isinstance(found.exception, SystemExit | None):
            raise found.exception
        return found

    async def beside(self, server: Server, *words: str, **environment: str) -> Result:
        """A command in the folder and with the settings of a running server."""
        self.go(server.folder)
        return await asyncio.to_thread(
            self.run, *words, **{**server.environment, "HOME": str(self.home), **environment}
        )

    def said(self, *words: str, **given: Any) -> str:
        """What a command that succeeds prints."""
        found = self.run(*words, **given)
        assert found.exit_code == 0, found.stderr
        return found.stdout

    def refused(self, *words: str, **given: Any) -> str:
        """What a command that is refused says: one line, after which nothing has changed."""
        before = contents(self.database) if self.database.exists() else None
        found = self.run(*words, **given)
        assert found.exit_code == 1, found.output
        assert found.stdout == ""
        *_announced, last = found.stderr.splitlines()
        assert last.startswith("task-copilot: ")
        assert (contents(self.database) if self.database.exists() else None) == before
        return last.removeprefix("task-copilot: ")

    def misused(self, *words: str, **given: Any) -> str:
        """What is said to a command that was not called as it can be."""
        found = self.run(*words, **given)
        assert found.exit_code == 2, found.output
        return found.stderr
