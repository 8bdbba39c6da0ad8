"""A file that remembers how far a program has come, so that it goes on there when it restarts."""

import json
import logging
import os
from pathlib import Path

from task_copilot.client.model import Mark
from task_copilot.private import replace_private

logger = logging.getLogger("task_copilot_client")

MAX_BYTES = 10_000


class CursorFile:
    """The last event that was handled, for this user alone, replaced as a whole: a crash leaves
    the old or the new."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self._failed = False

    def read(self) -> Mark | None:
        """What it says; None where there is no such file. Raises ValueError where something else
        stands there, and OSError."""
        try:
            with self._path.open("rb") as file:
                text = file.read(MAX_BYTES)
        except FileNotFoundError:
            return None
        try:
            found = json.loads(text)
            epoch, position = found["epoch"], found["position"]
        except (ValueError, LookupError, TypeError, RecursionError):
            epoch, position = None, None
        if not isinstance(epoch, str) or type(position) is not int or position < 0:
            raise ValueError(f"cursor_file: {self._path} is no cursor; remove it to begin anew")
        return Mark(epoch, position)

    def write(self, mark: Mark) -> None:
        """Remembers `mark`; where that fails, it is said once."""
        try:
            content = json.dumps({"epoch": mark.epoch, "position": mark.position})
            replace_private(self._path, f"{content}\n".encode())
        except OSError as error:
            if not self._failed:
                logger.warning("The cursor is not kept: %s", error)
            self._failed = True
        else:
            self._failed = False
