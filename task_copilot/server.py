"""The stdio server: tools for one agent, and the hub where no other process has it."""

import asyncio
import contextlib
import gc
import logging
import os
import secrets
import signal
from typing import TYPE_CHECKING, Any

from task_copilot import __version__
from task_copilot.clock import system_clock
from task_copilot.errors import report
from task_copilot.location import Location, current_folder, locate
from task_copilot.patience import aside, patiently
from task_copilot.settings import Settings
from task_copilot.stdio import StdioTransport, serve_stdio
from task_copilot.tools.adapter import build_server

if TYPE_CHECKING:
    from task_copilot.application import Application
    from task_copilot.database.store import Database
    from task_copilot.events.log import LogRow
    from task_copilot.tools.session import ToolSession

logger = logging.getLogger(__name__)

FIRST_ANSWER_SECONDS = 1.0
"""The hub starts after the first answer, or after this long where no client speaks."""


class Process:
    """What one server process has: opened at the first need, tried again after a failure."""

    def __init__(self, settings: Settings, location: Location) -> None:
        self._settings = settings
        self._location = location
        self._short_id = secrets.token_hex(2)
        self._opening: asyncio.Task[tuple[Application, ToolSession]] | None = None
        self._ready: tuple[Application, ToolSession] | None = None

    def actor(self, client_name: str | None) -> str:
        """Who acts where a call does not say."""
        name = "".join(sign for sign in client_name or "agent" if sign.isprintable())[:90]
        return self._settings.agent or f"{name}-{self._short_id}"

    async def session(self) -> "ToolSession":
        """What the tools need; raises StorageError while the database cannot be used."""
        return (await self._opened())[1]

    async def application(self) -> "Application":
        """The parts behind the tools; raises StorageError."""
        return (await self._opened())[0]

    async def _opened(self) -> "tuple[Application, ToolSession]":
        if self._ready is None:
            if self._opening is None or _failed(self._opening):
                self._opening = asyncio.create_task(self._open())
            self._ready = await asyncio.shield(self._opening)
        return self._ready

    async def _open(self) -> "tuple[Application, ToolSession]":
        # In a thread: the imports alone would keep the first calls waiting.
        database = await aside(self._load)
        gc.freeze()  # what was just imported stays: no collection needs to look at it again
        return self._assemble(database)

    def _load(self) -> "Database[LogRow]":
        import task_copilot.tools.operations  # noqa: F401
        from task_copilot.application import open_blocking

        return open_blocking(self._settings, system_clock)

    def _assemble(self, database: "Database[LogRow]") -> "tuple[Application, ToolSession]":
        from task_copilot.application import Application
        from task_copilot.tools.session import ToolSession

        application = Application(database, self._settings, system_clock)

        async def opened() -> "Database[LogRow]":
            return database

        session = ToolSession(opened, self._location, self._settings.checkpoints_kept, system_clock)
        return application, session

    async def close(self) -> None:
        """Lets go of everything, as far as it was ever opened."""
        opening = self._opening
        if opening is not None and opening.done() and not _failed(opening):
            await opening.result()[0].close()


def _failed(task: "asyncio.Task[Any]") -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)


async def _serve_hub(process: Process, transport: StdioTransport) -> None:
    with contextlib.suppress(TimeoutError):  # a person in a terminal says nothing
        await asyncio.wait_for(transport.first_answer.wait(), FIRST_ANSWER_SECONDS)
    try:
        application = await patiently(process.application, "Events are not served yet.")
        await application.serve()
    except Exception as error:  # noqa: BLE001 - the tools go on
        report(logger, "Events are not served; the tools may still work.", error)


async def serve(settings: Settings) -> None:
    """Serves MCP on stdin and stdout until the client closes it or a signal comes."""
    location = locate(settings.workspace, os.environ, current_folder())
    process = Process(settings, location)
    server = build_server(
        version=__version__,
        workspace=location.described,
        session=process.session,
        actor=process.actor,
    )
    background: set[asyncio.Task[None]] = set()

    async def ready(transport: StdioTransport) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, transport.request_eof)
        background.add(asyncio.create_task(_serve_hub(process, transport)))

    try:
        await serve_stdio(server, ready=ready)
    finally:
        for task in background:
            task.cancel()
        await process.close()
