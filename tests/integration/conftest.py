"""A world of its own for every test."""

from collections.abc import Iterator

import pytest

from support import World, close, database_at, ticking


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    """A new database, whose clock moves on by a second at each transaction."""
    database = database_at(database_url, clock=ticking())
    yield World(database)
    close(database)
