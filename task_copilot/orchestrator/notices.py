"""Tells a person that a stream is blocked: a notification of the desktop, or any command."""

import asyncio
import contextlib
import logging
import os
import shutil
import sys
import tempfile
from asyncio.subprocess import DEVNULL
from collections.abc import Mapping, Sequence

from task_copilot.orchestrator.worker_command import filled, refuse_typos, split
from task_copilot.text import escaped

logger = logging.getLogger(__name__)

PLACES = ("{stream}", "{workspace}", "{reason}")
"""What is filled in in the words of the user's own command."""

NOTICE_SECONDS = 10.0
"""How long a command that tells somebody may take."""

MAX_TEXT = 300
"""Characters of a reason on the desktop; a command gets all of it."""

AT_ONCE = 4
MAX_COMPLAINT_BYTES = 100_000

_OSASCRIPT = (
    "on run words",
    "display notification (item 2 of words) with title (item 1 of words)",
    "end run",
)


class Notices:
    """`command` is the user's own, with the placeholders ``{stream}``, ``{workspace}`` and
    ``{reason}``; None is the desktop, as far as there is one, and an empty one nothing."""

    def __init__(self, command: str | None, workspace: str, environment: Mapping[str, str]) -> None:
        self._own = None if command is None else (split(command) if command.strip() else [])
        refuse_typos(self._own or (), PLACES)
        self._workspace = workspace
        self._environment = dict(environment)
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def blocked(self, stream_id: str, reason: str) -> None:
        """Tells of a stream that waits for a person; what goes wrong with that is logged."""
        words = self._words(stream_id, reason)
        if not words:
            return
        async with self._turns:
            try:
                async with asyncio.timeout(NOTICE_SECONDS):
                    code, complaint = await _run(words, self._environment)
            except TimeoutError:
                logger.warning("%s was ended: it took over %g s.", words[0], NOTICE_SECONDS)
                return
            except OSError as error:
                code, complaint = 1, error.strerror or str(error)
        if code:
            level = logging.INFO if self._own is None else logging.WARNING
            logger.log(level, "%s failed (%d): %s", words[0], code, complaint)

    def _words(self, stream_id: str, reason: str) -> list[str]:
        if self._own is not None:
            places = {"{stream}": stream_id, "{workspace}": self._workspace, "{reason}": reason}
            return [filled(word, places) for word in self._own]
        title = f"{stream_id} is blocked ({self._workspace})"
        return desktop(title, escaped(reason)[:MAX_TEXT])


def desktop(title: str, text: str) -> list[str]:
    """The command that shows a notification here; empty where there is none."""
    if program := shutil.which("notify-send"):
        plain = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        return [program, "--app-name=Task Copilot", "--", title, plain]
    if sys.platform == "darwin" and (program := shutil.which("osascript")):
        lines = [word for line in _OSASCRIPT for word in ("-e", line)]
        return [program, *lines, "--", title, text]
    return []


async def _run(words: Sequence[str], environment: Mapping[str, str]) -> tuple[int, str]:
    """The exit code, and the last line that was complained."""
    # A file and no pipe: what the command leaves running may keep it open.
    with tempfile.TemporaryFile() as complaint:
        process = await asyncio.create_subprocess_exec(
            *map(_passable, words),
            stdin=DEVNULL,
            stdout=DEVNULL,
            stderr=complaint,
            env={**os.environ, **environment},
        )
        try:
            code = await process.wait()
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            raise
        complaint.seek(0)
        lines = complaint.read(MAX_COMPLAINT_BYTES).decode(errors="replace").strip().splitlines()
    return code, lines[-1] if lines else ""


def _passable(word: str) -> str:
    """A word that can be passed to a program, which takes no zero and no half of a sign."""
    return word.replace("\0", "\ufffd").encode(errors="replace").decode()
