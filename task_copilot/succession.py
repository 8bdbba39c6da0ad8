"""How a process becomes the hub when the one before it has ended, and how it ceases to be it."""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from dataclasses import replace

from task_copilot import __version__, runtime
from task_copilot.access.configuration import REQUIRED
from task_copilot.announced import AnnouncedFile
from task_copilot.clock import Clock
from task_copilot.database.store import Database
from task_copilot.errors import DatabaseMoved, report
from task_copilot.events import log
from task_copilot.events.bus import Bus
from task_copilot.events.log import LogPage, LogRow, LogState
from task_copilot.events.pages import LogPages
from task_copilot.hub import Hub
from task_copilot.leader import LeaderLock
from task_copilot.places import Places
from task_copilot.runtime import HubRecord
from task_copilot.settings import Settings
from task_copilot.tail import Standing, Tail
from task_copilot.wakeup import WakeUpReceiver

logger = logging.getLogger(__name__)

TRY_AGAIN_SECONDS = 5.0
"""Pause between two attempts at what a hub needs and cannot have: a port, the database, its
runtime file."""


class _NotedPages:
    """The log as the bus reads it: what listeners get of it is announced first."""

    def __init__(self, succession: "Succession") -> None:
        self._succession = succession
        self._pages = LogPages(succession.database)

    async def after(self, position: int) -> LogPage:
        return await self._succession.checked(lambda: self._pages.after(position))

    async def up_to(self, position: int) -> LogPage:
        return await self._succession.checked(lambda: self._pages.up_to(position))


