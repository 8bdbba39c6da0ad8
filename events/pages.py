"""Reads pages of the log from the database, each with the log's state at that moment."""

from sqlalchemy import Connection

from task_copilot.database.store import Database
from task_copilot.events import log
from task_copilot.events.log import LogPage, LogRow


class LogPages:
    """What the bus and its listeners read of the log when memory does not have it."""

    def __init__(self, database: Database[LogRow]) -> None:
        self._database = database

    async def after(self, position: int) -> LogPage:
        """The next events after `position`, oldest first; raises StorageError."""

        def query(connection: Connection) -> LogPage:
            return LogPage(log.state(connection), log.rows_after(connection, position))

        return await self._database.read(query)

    async def up_to(self, position: int) -> LogPage:
        """The events up to `position`, newest first; raises StorageError."""

        def query(connection: Connection) -> LogPage:
            return LogPage(log.state(connection), log.rows_up_to(connection, position))

        return await self._database.read(query)
