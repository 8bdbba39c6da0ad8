"""What tools need of the process that they run in."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from sqlalchemy import Connection

from task_copilot.clock import Clock
from task_copilot.database.store import Database
from task_copilot.database.transaction import Transaction
from task_copilot.events.log import LogRow
from task_copilot.location import Location
from task_copilot.requests import Request
from task_copilot.tools.answers import Answer
from task_copilot.tools.requests import Change, once
from task_copilot.workspaces import Scope, Workspace, ensure, find

T = TypeVar("T")


class Session(Protocol):
    """What the tools need that change something, or that go by the id of a task."""

    @property
    def checkpoints_kept(self) -> int: ...

    @property
    def clock(self) -> Clock: ...

    async def write(self, actor: str, change: Change, request: Request | None = None) -> Answer:
        """Commits `change` in a workspace and returns its answer."""
        ...

    async def read(self, query: Callable[[Connection, Workspace | None], T]) -> T:
        """The result of `query` in one read transaction."""
        ...


@dataclass
class ToolSession:
    """One server's database and workspace. `open_database` raises StorageError while the
    database cannot be used, and is asked again at the next call."""

    open_database: Callable[[], Awaitable[Database[LogRow]]]
    location: Location
    checkpoints_kept: int
    clock: Clock
    _workspace: Workspace | None = None
    _generation: int = 0

    async def write(self, actor: str, change: Change, request: Request | None = None) -> Answer:
        """Commits `change` in this server's workspace and returns its answer.

        A `request` that was answered before gets the same answer again, and nothing is written.
        """
        database = await self.open_database()

        def run(transaction: Transaction) -> Answer:
            generation = database.generation
            known = self._workspace if generation == self._generation else None
            workspace = known or ensure(transaction, self.location)
            if workspace is not known:
                transaction.after_commit.append(lambda: self._remember(workspace, generation))
            return once(transaction, Scope(workspace, actor), change, request)

        return await database.write(run)

    def _remember(self, workspace: Workspace, generation: int) -> None:
        self._workspace, self._generation = workspace, generation

    async def read(self, query: Callable[[Connection, Workspace | None], T]) -> T:
        """The result of `query` in one read transaction; no workspace, nothing written yet."""
        database = await self.open_database()
        return await database.read(
            lambda connection: query(connection, find(connection, self.location))
        )
