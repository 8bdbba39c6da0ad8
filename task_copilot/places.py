"""Where the processes of one database find each other: small files in the data directory."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from task_copilot.settings import data_directory

NAME_BYTES = 8
"""So much of a hash tells apart what databases one user can have."""


@dataclass(frozen=True, slots=True)
class Places:
    """The files of one database. None of them is one of SQLite's own."""

    lock: Path
    """Held by the process that serves the events."""
    runtime: Path
    """Says where that process serves them."""
    announced: Path
    """Says how far it has told listeners of the log."""
    opening: Path
    """Held for a moment by whoever opens the database."""

    @classmethod
    def of(cls, database: Path) -> "Places":
        """The places of a database, the same for every spelling of its path."""
        spelling = os.fsencode(database.resolve())
        name = f"hub-{hashlib.blake2b(spelling, digest_size=NAME_BYTES).hexdigest()}"
        folder = data_directory()
        return cls(
            lock=folder / f"{name}.lock",
            runtime=folder / f"{name}.json",
            announced=folder / f"{name}.head",
            opening=folder / f"{name}.opening",
        )
