"""Trying again what a person may mend meanwhile, and not waiting for what takes long."""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Awaitable, Callable
from typing import TypeVar

from task_copilot.errors import DatabaseMoved, TaskCopilotError, report

logger = logging.getLogger(__name__)

T = TypeVar("T")

AGAIN_SECONDS = 5.0
"""Pause between two attempts."""


async def patiently(step: Callable[[], Awaitable[T]], meaning: str) -> T:
    """The result of `step`, as soon as it succeeds; what it fails with is said once, with its
    `meaning` for the user. Raises DatabaseMoved, which nobody mends."""
    said = ""
    while True:
        try:
            return await step()
        except DatabaseMoved:
            raise
        except TaskCopilotError as error:
            if str(error) != said:
                said = str(error)
                report(logger, meaning, error)
        await asyncio.sleep(AGAIN_SECONDS)


async def aside(step: Callable[[], T]) -> T:
    """The result of `step`, in a thread that nobody waits for when the process is to end: it may
    wait for a server that does not answer."""
    loop = asyncio.get_running_loop()
    result: asyncio.Future[T] = loop.create_future()

    def settle(found: T | None, error: BaseException | None) -> None:
        if result.cancelled():
            return
        if error is None:
            result.set_result(found)  # type: ignore[arg-type]
        else:
            result.set_exception(error)

    def run() -> None:
        found, failure = None, None
        try:
            found = step()
        except BaseException as error:  # noqa: BLE001 - it belongs to who waits
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(settle, found, failure)

    threading.Thread(target=run, name="aside", daemon=True).start()
    return await result
