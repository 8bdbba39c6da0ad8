"""A hub without an agent: ``task-copilot serve``."""

import asyncio
import logging
import signal

from task_copilot.application import Application, open_blocking
from task_copilot.clock import system_clock
from task_copilot.errors import DatabaseMoved, report
from task_copilot.patience import aside, patiently
from task_copilot.settings import Settings

logger = logging.getLogger(__name__)

TOLD = logging.getLogger("task_copilot.succession")
"""Whether this process serves or waits is all that it does, so it is said without being asked."""

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


CANNOT_SERVE = 1


async def serve(settings: Settings) -> int:
    """Serves events and HTTP, once no other process does, until a signal comes.

    Returns the exit code: 0, or 1 where this process can never serve, which is said then.
    """
    if settings.log_level == "warning":
        TOLD.setLevel(logging.INFO)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in SIGNALS:
        loop.add_signal_handler(number, ended.set)
    serving = asyncio.create_task(_serve(settings))
    ending = asyncio.create_task(ended.wait())
    await asyncio.wait((serving, ending), return_when=asyncio.FIRST_COMPLETED)
    if serving.done():
        return serving.result()
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    return 0


async def _serve(settings: Settings) -> int:
    try:
        database = await patiently(
            lambda: aside(lambda: open_blocking(settings, system_clock)),
            "Events are not served yet.",
        )
    except DatabaseMoved as moved:
        report(logger, "Events are not served.", moved)
        return CANNOT_SERVE
    application = Application(database, settings, system_clock)
    try:
        if await application.serve():
            await application.moved.wait()  # or until this is cancelled
        return CANNOT_SERVE
    finally:
        await application.close()
