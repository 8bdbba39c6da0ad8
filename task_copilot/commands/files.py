"""Files that are written whole or not at all."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from task_copilot.commands.common import Refusal
from task_copilot.errors import InvalidInput
from task_copilot.private import FILE_MODE


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """An empty file for the user alone, which gets the name `path` at the end.

    Until then it has another one beside it. Raises InvalidInput where `path` is taken, and
    Refusal where nothing can be written there; what was begun is removed.
    """
    if os.path.lexists(path):
        raise _taken(path)
    with _told(path):
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        os.close(descriptor)
    begun = Path(name)
    try:
        yield begun
        with _told(path):
            _flush(begun)
            _name(begun, path)
    except FileExistsError:
        raise _taken(path) from None
    finally:
        begun.unlink(missing_ok=True)


def _name(begun: Path, path: Path) -> None:
    try:
        os.link(begun, path)  # unlike a rename, it takes nobody's place
    except FileExistsError:
        raise
    except OSError:  # a file system without links, such as that of a memory stick
        if os.path.lexists(path):
            raise FileExistsError from None
        begun.rename(path)


def _taken(path: Path) -> InvalidInput:
    return InvalidInput(f"{path} is there already. Nothing was written; give another name.")


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except FileExistsError:
        raise
    except OSError as error:
        raise Refusal(f"{path} cannot be written: {error.strerror}.") from None


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace(path: Path, content: bytes, *, private: bool = False) -> None:
    """Puts `content` into the place of what stands at `path`, with its permissions; raises
    Refusal. Where a link stands there, what it leads to is replaced.

    A `private` file is for this user alone, whatever stands there; a link is replaced itself.
    """
    with _told(path):
        target = path if private else path.resolve()
        mode = _mode(target, private=private)
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        new = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            new.chmod(mode)
            new.replace(target)
        finally:
            new.unlink(missing_ok=True)


def _mode(target: Path, *, private: bool) -> int:
    if private:
        return FILE_MODE
    return target.stat().st_mode & 0o7777 if target.exists() else 0o644 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
