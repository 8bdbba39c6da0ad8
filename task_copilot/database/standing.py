"""Whether the file of the database is still the one that was opened.

A connection goes on with a file that was deleted or moved away, as if nothing had happened;
what it commits there is lost. Nothing here opens a file: see the package's rule.
"""

import os
from pathlib import Path

_COMPANIONS = ("-wal", "-shm")

Identity = tuple[int, int]


class StandingFile:
    """The file at `path`, told from others by its number in the file system.

    That number is not given to another file while a connection of ours is open.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: Identity | None = None
        self._companions: dict[str, Identity | None] = {}

    def remember(self) -> None:
        """Takes what stands at the path for ours; to be called with a connection open."""
        self._known = _identity(str(self.path))

    def forget(self) -> None:
        """Takes whatever stands at the path for another file than ours."""
        self._known = None

    def remember_companions(self) -> None:
        """The same for the files that SQLite keeps beside it while a connection is open."""
        found = {name: _identity(name) for name in self._companion_names()}
        if self.stands():  # otherwise they may belong to the file that took the place of ours
            self._companions = found

    @property
    def is_missing(self) -> bool:
        """Whether it is certain that nothing stands at the path."""
        try:
            self.path.stat()
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return False

    def stands(self) -> bool:
        """Whether the remembered file is the one at the path. Costs a microsecond."""
        return _identity(str(self.path)) == self._known

    def remove_leftovers(self) -> None:
        """Removes companions that belong to no file at the path any more; raises OSError.

        SQLite would take them for those of the file that stands there now, and would write
        what the old one held into it. Others of ours that still have them open keep them.
        """
        missing = self.is_missing
        for name in self._companion_names():
            found = _identity(name)
            if found is not None and (missing or found == self._companions.get(name)):
                Path(name).unlink(missing_ok=True)

    def _companion_names(self) -> list[str]:
        return [f"{self.path}{ending}" for ending in _COMPANIONS]


def _identity(path: str) -> Identity | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - before each transaction: a third faster
    except OSError:
        return None
    return found.st_dev, found.st_ino
