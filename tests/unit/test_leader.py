"""One process at a time leads, and nobody has to guess whether it lives."""

import asyncio
import stat
import threading
from pathlib import Path

import pytest

from task_copilot.leader import LeaderLock, held

LIMIT_SECONDS = 10.0


async def waiting(path: Path) -> "tuple[LeaderLock, asyncio.Task[None]]":
    """A lock that another one has, and the task that waits for it."""
    waits = asyncio.Event()
    lock = LeaderLock(path)
    task = asyncio.create_task(lock.acquire(waits.set))
    async with asyncio.timeout(LIMIT_SECONDS):
        await waits.wait()
    return lock, task


async def is_free(path: Path) -> None:
    """Returns when the lock can be had."""
    lock = LeaderLock(path)
    async with asyncio.timeout(LIMIT_SECONDS):
        await lock.acquire()
    lock.release()


async def test_the_second_of_two_leaders_waits_until_the_first_releases(tmp_path: Path) -> None:
    path = tmp_path / "data" / "hub.lock"
    first = LeaderLock(path)
    await first.acquire(lambda: pytest.fail("nobody else has it"))
    second, task = await waiting(path)
    assert not task.done()
    first.release()
    async with asyncio.timeout(LIMIT_SECONDS):
        await task
    second.release()


async def test_the_lock_is_the_users_own(tmp_path: Path) -> None:
    path = tmp_path / "data" / "hub.lock"
    lock = LeaderLock(path)
    await lock.acquire()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    lock.release()


async def test_who_gave_up_does_not_lead_later(tmp_path: Path) -> None:
    path = tmp_path / "hub.lock"
    first = LeaderLock(path)
    await first.acquire()
    _second, task = await waiting(path)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    first.release()
    await is_free(path)


def test_a_loop_that_ended_does_not_lead_later(tmp_path: Path) -> None:
    path = tmp_path / "hub.lock"

    async def give_up() -> None:
        await waiting(path)

    with held(path):
        asyncio.run(give_up())
    asyncio.run(is_free(path))


async def test_a_lock_file_that_was_removed_is_not_led_by_its_waiters(tmp_path: Path) -> None:
    path = tmp_path / "hub.lock"
    first = LeaderLock(path)
    await first.acquire()
    second, task = await waiting(path)
    path.unlink()
    first.release()
    async with asyncio.timeout(LIMIT_SECONDS):
        await task
    third, waits = await waiting(path)  # it meets the file that the second one leads by
    second.release()
    async with asyncio.timeout(LIMIT_SECONDS):
        await waits
    third.release()


async def test_a_place_without_locks_is_an_error_and_not_a_leader(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where the folder should be")
    with pytest.raises(OSError, match="data"):
        await LeaderLock(tmp_path / "data" / "hub.lock").acquire()


async def test_a_leader_that_waits_does_not_keep_the_process(tmp_path: Path) -> None:
    path = tmp_path / "hub.lock"
    with held(path):
        _lock, task = await waiting(path)
        [thread] = [one for one in threading.enumerate() if one.name == "leader"]
        assert thread.daemon
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
