"""A real hub on a port of its own, in the event loop of a test."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from task_copilot import tasks, workspaces
from task_copilot.application import open_blocking
from task_copilot.clock import system_clock
from task_copilot.database.store import Database
from task_copilot.database.transaction import Transaction
from task_copilot.events import log
from task_copilot.events.bus import Bus
from task_copilot.events.log import LogRow
from task_copilot.events.pages import LogPages
from task_copilot.hub import Hub
from task_copilot.location import Location
from task_copilot.settings import Settings
from task_copilot.streams import StreamChange
from task_copilot.workspaces import Scope

SECRET = "S3cret-of-the-tests-0123456789-abcdef"


@dataclass
class RunningHub:
    """`http` speaks to the hub without any token."""

    hub: Hub
    database: Database[LogRow]
    http: httpx2.AsyncClient

    @property
    def port(self) -> int:
        assert self.hub.port is not None
        return self.hub.port

    @property
    def events(self) -> str:
        """The address of the WebSocket."""
        return f"{self.hub.address.replace('http', 'ws', 1)}/ws"

    async def task(self, title: str, stream: str | None = None) -> None:
        """Makes a task in the workspace ``shop``, as a tool does."""
        change = None if stream is None else StreamChange(stream_id=stream)

        def make(transaction: Transaction) -> None:
            place = workspaces.ensure(transaction, Location(name="shop", path="/work/shop"))
            new = tasks.NewTask(title=title, stream=change)
            tasks.create(transaction, Scope(place, "tester"), new)

        await self.database.write(make)


@asynccontextmanager
async def running_hub(
    folder: Path, *, trust: Any = False, **settings: Any
) -> AsyncIterator[RunningHub]:
    """A hub with these settings; raises AssertionError where it does not serve."""
    given = {"port": 0, "durability": "normal", **settings}
    wanted = Settings(database_url=f"sqlite:///{folder / 'tasks.db'}", **given)
    database = await asyncio.to_thread(open_blocking, wanted, system_clock)
    bus = Bus(await database.read(log.state), LogPages(database))
    database.start(bus.publish)
    started = Hub(wanted, bus, system_clock, database)
    try:
        assert await started.start()
        async with httpx2.AsyncClient(
            base_url=started.address, verify=trust, trust_env=False, timeout=10
        ) as http:
            yield RunningHub(started, database, http)
    finally:
        await started.stop()
        await bus.close()
        await database.close()


def secret_file(folder: Path, secret: str = SECRET) -> Path:
    """A token file with `secret`."""
    path = folder / "token"
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(f"{secret}\n")
    return path


def bearer(token: str = SECRET) -> dict[str, str]:
    """The header that shows `token`."""
    return {"Authorization": f"Bearer {token}"}
