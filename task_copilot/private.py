"""Files and folders that only this user can use.

What is there already must belong to the user who runs the program; rights that others have to
it are taken away. That holds for root too, in the manner of SSH: who runs the program with
``sudo`` in the home of another user would leave files there that this user cannot open, and
would trust what this user can change. Windows keeps such files apart by the rights of the
profile's folder: there the checks of owner and rights do nothing.
"""

import contextlib
import errno
import os
import stat
import sys
from pathlib import Path

FILE_MODE = 0o600
FOLDER_MODE = 0o700

FOR_OTHERS = stat.S_IRWXG | stat.S_IRWXO
BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH

_NO_LINKS = getattr(os, "O_NOFOLLOW", 0)
_NEVER_WAIT = getattr(os, "O_NONBLOCK", 0)  # a pipe at the place would wait for its other end
_NOT_INHERITED = getattr(os, "O_CLOEXEC", 0)


class NotPrivate(OSError):
    """Something stands there that others could read or change. `strerror` says what, who owns
    it and what to do; ``str()`` names the path too."""

    def __init__(self, path: str | os.PathLike[str], reason: str) -> None:
        super().__init__(errno.EACCES, reason, os.fspath(path))

    def __str__(self) -> str:
        return f"{self.filename}: {self.strerror}"


def user_id() -> int | None:
    """Number of the user who runs the program; None on Windows, where files have no such owner."""
    return None if sys.platform == "win32" else os.geteuid()


def name_of(user: int) -> str:
    """What people call a user: ``bob (1001)``, or the number where it has no name."""
    if sys.platform != "win32":
        import pwd

        with contextlib.suppress(KeyError):
            return f"{pwd.getpwuid(user).pw_name} ({user})"
    return str(user)


def private_folder(path: Path, *, user: int | None = None) -> None:
    """Makes the folder `path` for this user alone (0700), as are the folders above it that are
    missing. One that is there and open to others is mended; a link to a folder is followed.

    `user` is who must own it, by default who runs the program. Raises NotPrivate for a folder
    of another user or one that cannot be mended, and OSError where none can be made.
    """
    _make(path)
    if sys.platform == "win32":
        return
    user = os.geteuid() if user is None else user
    _require_owner(path, path.stat(), user)  # one of another user may not even be opened
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | _NOT_INHERITED)
    try:
        found = os.fstat(descriptor)
        _require_owner(path, found, user)
        if found.st_mode & FOR_OTHERS:
            _mend(path, descriptor, FOLDER_MODE)
    finally:
        os.close(descriptor)


def _make(path: Path) -> None:
    for folder in (*reversed(path.parents), path):
        if not folder.is_dir():
            try:
                folder.mkdir(FOLDER_MODE)
            except FileExistsError:
                if not folder.is_dir():  # else another process was faster
                    raise NotPrivate(folder, f"it is {_kind(folder)} and no folder") from None


