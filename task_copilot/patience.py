"""Trying again what a person may mend meanwhile."""

import asyncio
import logging
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
