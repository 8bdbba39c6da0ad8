"""Who listens to what, in the servers that have nothing of the kind themselves."""

from collections import defaultdict
from collections.abc import Collection
from typing import Generic, TypeVar

EVERYTHING = "*"
OK = "ok"
"""What a listener is told when it has its topic."""

T = TypeVar("T")


class Topics(Generic[T]):
    """A set of listeners for each topic."""

    def __init__(self) -> None:
        self._listeners: defaultdict[str, set[T]] = defaultdict(set)

    def add(self, topic: str, listener: T) -> None:
        self._listeners[topic].add(listener)

    def remove(self, topic: str, listener: T) -> None:
        self._listeners[topic].discard(listener)

    def of(self, topic: str) -> Collection[T]:
        """Those who want events of `topic`; nobody wants both it and everything here."""
        return self._listeners[EVERYTHING] or self._listeners[topic]