def open_private(path: Path, flags: int, *, user: int | None = None) -> int:
    """A descriptor of the file `path`, opened with `flags` and not inherited by programs that are
    started; a file that is made is for this user alone (0600), and one that is there is mended.

    `user` is who must own it, by default who runs the program. Raises NotPrivate for a symbolic
    link, what is no ordinary file, a file of another user and one whose rights cannot be mended,
    and OSError as ``os.open`` does. What is refused is neither changed nor emptied.
    """
    truncate = flags & os.O_TRUNC
    wanted = (flags & ~os.O_TRUNC) | _NO_LINKS | _NEVER_WAIT | _NOT_INHERITED
    wanted |= getattr(os, "O_BINARY", 0)
    if not _NO_LINKS and path.is_symlink():
        raise _is_link(path)
    try:
        descriptor = os.open(path, wanted, FILE_MODE)
    except FileExistsError:
        raise
    except OSError as error:
        raise _explained(path, error, user) from None
    try:
        _claim(path, descriptor, user)
        if truncate:
            os.ftruncate(descriptor, 0)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def new_private(path: Path, *, user: int | None = None) -> int:
    """A descriptor for writing a new, empty file `path`. What an interrupted attempt has left
    there is removed first, and so is a link, which is not followed. Raises as `open_private`."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    return open_private(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, user=user)


def read_private(path: Path, limit_bytes: int, *, user: int | None = None) -> bytes:
    """What the file `path` holds, at most `limit_bytes`. Nothing is mended: a secret that others
    could read is none any more.

    The file must belong to this user and be closed to everybody else (``chmod 600``), or to
    root and be closed to all but its group (``chmod 640``), as files are that a system gives to
    its services. A link to such a file is followed. Raises NotPrivate where it is not so or
    longer, and OSError where it cannot be read.
    """
    descriptor = os.open(
        path, os.O_RDONLY | _NEVER_WAIT | _NOT_INHERITED | getattr(os, "O_BINARY", 0)
    )
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise NotPrivate(path, "it is no ordinary file")
        _require_closed(path, found, user)
        content = file.read(limit_bytes + 1)
    if len(content) > limit_bytes:
        raise NotPrivate(path, f"it is longer than {limit_bytes:,} bytes, so it is not the file")
    return content


def read_own(path: Path, limit_bytes: int, *, user: int | None = None) -> bytes:
    """The first `limit_bytes` of the file `path`, which must be this user's, and none that others
    can write; nothing is mended. Raises NotPrivate for another one and for a symbolic link, and
    OSError where it cannot be read."""
    if path.is_symlink():
        raise _is_link(path)
    flags = os.O_RDONLY | _NO_LINKS | _NEVER_WAIT | _NOT_INHERITED | getattr(os, "O_BINARY", 0)
    with os.fdopen(os.open(path, flags), "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise NotPrivate(path, "it is no ordinary file")
        if sys.platform != "win32":
            _require_owner(path, found, os.geteuid() if user is None else user)
            if found.st_mode & BY_OTHERS:
                raise _open_to_others(path, found, "change it", "600")
        return file.read(limit_bytes)


def _open_to_others(path: Path, found: os.stat_result, use: str, mode: str) -> NotPrivate:
    return NotPrivate(
        path,
        f"other users can {use} (mode {stat.S_IMODE(found.st_mode):o}). Replace what it holds, "
        f"then chmod {mode} {path}",
    )


def replace_private(path: Path, content: bytes) -> None:
    """Puts a file with `content`, for this user alone, in the place of what stands at `path`: a
    crash leaves the old or the new one. A link there is replaced, and not what it leads to.

    For one writer at a time. Raises as `new_private`.
    """
    new = path.with_name(f"{path.name}.new")
    with os.fdopen(new_private(new), "wb") as file:
        file.write(content)
    new.replace(path)


def _require_closed(path: Path, found: os.stat_result, user: int | None) -> None:
    if sys.platform == "win32":
        return
    user = os.geteuid() if user is None else user
    if found.st_uid not in {user, 0}:
        raise _of_another(path, found.st_uid, user)
    of_root = found.st_uid == 0 != user
    allowed = stat.S_IRGRP if of_root else 0
    if found.st_mode & FOR_OTHERS & ~allowed:
        raise _open_to_others(path, found, "read or change it", "640" if of_root else "600")


def _claim(path: Path, descriptor: int, user: int | None) -> None:
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        raise NotPrivate(path, f"it is {_kind(path)} and no ordinary file. Remove it")
    if sys.platform == "win32":
        return
    _require_owner(path, found, os.geteuid() if user is None else user)
    if stat.S_IMODE(found.st_mode) != FILE_MODE:
        _mend(path, descriptor, FILE_MODE)


def _require_owner(path: Path, found: os.stat_result, user: int) -> None:
    if found.st_uid != user:
        raise _of_another(path, found.st_uid, user)


def _of_another(path: Path, owner: int, user: int) -> NotPrivate:
    return NotPrivate(
        path,
        f"it belongs to user {name_of(owner)}, and this runs as {name_of(user)}. Run it as that "
        "user, or remove what stands there or move it away",
    )


def _mend(path: Path, descriptor: int, mode: int) -> None:
    reason = "this file system keeps no rights"
    try:
        os.fchmod(descriptor, mode)
    except OSError as error:
        reason = str(error.strerror)
    found = stat.S_IMODE(os.fstat(descriptor).st_mode)
    if found & FOR_OTHERS:
        raise NotPrivate(
            path,
            f"other users can use it (mode {found:o}), and that cannot be mended: {reason}. "
            f"chmod {mode:o} {path}, or use another place",
        )


def _explained(path: Path, error: OSError, user: int | None) -> OSError:
    """What `error` of opening `path` comes from, where that is one of ours to say."""
    try:
        found = path.lstat()
    except OSError:
        return error
    if stat.S_ISLNK(found.st_mode):
        return _is_link(path)
    if not stat.S_ISREG(found.st_mode):
        return NotPrivate(path, f"it is {_kind(path)} and no ordinary file. Remove it")
    me = user_id() if user is None else user
    if me is not None and found.st_uid != me:
        return _of_another(path, found.st_uid, me)
    return error


def _is_link(path: Path) -> NotPrivate:
    return NotPrivate(path, "it is a symbolic link, which is not followed. Remove it")


_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFREG: "a file",
}


def _kind(path: Path) -> str:
    try:
        return _KINDS.get(stat.S_IFMT(path.lstat().st_mode), "a device")
    except OSError:
        return "something else"
