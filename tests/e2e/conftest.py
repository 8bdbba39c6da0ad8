"""Fixtures for the tests of whole programs."""

from e2e.browsers import browser

__all__ = ["browser"]
