"""Taking the files of a database away."""

from collections.abc import Callable
from pathlib import Path

from task_copilot.leader import held
from task_copilot.places import Places

COMPANIONS = ("-wal", "-shm", "-journal")


def files_of(database: Path) -> list[Path]:
    """The files of a database that are there: its own, and those in the data directory."""
    places = Places.of(database)
    own = [database, *(Path(f"{database}{ending}") for ending in COMPANIONS)]
    ours = [places.runtime, places.announced, places.lock, places.opening]
    return [path for path in (*own, *ours) if path.exists()]


def remove_files(database: Path, may_go: Callable[[], object]) -> list[Path]:
    """Removes those files and returns them; raises OSError, and what `may_go` raises where
    somebody has them open.

    Who would open the database meanwhile waits, and makes a new one then.
    """
    with held(Places.of(database).opening):
        may_go()
        found = files_of(database)
        for path in found:
            path.unlink(missing_ok=True)
    return found
