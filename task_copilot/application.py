"""One process's parts behind the tools: database, event bus and hub, made when needed.

Imported after the first answer, since what it imports takes longer than that answer may.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from task_copilot import archive, checkpoints, requests
from task_copilot.clock import Clock, minutes_after
from task_copilot.database.portions import in_portions
from task_copilot.database.store import Database, open_database
from task_copilot.errors import report
from task_copilot.events import log, retention
from task_copilot.events.bus import Bus
from task_copilot.events.log import LogRow
from task_copilot.events.pages import LogPages
from task_copilot.hub import Hub
from task_copilot.settings import Settings

logger = logging.getLogger(__name__)

SWEEP_SECONDS = 60.0
"""Pause between two looks for what has expired or is old enough to be put away."""

MINUTES_OF_A_DAY = 24 * 60


class Application:
    """Started in the event loop; `hub` is None where another process has that role."""

    def __init__(self, database: Database[LogRow], settings: Settings, clock: Clock) -> None:
        self.database = database
        self.hub: Hub | None = None
        self._settings = settings
        self._clock = clock
        self._bus: Bus | None = None
        self._sweeper: asyncio.Task[None] | None = None
        database.start(self._publish)

    def _publish(self, rows: list[LogRow]) -> None:
        if self._bus is not None:
            self._bus.publish(rows)

    async def serve(self) -> None:
        """Becomes the hub if no other process is; says on stderr what came of it."""
        state = await self.database.read(log.state)
        bus = Bus(state, LogPages(self.database))
        self._bus = bus
        bus.refresh()  # what was committed since the state was read
        hub = Hub(self._settings, bus, self._clock, self.database)
        if await hub.start():
            self.hub = hub
            logger.info("Events: %s/ws", hub.address.replace("http", "ws", 1))
            self._sweeper = asyncio.create_task(self._sweep())
            self.database.watch(bus.refresh)
        else:
            self._bus = None
            await bus.close()

    async def _sweep(self) -> None:
        while True:
            await self._tidy("Expired checkpoints could not be removed", self._expire_checkpoints)
            await self._tidy("Finished streams could not be archived", self._archive_streams)
            await self._tidy("Old events could not be removed", self._prune)
            await self._tidy("Old request ids could not be removed", self._forget_requests)
            await asyncio.sleep(SWEEP_SECONDS)

    async def _tidy(self, failure: str, step: Callable[[], Awaitable[None]]) -> None:
        try:
            await step()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is tried again
            report(logger, f"{failure}; trying later.", error)

    async def _expire_checkpoints(self) -> None:
        now = self._clock()
        while await self.database.read(lambda c: checkpoints.any_expired(c, now)):
            await self.database.write(checkpoints.expire)

    async def _archive_streams(self) -> None:
        days = self._settings.archive_after_days
        if not days:
            return
        before = minutes_after(self._clock(), -days * MINUTES_OF_A_DAY)
        while await self.database.read(lambda c: archive.any_unchanged(c, before)):
            await self.database.write(lambda tx: archive.archive_unchanged(tx, before))

    async def _prune(self) -> None:
        # Of the head as it is now: what comes meanwhile makes no more work.
        head = (await self.database.read(log.state)).head
        days, count = self._settings.retention_days, self._settings.retention_events
        kept = retention.kept(head, self._clock(), days=days, count=count)
        await in_portions(
            self.database,
            lambda connection: retention.any_removable(connection, kept),
            lambda tx: retention.prune(tx, kept),
        )

    async def _forget_requests(self) -> None:
        before = requests.known_since(self._clock())
        await in_portions(
            self.database,
            lambda connection: requests.any_before(connection, before),
            lambda tx: requests.forget(tx, before),
        )

    async def close(self) -> None:
        """Ends the hub in order and the commit under way; keeps nobody waiting."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        if self.hub is not None:
            await self.hub.stop()
        if self._bus is not None:
            await self._bus.close()
        with contextlib.suppress(TimeoutError):
            await self.database.close(timeout=0.1)


def open_blocking(settings: Settings, clock: Clock) -> Database[LogRow]:
    """The database, its tables up to date; raises StorageError. Blocking."""
    return open_database(
        settings.database_url,
        number=log.number,
        durability=settings.durability,
        clock=clock,
    )
