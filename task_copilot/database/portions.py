"""Work in the background that other writers do not notice."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from sqlalchemy import Connection

from task_copilot.database.store import Database
from task_copilot.database.transaction import Operation

PAUSE_SECONDS = 0.010
"""The shortest pause between two portions: a writer that waits for the lock asks for it again
within 1.5 ms, so each that waits gets it."""


async def in_portions(
    database: Database[Any],
    due: Callable[[Connection], bool],
    portion: Operation[int],
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> int:
    """Commits `portion` again and again, while `due` says that there is something to do.

    Each is a transaction of its own. The pause between two is as long as the one before it
    took, and at least `PAUSE_SECONDS`, so that other processes have the lock for half of the
    time; `pause` waits for so many seconds. Returns the sum of what the portions return. Raises
    StorageError; what was committed by then stays.
    """
    loop = asyncio.get_running_loop()
    done = 0
    while await database.read(due):
        started = loop.time()
        done += await database.write(portion)
        await pause(max(PAUSE_SECONDS, loop.time() - started))
    return done
