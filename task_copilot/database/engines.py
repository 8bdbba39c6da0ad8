"""The engine of a URL. What a kind of database needs is imported for that kind only."""

from sqlalchemy import URL
from sqlalchemy.exc import ArgumentError

from task_copilot.database.engine import Engine
from task_copilot.database.urls import is_postgres, refused
from task_copilot.errors import StorageError


def engine_of(url: URL, *, durability: str) -> Engine:
    """The engine of a URL; raises StorageError where it cannot be used here."""
    try:
        if is_postgres(url):
            return _postgres(url, durability)
        from task_copilot.database.sqlite_engine import SqliteEngine

        return SqliteEngine(url, durability=durability)
    except (ArgumentError, ValueError, TypeError) as error:
        raise refused(str(url), str(error)) from None


def _postgres(url: URL, durability: str) -> Engine:
    try:
        from task_copilot.database.postgres_engine import PostgresEngine
    except ImportError as error:
        raise StorageError(
            f"PostgreSQL needs a driver that is not there ({error}): "
            "pip install 'task-copilot[postgres]'"
        ) from None
    return PostgresEngine(url, durability=durability)
