"""What ``doctor`` looks at of rights: whether anybody else can use the program's files."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from task_copilot.commands.common import count, file_of_database
from task_copilot.commands.findings import Finding, ok, wrong
from task_copilot.database_file import COMPANIONS, ROOT, weakness_of_folder
from task_copilot.errors import TaskCopilotError
from task_copilot.private import FOR_OTHERS, kind_of, name_of, user_id
from task_copilot.settings import Settings, data_directory

SUBJECT = "rights"
OURS = ("hub-", "url-")
"""How the names of what the program keeps in the data directory begin."""


def rights(settings: Settings) -> Iterator[Finding]:
    """The database's files and those in the data directory, as far as there are any; the token
    has a check of its own. Windows has rights of another kind, and nothing is said there."""
    if os.name != "posix":
        return
    try:
        database = _database(settings)
    except TaskCopilotError:  # the check of the database says it
        database = []
    ours = _of_data_directory()
    files = [path for path in (*database, *ours) if os.path.lexists(path)]
    findings = [each for path in files for each in _of_file(path, lenient=path in database)]
    for folder in dict.fromkeys(path.parent for path in database):
        findings += _of_folder(folder)
    if not findings and files:
        findings = [ok(SUBJECT, f"{count(len(files), 'file')} for you alone")]
    yield from findings


def _database(settings: Settings) -> list[Path]:
    path = file_of_database(settings)
    if path is None:  # the server keeps its own
        return []
    if path.is_symlink() and not path.exists():
        return [path]
    target = path.resolve()
    return [target, *(Path(f"{target}{ending}") for ending in COMPANIONS)]


def _of_data_directory() -> list[Path]:
    try:
        found = sorted(data_directory().iterdir())
    except OSError:  # the check of the folder says it
        return []
    return [path for path in found if path.name.startswith(OURS)]


def _of_file(path: Path, *, lenient: bool) -> Iterator[Finding]:
    """Of one file; `lenient`: root may use it whoever owns it."""
    try:
        found = path.lstat()
    except FileNotFoundError:  # it has gone meanwhile
        return
    mode, me = stat.S_IMODE(found.st_mode), user_id()
    if not stat.S_ISREG(found.st_mode):
        text = f"{path} is {kind_of(path)}, where a file belongs."
        yield wrong(SUBJECT, text, f"rm {path}, unless you have put it there")
    elif found.st_uid != me and not (lenient and me == ROOT):
        yield wrong(
            SUBJECT,
            f"{path} belongs to user {name_of(found.st_uid)}.",
            f"Run this as that user, or: sudo chown {me} {path}",
        )
    elif mode & FOR_OTHERS:
        text = f"{path} can be used by other users (mode {mode:o})."
        yield wrong(SUBJECT, text, f"chmod {mode & ~FOR_OTHERS:o} {path}")


def _of_folder(folder: Path) -> Iterator[Finding]:
    if not folder.is_dir() or folder == data_directory().resolve():  # which has a check of its own
        return
    if (reason := weakness_of_folder(folder)) is not None:
        yield wrong(SUBJECT, f"{folder}: {reason}.", f"chmod go-w {folder}")
