"""Fixtures for the tests of whole programs."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from e2e.browsers import browser

if TYPE_CHECKING:
    from e2e.orchestrating import Project

__all__ = ["browser"]


@pytest.fixture
def project(tmp_path: Path) -> Iterator["Project"]:
    """A project whose streams are worked on; no worker outlives the test."""
    from e2e.orchestrating import Project  # not on Windows

    found = Project(tmp_path)
    yield found
    found.clear()
