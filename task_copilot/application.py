"""One process's parts behind the tools: database, event bus and hub, made when needed.

Imported after the first answer, since what it imports takes longer than that answer may.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from sqlalchemy import URL

from task_copilot import archive, checkpoints, requests
from task_copilot.announced import verify
from task_copilot.clock import Clock, minutes_after
from task_copilot.database.portions import in_portions
from task_copilot.database.sqlite import file_of, is_address
from task_copilot.database.store import Database, Surroundings, open_database
from task_copilot.database.urls import is_postgres, parse_url
from task_copilot.database_file import make_private
from task_copilot.errors import DatabaseMoved, report
from task_copilot.events import log, retention
from task_copilot.events.log import LogRow
from task_copilot.hub import Hub
from task_copilot.leader import held
from task_copilot.places import Places
from task_copilot.private import NotPrivate
from task_copilot.settings import DEFAULT_PORT, Settings
from task_copilot.succession import Succession
from task_copilot.wakeup import WakeUpSender

logger = logging.getLogger(__name__)

SWEEP_SECONDS = 60.0
"""Pause between two looks for what has expired or is old enough to be put away."""

MINUTES_OF_A_DAY = 24 * 60


class Application:
    """Started in the event loop; `hub` is None while another process has that role. `moved` is
    set once the database is found to be moved to another address: nothing works any more then."""

    def __init__(self, database: Database[LogRow], settings: Settings, clock: Clock) -> None:
        self.database = database
        self._settings = settings
        self._clock = clock
        places = places_of(database.url, settings.port)
        self._succession = Succession(database, settings, clock, places)
        self._sweeper: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self.moved = asyncio.Event()
        database.on_replaced = self._begin_anew
        database.on_moved = self._tell_of_move
        database.start(self._succession.publish)

    def _begin_anew(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended, and with it the listeners
            self._loop.call_soon_threadsafe(self._succession.begin_anew)

    def _tell_of_move(self, moved: DatabaseMoved) -> None:
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._retire, moved)

    def _retire(self, moved: DatabaseMoved) -> None:
        self.moved.set()
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._succession.retire(moved)

    @property
    def hub(self) -> Hub | None:
        """What serves events and HTTP, as far as that is this process."""
        return self._succession.hub

    @property
    def takeovers(self) -> int:
        """How many hubs the database has had up to this one; 0 where this process is none."""
        return self._succession.takeovers

    async def serve(self) -> bool:
        """Waits until no other process is the hub, and becomes it. Returns True when it serves,
        False where it never can; what came of it is said on stderr."""
        if not await self._succession.lead():
            return False
        self._sweeper = asyncio.create_task(self._sweep())
        return True

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
            if not await self.database.write(checkpoints.expire):
                return  # the clock was set back meanwhile

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
        await self._succession.close()
        with contextlib.suppress(TimeoutError):
            await self.database.close(timeout=0.1)


def places_of(url: URL, port: int = DEFAULT_PORT) -> Places:
    """Where the processes on the database at `url` find each other."""
    if is_postgres(url):
        return Places.of_server(url.render_as_string(hide_password=False), port)
    return Places.of(file_of(url))


def open_blocking(settings: Settings, clock: Clock) -> Database[LogRow]:
    """The database, its tables up to date; raises StorageError. Blocking."""
    url = parse_url(settings.database_url)
    places = places_of(url, settings.port)
    return open_database(
        settings.database_url,
        number=log.number,
        durability=settings.durability,
        clock=clock,
        surroundings=_of_server(places) if is_postgres(url) else _of_file(url, places),
    )


def _of_server(places: Places) -> Surroundings[LogRow]:
    """Around a database that others serve too: it wakes them, and keeps itself."""
    return Surroundings(verify=lambda database: verify(database, places.announced, shared=True))


def _of_file(url: URL, places: Places) -> Surroundings[LogRow]:
    create = not is_address(url)
    return Surroundings(
        alone=lambda: _alone(places.opening),
        verify=lambda database: verify(database, places.announced),
        committed=WakeUpSender(places.runtime).send,
        make_private=lambda: make_private(file_of(url), create=create),
    )


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keeps other processes from opening the database meanwhile, where that is possible."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(held(path))
        except OSError as error:
            # It is needed only where a deleted database is made again by several at once, and
            # who cannot lock here says already that it cannot serve.
            ours = isinstance(error, NotPrivate) and error.filename == os.fspath(path)
            level = logging.WARNING if ours else logging.INFO
            logger.log(level, "Opening the database without a lock: %s", error)
        yield
