"""Where a storm takes place: a database of either kind, and the hubs that serve it."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import postgres
from e2e.servers import COMMAND, Server, free_port, server
from support import database_at
from task_copilot.database.store import Database
from task_copilot.events.log import LogRow

HUBS = 3
END_SECONDS = 20.0

Trouble = Callable[[], Awaitable[None]]


class Ground(Protocol):
    """One database, and what can happen to it besides the end of an agent's server."""

    ports: Sequence[int]
    """Where listeners find hubs."""

    troubles: Mapping[str, Trouble]

    def agents_server(self) -> Server:
        """A server for an agent, not started yet."""

    def is_there(self) -> bool:
        """Whether the tables are made."""

    def opened(self) -> Database[LogRow]:
        """The database, opened by the test itself."""

    def served(self) -> AbstractAsyncContextManager[None]:
        """Hubs serve at `ports`, besides those of agents."""

    def served_to_the_end(self) -> AbstractAsyncContextManager[None]:
        """Hubs serve at `ports`, once there are no agents any more."""


class OnSqlite:
    """A file: the server of one of the agents is the hub."""

    def __init__(self, folder: Path) -> None:
        self.ports: Sequence[int] = [free_port()]
        self.troubles: Mapping[str, Trouble] = {}
        self._folder = folder

    def agents_server(self) -> Server:
        [port] = self.ports
        database = self._folder / "tasks.db"
        given: dict[str, Any] = {"ping_interval": 0.5, "durability": "normal"}
        return server(self._folder, database=database, port=port, **given)

    def is_there(self) -> bool:
        return (self._folder / "tasks.db").exists()

    def opened(self) -> Database[LogRow]:
        return database_at(self._folder)

    @asynccontextmanager
    async def served(self) -> AsyncIterator[None]:
        yield

    @asynccontextmanager
    async def served_to_the_end(self) -> AsyncIterator[None]:
        async with self.agents_server() as hub:
            await hub.introduce("the last hub")
            yield


class OnPostgres:
    """Several hubs beside each other, as on several machines; the agents are on one more."""

    def __init__(
        self, folder: Path, running: postgres.Server, url: str, chance: random.Random
    ) -> None:
        self.ports: Sequence[int] = [free_port() for _ in range(HUBS)]
        self.troubles: Mapping[str, Trouble] = {
            "hub killed": self._kill_a_hub,
            "connection cut": lambda: self._cut("random() < 0.3"),
            "server restarted": lambda: asyncio.to_thread(running.restart),
            "no LISTEN": lambda: self._cut("query LIKE 'LISTEN%'"),
            "server crashed": lambda: asyncio.to_thread(running.restart, "immediate"),
            "all connections cut": lambda: self._cut("true"),
        }
        self._folder, self._url, self._chance = folder, url, chance
        self._agents_port = free_port()
        self._hubs: dict[int, Server] = {}

    def agents_server(self) -> Server:
        return self._server(self._agents_port)

    def _server(self, port: int, **given: Any) -> Server:
        given |= {"database_url": self._url, "ping_interval": 0.5}
        return server(self._folder, port=port, **given)

    def is_there(self) -> bool:
        return True

    def opened(self) -> Database[LogRow]:
        return database_at(self._url, durability="full")

    @asynccontextmanager
    async def served(self) -> AsyncIterator[None]:
        try:
            for port in self.ports:
                await self._start_a_hub(port)
            yield
        finally:
            for hub in self._hubs.values():
                if hub.process.returncode is None:
                    hub.process.terminate()
            await asyncio.gather(*(self._end(hub) for hub in self._hubs.values()))

    @asynccontextmanager
    async def served_to_the_end(self) -> AsyncIterator[None]:
        yield

    async def _start_a_hub(self, port: int) -> None:
        hub = self._hubs[port] = self._server(port, command=(*COMMAND, "serve"))
        await hub.__aenter__()

    async def _kill_a_hub(self) -> None:
        port = self._chance.choice(self.ports)
        self._hubs[port].process.kill()
        await self._end(self._hubs[port])
        await self._start_a_hub(port)

    async def _end(self, hub: Server) -> None:
        await hub.wait_exit(END_SECONDS)
        await hub.__aexit__(None, None, None)
        assert "Traceback" not in hub.stderr_text(), hub.stderr_text()

    async def _cut(self, condition: str) -> None:
        await asyncio.to_thread(self._cut_now, condition)

    def _cut_now(self, condition: str) -> None:
        with postgres.connected(self._url) as other:
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE "  # noqa: S608
                f"datname = current_database() AND pid <> pg_backend_pid() AND {condition}"
            )
