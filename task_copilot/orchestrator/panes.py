"""A pane of tmux for each stream, which follows the output of its workers."""

import asyncio
import logging
import os
import shlex
import shutil
import subprocess
from pathlib import Path

from task_copilot.errors import InvalidInput
from task_copilot.orchestrator.records import file_name

logger = logging.getLogger(__name__)

TMUX_SECONDS = 10.0
MARK = "@task_copilot_stream"
"""The option of a pane that says whose it is, so that the next run finds it again."""


class Panes:
    """The panes of one session, made with the first one; a person attaches to it."""

    def __init__(self, workspace: str) -> None:
        # Dots and colons separate windows and panes in the names of tmux.
        self.session = f"task-copilot-{file_name(workspace)}".replace(".", "_").replace(":", "_")
        self._turn = asyncio.Lock()

    @property
    def attach(self) -> str:
        """What shows them in this terminal, which may be one of tmux already."""
        return f"tmux {'switch-client' if os.environ.get('TMUX') else 'attach'} -t {self.session}"

    @staticmethod
    def require() -> None:
        """Raises InvalidInput where there is no tmux."""
        if shutil.which("tmux") is None:
            raise InvalidInput("--tmux needs tmux, and there is no program of that name.")

    async def show(self, stream_id: str, log: Path) -> None:
        """Opens a pane that follows `log`, unless the stream has one."""
        async with self._turn:
            await asyncio.to_thread(self._show, stream_id, log)

    async def close(self, *stream_ids: str) -> None:
        """Closes the panes of streams that are complete; the last one ends the session."""
        async with self._turn:
            await asyncio.to_thread(self._close, frozenset(stream_ids))

    def _show(self, stream_id: str, log: Path) -> None:
        present = self._panes()
        if stream_id in present.values():
            return
        follow = f"exec tail -n 200 -F {shlex.quote(os.fspath(log))}"
        report = ("-P", "-F", "#{pane_id}")
        if present:
            pane = _tmux("split-window", "-d", "-t", f"={self.session}:", *report, follow)
        else:
            size = ("-x", "200", "-y", "50")
            pane = _tmux("new-session", "-d", "-s", self.session, *size, *report, follow)
            _tmux("set-option", "-t", f"={self.session}:", "pane-border-status", "top")
            border = f"#{{{MARK}}}"
            _tmux("set-option", "-t", f"={self.session}:", "pane-border-format", border)
        if pane:
            _tmux("set-option", "-p", "-t", pane, MARK, stream_id)
            _tmux("select-layout", "-t", f"={self.session}:", "tiled")

    def _close(self, stream_ids: frozenset[str]) -> None:
        for pane, owner in self._panes().items():
            if owner in stream_ids:
                _tmux("kill-pane", "-t", pane)
        if self._panes():
            _tmux("select-layout", "-t", f"={self.session}:", "tiled")

    def _panes(self) -> dict[str, str]:
        """The panes of the session, with their streams."""
        form = f"#{{pane_id}} #{{{MARK}}}"
        found = _tmux("list-panes", "-s", "-t", f"={self.session}:", "-F", form, quiet=True)
        return dict(line.partition(" ")[::2] for line in found.splitlines())


def _tmux(*words: str, quiet: bool = False) -> str:
    """What tmux prints; what it complains of is logged, since a worker needs no pane."""
    try:
        done = subprocess.run(  # noqa: S603 - no shell, and the words are ours
            ["tmux", *words],  # noqa: S607 - the user's own tmux
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TMUX_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        logger.warning("tmux does not answer: %s", error)
        return ""
    if done.returncode and not quiet:
        logger.warning("tmux %s: %s", words[0], done.stderr.strip())
    return done.stdout.strip() if not done.returncode else ""
