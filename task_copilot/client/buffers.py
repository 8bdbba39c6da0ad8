"""Bounded buffers between the engine and who takes its items: a full one stops the engine, which
stops reading, so that nothing is dropped however slow the taker is."""

import asyncio
import threading
from collections import deque

from task_copilot.client.model import Item

MAX_ITEMS = 1_000
"""Events that wait for a slow consumer in this process; more wait at the hub."""


class AsyncBuffer:
    """For a taker in the same event loop."""

    def __init__(self, most: int = MAX_ITEMS) -> None:
        self._most = most
        self._items: deque[Item] = deque()
        self._changed = asyncio.Condition()
        self._ended = False
        self._error: BaseException | None = None

    async def put(self, item: Item) -> None:
        """Adds an item as soon as there is room."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self._items) < self._most or self._ended)
            if not self._ended:
                self._items.append(item)
                self._changed.notify_all()

    async def get(self) -> Item | None:
        """The next item; None at the end. Raises what the engine ended with, behind the last."""
        async with self._changed:
            await self._changed.wait_for(lambda: bool(self._items) or self._ended)
            if self._items:
                item = self._items.popleft()
                self._changed.notify_all()
                return item
        if self._error is not None:
            raise self._error
        return None

    async def end(self, error: BaseException | None = None) -> None:
        """Says that nothing more comes."""
        async with self._changed:
            self._ended, self._error = True, error
            self._changed.notify_all()


class ThreadBuffer:
    """From an event loop to a thread."""

    def __init__(self, most: int = MAX_ITEMS) -> None:
        self._most = most
        self._items: deque[Item] = deque()
        self._changed = threading.Condition()
        self._ended = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._room = asyncio.Event()

    async def put(self, item: Item) -> None:
        """Adds an item as soon as there is room."""
        self._loop = asyncio.get_running_loop()
        while True:
            with self._changed:
                if len(self._items) < self._most:
                    self._items.append(item)
                    self._changed.notify()
                    return
                self._room.clear()
            await self._room.wait()

    def get(self) -> Item | None:
        """The next item, for the thread; None at the end, and then what is left is dropped."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._items) or self._ended)
            if self._ended:
                return None
            item = self._items.popleft()
            if len(self._items) == self._most // 2 and self._loop is not None:
                self._call_for_more(self._loop)
            return item

    def _call_for_more(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            loop.call_soon_threadsafe(self._room.set)
        except RuntimeError:
            return  # the loop has ended

    def end(self) -> None:
        """Says that nothing more is wanted; from any thread."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
