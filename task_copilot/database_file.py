"""The rights of the database's files: only this user can use them, from their first moment.

SQLite gives the files that it keeps beside a database the rights of the database, so it is the
database that has to be right before SQLite opens it. Here it is made where it is missing; one
that is there is never opened, since closing it would drop every lock of the process.
"""

import contextlib
import os
import stat
import sys
from pathlib import Path

from task_copilot.errors import StorageError
from task_copilot.private import (
    FILE_MODE,
    FOR_OTHERS,
    NotPrivate,
    kind_of,
    of_another,
    private_folder,
)
from task_copilot.settings import data_directory

COMPANIONS = ("-wal", "-shm", "-journal")
"""What SQLite keeps beside a database."""

ROOT = 0


def make_private(path: Path, *, create: bool = True, user: int | None = None) -> None:
    """Makes sure that only this user can use the database at `path`; an empty one is made where
    there is none and `create` says so. Its folder must be there.

    The rights of others to files that are there are taken away, also while other processes have
    them open. `user` is who must own them, by default who runs the program; root may use the
    databases of others, for SQLite gives what it makes beside them to their owner. A link to a
    database is followed. Raises StorageError, with what to do, for a folder in which others could
    replace the database, for what belongs to another user, for a link that leads nowhere, and
    for rights that cannot be mended. On Windows the folder's rights are the user's, and nothing
    is looked at.
    """
    if sys.platform == "win32":
        return
    user = os.geteuid() if user is None else user
    try:
        target = _target(path)
        for folder in {path.parent, target.parent}:
            _secure_folder(folder)
        if create:
            _make(target)
        for file in (target, *(Path(f"{target}{ending}") for ending in COMPANIONS)):
            _secure(file, user)
    except NotPrivate as error:
        raise StorageError(f"The database cannot be used safely. {error}.") from None


def _target(path: Path) -> Path:
    if path.is_symlink() and not path.exists():
        raise NotPrivate(
            path, "it is a symbolic link that leads nowhere. Remove it, or make what it leads to"
        )
    return path.resolve()


def _secure_folder(folder: Path) -> None:
    if folder == data_directory().resolve():
        private_folder(folder)
    elif (reason := weakness_of_folder(folder)) is not None:
        raise NotPrivate(folder, f"{reason}. chmod go-w {folder}, or use another folder")


def weakness_of_folder(folder: Path) -> str | None:
    """Why others could replace a file in `folder`, as words that go after its name; None where
    they could not. In a folder like ``/tmp``, where each can remove only what is his own, they
    could not; nor where a group can write that has no other member than this user."""
    if sys.platform == "win32":
        return None
    found = folder.stat()
    mode = found.st_mode
    if mode & stat.S_ISVTX:
        return None
    if mode & stat.S_IWOTH:
        who = "every user"
    elif mode & stat.S_IWGRP and not _is_own_group(found.st_gid):
        who = f"the group {found.st_gid}"
    else:
        return None
    return f"{who} can write there (mode {stat.S_IMODE(mode):o}) and replace the database"


def _is_own_group(group: int) -> bool:
    """Whether only this user is in `group`, as where each user has a group of the same name."""
    if sys.platform == "win32" or group == ROOT:  # who is in the group of root is trusted anyway
        return True
    import grp
    import pwd

    with contextlib.suppress(KeyError):
        me, found = pwd.getpwuid(os.geteuid()), grp.getgrgid(group)
        return me.pw_name == found.gr_name and set(found.gr_mem) <= {me.pw_name}
    return False


def _make(path: Path) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, FILE_MODE)
    except FileExistsError:
        return
    except OSError as error:
        raise StorageError(
            f"Nothing was written: {path}: the file cannot be opened: {error.strerror}. Check that "
            "its folder exists and is writable."
        ) from None
    try:
        os.fchmod(descriptor, FILE_MODE)  # whatever the umask has left of it
    finally:
        os.close(descriptor)  # nobody has it open yet, so no lock is lost


def _secure(path: Path, user: int) -> None:
    try:
        found = path.lstat()
    except OSError:  # it is not there; or SQLite says what is the matter with it
        return
    if stat.S_ISDIR(found.st_mode):  # SQLite says that it cannot be opened
        return
    if not stat.S_ISREG(found.st_mode):
        raise NotPrivate(path, f"it is {kind_of(path)}, where a file belongs. Remove it")
    if user not in {found.st_uid, ROOT}:
        raise of_another(path, found.st_uid, user)
    if found.st_mode & FOR_OTHERS:
        _close_to_others(path, stat.S_IMODE(found.st_mode) & ~FOR_OTHERS)


def _close_to_others(path: Path, mode: int) -> None:
    reason = "this file system keeps no rights"
    try:
        path.chmod(mode)
        left = path.stat().st_mode & FOR_OTHERS
    except FileNotFoundError:  # SQLite has removed it meanwhile
        return
    except OSError as error:
        reason, left = str(error.strerror), FOR_OTHERS
    if left:
        raise NotPrivate(
            path,
            f"other users can use it, and that cannot be mended: {reason}. chmod 600 {path}, or "
            "put the database elsewhere",
        )
