"""A world of its own for every test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support import World, database_at, ticking


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A new database, whose clock moves on by a second at each transaction."""
    database = database_at(tmp_path, clock=ticking())
    yield World(database)
    database.committer.close()
    database.read_engine.dispose()
