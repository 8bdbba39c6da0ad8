"""A world of its own for every test."""

from collections.abc import Iterator

import pytest

from support import World, close, database_at, ticking
from task_copilot.database import committer


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A transaction takes all operations that it may, however slow the machine is."""
    monkeypatch.setattr(committer, "MAX_SECONDS", 60.0)


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    """A new database, whose clock moves on by a second at each transaction."""
    database = database_at(database_url, clock=ticking())
    yield World(database)
    close(database)
