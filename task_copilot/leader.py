"""A lock that one process at a time holds, and that the system frees when that process ends.

A process that is only stopped, or busy, keeps it; nobody has to guess from a silence whether
it lives.
"""

import asyncio
import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from task_copilot.private import open_private, private_folder

if sys.platform == "win32":
    import errno
    import msvcrt

    POLL_SECONDS = 0.1
    """Windows has no lock that can be waited for without an end."""

    def _lock_at_once(descriptor: int) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            if error.errno not in {errno.EACCES, errno.EDEADLOCK}:
                raise
            return False
        return True

    def _lock(descriptor: int) -> None:
        while not _lock_at_once(descriptor):
            time.sleep(POLL_SECONDS)

else:
    import fcntl

    def _lock_at_once(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)


HELD_SECONDS = 10.0
"""How long `held` waits; whoever has the lock for so long may be stopped for good."""

HELD_POLL_SECONDS = 0.01


def _lock_in_time(descriptor: int) -> None:
    deadline = time.monotonic() + HELD_SECONDS
    while not _lock_at_once(descriptor):
        if time.monotonic() > deadline:
            raise TimeoutError(f"another process has kept it for {HELD_SECONDS:g} s")
        time.sleep(HELD_POLL_SECONDS)


def _nothing() -> None:
    pass


class LeaderLock:
    """The lock in the file `path`, to be acquired once and released once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._changing = threading.Lock()
        self._descriptor: int | None = None
        self._released = False

    async def acquire(self, on_wait: Callable[[], None] = _nothing) -> None:
        """Returns when this process holds the lock; `on_wait` is called first where another
        one has it. Raises OSError where no such lock can be made.

        Cancelled, it gives the lock up, also where it would be acquired only later.
        """
        loop = asyncio.get_running_loop()
        acquired: asyncio.Future[None] = loop.create_future()

        def tell(function: Callable[..., None], *arguments: object) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits any more
                loop.call_soon_threadsafe(function, *arguments)

        def wait() -> None:
            try:
                self._keep(_locked(self._path, lambda: tell(on_wait)))
            except OSError as error:
                tell(_finish, acquired, error)
            else:
                tell(_finish, acquired, None)

        # A daemon, since nothing can wake it: the process ends without it.
        threading.Thread(target=wait, name="leader", daemon=True).start()
        try:
            await acquired
        except BaseException:
            self.release()
            raise

    def _keep(self, descriptor: int) -> None:
        with self._changing:
            if self._released:
                os.close(descriptor)
            else:
                self._descriptor = descriptor

    def release(self) -> None:
        """Lets the next process have the lock; a lock that is still waited for is not taken."""
        with self._changing:
            self._released = True
            descriptor, self._descriptor = self._descriptor, None
            if descriptor is not None:
                os.close(descriptor)


def _finish(future: "asyncio.Future[None]", error: OSError | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)


def take(path: Path) -> int | None:
    """A descriptor that has the lock in the file `path` until it is closed or this process ends;
    None where another process has it. Raises OSError where no such lock can be made."""
    try:
        return _locked(path, _nothing, _refuse)
    except BlockingIOError:
        return None


def _refuse(_descriptor: int) -> None:
    raise BlockingIOError


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Holds the lock in the file `path`.

    Raises OSError where no such lock can be made, or others keep it for `HELD_SECONDS`.
    """
    descriptor = _locked(path, _nothing, _lock_in_time)
    try:
        yield
    finally:
        os.close(descriptor)


def _locked(
    path: Path, on_wait: Callable[[], None], wait_for: Callable[[int], None] = _lock
) -> int:
    """A descriptor of the file at `path` that has the lock."""
    private_folder(path.parent)
    while True:
        descriptor = open_private(path, os.O_RDWR | os.O_CREAT)
        try:
            if not _lock_at_once(descriptor):
                on_wait()
                wait_for(descriptor)
            if _stands_at(path, descriptor):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _stands_at(path: Path, descriptor: int) -> bool:
    """Whether whoever asks next for the lock meets this very file: it may have been removed."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