class Succession:
    """Waits for its turn, then holds the bus and the hub until it is closed."""

    def __init__(
        self, database: Database[LogRow], settings: Settings, clock: Clock, places: Places
    ) -> None:
        self.takeovers = 0
        self.database = database
        self._settings = settings
        self._clock = clock
        self._places = places
        self._lock = LeaderLock(places.lock)
        self._announced = AnnouncedFile(places.announced)
        self._told = LogState("", 0)
        self._generation = 0
        self._bus: Bus | None = None
        self._hub: Hub | None = None
        self._receiver: WakeUpReceiver | None = None
        self._record: HubRecord | None = None
        self._renewal: asyncio.Task[None] | None = None
        self._retirement: asyncio.Task[None] | None = None
        self._said = ""

    @property
    def hub(self) -> Hub | None:
        """What serves, as far as that is this process."""
        return self._hub if self._record is not None else None

    # Becoming the hub

    async def lead(self) -> bool:
        """Returns when this process is the hub and serves; False where it never can be,
        which is said on stderr."""
        try:
            await self._lock.acquire(self._say_who_leads)
        except OSError as error:
            logger.error(  # noqa: TRY400 - expected, no traceback
                "Events are not served by this process: the lock %s cannot be made: %s. The "
                "tools work; make the data directory writable and start again.",
                *(self._places.lock, error.strerror),
            )
            return False
        try:
            bus = self._bus = await self._make_bus()
        except DatabaseMoved as moved:
            logger.error("Events are not served. %s", moved)  # noqa: TRY400 - expected
            self._lock.release()  # who comes next says it too
            return False
        hub = Hub(self._settings, bus, self._clock, self.database)
        self._hub = hub  # from here on `close` stops it, however far it has come
        before = runtime.read(self._places.runtime)
        auth = before.auth if before else None
        while not await hub.start(auth):  # noqa: ASYNC110 - other programs do not tell of their end
            await asyncio.sleep(TRY_AGAIN_SECONDS)
        if self._hub is not hub:  # it was retired meanwhile
            await hub.stop()
            return False
        self._listen_for_wake_ups()
        self._make_known(hub)
        self.database.watch(bus.refresh)  # its first look reads what came since the start
        logger.info("Events: %s/ws", hub.address.replace("http", "ws", 1))
        return True

    def _say_who_leads(self) -> None:
        found = runtime.read(self._places.runtime)
        who = "another process"
        if found is not None and found.pid is not None:
            who = f"process {found.pid} on {found.url}"
        logger.info("Events are served by %s; this process waits to take its place.", who)
        if self._settings.auth == REQUIRED and (found is None or found.auth != REQUIRED):
            logger.warning(
                "Events are served by %s, which asks nobody for a token. Set TASK_COPILOT_AUTH for "
                "every session; end that process, and this one takes its place.",
                who,
            )

    async def _make_bus(self) -> Bus:
        return Bus(await self._present_state(), _NotedPages(self))

    async def _present_state(self) -> LogState:
        """Where the log stands, once it can be read and holds what listeners have had."""
        while True:
            try:
                generation = self.database.generation
                if found := await self.database.verify():
                    logger.warning("%s", found)
                state = await self.database.read(log.state)
            except DatabaseMoved:
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, it is tried again
                if str(error) != self._said:
                    self._said = str(error)
                    report(logger, "Events are not served yet.", error)
                await asyncio.sleep(TRY_AGAIN_SECONDS)
                continue
            if generation == self.database.generation:
                self._generation = generation
                self._tell(state)
                return state

    def _listen_for_wake_ups(self) -> None:
        tail = Tail(self.database.kept_reader(), self._standing, self._take)
        try:
            self._receiver = WakeUpReceiver(tail.look, tail.close)
        except OSError as error:
            logger.warning("Events of other processes come up to 50 ms later: %s.", error.strerror)

    def _make_known(self, hub: Hub) -> None:
        before = runtime.read(self._places.runtime)
        self.takeovers = hub.takeovers = 1 + (before.takeovers if before else 0)
        self._write_record(
            HubRecord(
                takeovers=self.takeovers,
                epoch=self._told.epoch,
                version=__version__,
                host=self._settings.host,
                started_at=self._clock(),
                pid=os.getpid(),
                port=hub.port,
                url=hub.address,
                wakeup_port=self._receiver.port if self._receiver else None,
                certificate=hub.access.certificate,
                auth=hub.access.auth,
            )
        )

    def _write_record(self, record: HubRecord) -> None:
        self._record = record
        try:
            runtime.write(self._places.runtime, record)
        except OSError as error:
            logger.warning(
                "%s cannot be written: %s. Clients do not find the hub there, and events of "
                "other processes come up to 50 ms later.",
                *(self._places.runtime, error.strerror),
            )
            self._write_record_later()

    def _write_record_later(self) -> None:
        asyncio.get_running_loop().call_later(TRY_AGAIN_SECONDS, self._write_record_again)

    def _write_record_again(self) -> None:
        if self._bus is None or self._record is None:  # it is closed: another may be the hub
            return
        try:
            runtime.write(self._places.runtime, self._record)
        except OSError:  # that was said
            self._write_record_later()

    # Bringing events to the bus

    def publish(self, rows: list[LogRow]) -> None:
        """Takes what this process has committed; nothing happens where it is not the hub."""
        if self._bus is None:
            return
        if self.database.generation != self._generation:
            self.begin_anew()  # they may be rows of another database than the bus stands for
            return
        self._note(rows)
        self._bus.publish(rows)

    def _standing(self) -> Standing:
        return Standing(self._told, self._generation)

    def _take(self, before: Standing, page: LogPage | None) -> None:
        """Takes a page that was read after `before`, None where it could not be read."""
        if self._bus is None:
            return
        if page is None or not self._is_later(before, page.state):
            self._bus.refresh()  # which finds out what is the matter
            return
        if page.rows:
            self.publish(page.rows)
        if page.state.head > self._bus.head:
            self._bus.refresh()

    def _is_later(self, before: Standing, state: LogState) -> bool:
        return before.generation == self._generation and before.agrees_with(state)

    async def checked(self, read: Callable[[], Awaitable[LogPage]]) -> LogPage:
        """A page of the log that listeners were told of; an empty one where there is another
        log now."""
        while True:
            before = self._standing()
            page = await read()
            if self._is_later(before, page.state):
                self._note(page.rows)
                return page
            self.begin_anew()
            if page.state.epoch != before.told.epoch or self._bus is None or self._renewal is None:
                return LogPage(page.state, [])
            # Nobody may take it for what is left of the log, as it may be the same one in another
            # place.
            await asyncio.wait((self._renewal,))

    def _note(self, rows: list[LogRow]) -> None:
        """Remembers, before anybody is told, that listeners have had `rows`."""
        newest = max(rows[0].seq, rows[-1].seq) if rows else 0
        if newest > self._told.head:
            self._tell(LogState(self._told.epoch, newest))

    def _tell(self, state: LogState) -> None:
        self._told = state
        try:
            self._announced.note(self._told)
        except OSError as error:
            if str(error) != self._said:
                self._said = str(error)
                logger.warning(
                    "%s cannot be written: %s. Listeners would not be told if the database was "
                    "restored to an older state.",
                    *(self._places.announced, error.strerror),
                )

    # Beginning anew with another database

    def begin_anew(self) -> None:
        """Looks again at where the log stands, and if it has become another one tells all
        listeners to come back and begin anew."""
        if self._bus is not None and (self._renewal is None or self._renewal.done()):
            self._renewal = asyncio.create_task(self._renew())

    async def _renew(self) -> None:
        generation, told = self._generation, self._told
        try:
            state = await self._present_state()
        except DatabaseMoved:  # `retire` is called
            return
        if self._bus is None or self._hub is None:
            return
        if (generation, state.epoch) == (self._generation, told.epoch) and state.head >= told.head:
            self._bus.refresh()
            return
        if self._bus.epoch != state.epoch:
            self._hub.dismiss()
            self._bus.restart(state)
        # Else the bus saw it first, and who has come since then belongs to the new log.
        self._bus.refresh()  # what was committed since the state was read was not published
        if self._record is not None:
            self._write_record(replace(self._record, epoch=state.epoch))

    # Ceasing to be it

    def retire(self, moved: DatabaseMoved) -> None:
        """Serves no longer, where it does: listeners are told to come back, and find the next
        hub at this address, which serves the database where that is now."""
        if self._bus is not None:
            logger.error("Events are served no longer. %s", moved)
            self._retirement = asyncio.create_task(self._close())

    async def close(self) -> None:
        """Lets the next process be the hub, then gives the listeners a moment to leave."""
        if self._retirement is not None:
            await self._retirement
        await self._close()

    async def _close(self) -> None:
        if self._renewal is not None:
            self._renewal.cancel()
        hub, self._hub = self._hub, None
        bus, self._bus = self._bus, None
        if bus is not None:
            bus.end()  # who listens over HTTP gets the end of the answer
        if hub is not None:
            hub.leave()
        if self._receiver is not None:
            self._receiver.close()
        if self._record is not None:
            nobody = replace(self._record, pid=None, port=None, url=None, wakeup_port=None)
            self._write_record(nobody)
            self._record = None
        self._lock.release()
        self._announced.close()
        if hub is not None:
            await hub.stop()
        if bus is not None:
            await bus.close()
