"""What a run leaves on disk, so that the next one goes on where it was killed.

One folder for each workspace of a database: who runs, which workers were started, how far the
events were handled, and what the workers printed.
"""

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from task_copilot.clock import system_clock
from task_copilot.errors import TaskCopilotError
from task_copilot.leader import take
from task_copilot.orchestrator.processes import MAX_CLAIM_BYTES, VOID
from task_copilot.private import private_folder, read_own, replace_private
from task_copilot.settings import data_directory

MAX_RECORD_BYTES = 1024 * 1024
HASH_CHARACTERS = 8
_SAFE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


class AlreadyRuns(TaskCopilotError):
    """Another orchestrator works on the same workspace."""


@dataclass(frozen=True, slots=True)
class Launched:
    """The last worker of a stream: its number, and what counted when it started."""

    launch: int = 0
    failures: int = 0


class Records:
    """The files of one workspace; `epoch` names its database."""

    def __init__(self, epoch: str, workspace: str) -> None:
        name = f"{file_name(workspace)}-{_hash(f'{epoch} {workspace}')}"
        self.folder = data_directory() / "orchestrate" / name
        self.cursor = self.folder / "cursor"
        self._lock = self.folder / "lock"
        self._owner = self.folder / "owner"
        self._launches = self.folder / "launches"
        self._held: int | None = None

    def claim(self, stream_id: str, launch: int) -> Path:
        """The file that says which process is a launch of a stream's worker."""
        return self.folder / f"{file_name(stream_id)}.{launch}.claim"

    def log(self, stream_id: str) -> Path:
        """Where the output of a stream's workers goes."""
        return self.folder / "logs" / f"{file_name(stream_id)}.log"

    def take(self, folder: Path) -> None:
        """Keeps other orchestrators out until this process ends; raises AlreadyRuns, which says
        who is in, and OSError. Blocking."""
        private_folder(self.folder)
        private_folder(self.folder / "logs")
        self._held = take(self._lock)
        if self._held is None:
            raise AlreadyRuns(f"An orchestrator works on this workspace already: {self._first()}.")
        owner = {"pid": os.getpid(), "since": system_clock(), "folder": os.fspath(folder)}
        replace_private(self._owner, json.dumps(owner).encode())

    def release(self) -> None:
        """Lets the next one in."""
        if self._held is not None:
            os.close(self._held)
            self._held = None

    def _first(self) -> str:
        owner = _read_json(self._owner, MAX_CLAIM_BYTES)
        if not {"pid", "since", "folder"} <= owner.keys():
            return "it is just starting"
        return f"process {owner['pid']}, since {owner['since']}, in {owner['folder']}"

    def launches(self, stream_ids: Iterable[str]) -> dict[str, Launched]:
        """The last launch of each of these streams that had one: as it was written, or of its
        claims where those are newer. Blocking."""
        written = _read_json(self._launches, MAX_RECORD_BYTES)
        found = {}
        for stream_id in stream_ids:
            one = Launched()
            with contextlib.suppress(TypeError):
                one = Launched(**written.get(stream_id, {}))
            last = max(self._claims(stream_id), default=0)
            if max(one.launch, last):
                found[stream_id] = Launched(max(one.launch, last), one.failures)
        return found

    def _claims(self, stream_id: str) -> dict[int, Path]:
        prefix = f"{file_name(stream_id)}."
        numbers = {
            path.name.removeprefix(prefix).removesuffix(".claim"): path
            for path in self.folder.glob(f"{prefix}*.claim")
        }
        return {int(number): path for number, path in numbers.items() if number.isdecimal()}

    def write_launches(self, launches: Mapping[str, Launched]) -> None:
        """Remembers them, before a worker is started."""
        content = {stream_id: asdict(one) for stream_id, one in launches.items()}
        replace_private(self._launches, json.dumps(content).encode())

    def forget_claims(self, stream_id: str, before: int) -> None:
        """Removes the claims of launches that are over, but for those that were made void: whoever
        was about to claim one of them may still be on the way."""
        for number, path in self._claims(stream_id).items():
            if number < before and read_own(path, MAX_CLAIM_BYTES) != VOID:
                path.unlink(missing_ok=True)


def file_name(name: str) -> str:
    """A name of a file, or of a git branch, for a stream or a workspace: itself where that can be
    one, else with a short hash in the place of what cannot."""
    bad = name.endswith((".", ".lock")) or ".." in name or not _SAFE.fullmatch(name)
    if not bad:
        return name
    kept = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")
    return f"{kept or 'named'}-{_hash(name)}"


def _hash(text: str) -> str:
    return hashlib.blake2b(text.encode(errors="replace")).hexdigest()[:HASH_CHARACTERS]


def _read_json(path: Path, limit: int) -> dict[str, Any]:
    try:
        found = json.loads(read_own(path, limit))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
