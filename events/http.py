"""Events page by page, for clients that ask again and again: now, or when there is something."""

import asyncio
from dataclasses import dataclass, field

from task_copilot.events.bus import NewEpoch
from task_copilot.events.feed import Feed, Waiting, gap_text, readable
from task_copilot.events.log import LogRow, LogState
from task_copilot.events.reader import Gap, Reader

MAX_ROWS_LOOKED_AT = 20_000
"""A request that finds so many events and none that match answers so, with `next` moved on;
one that may wait looks further."""

PAGE_CHARACTERS = 1024 * 1024
"""A page ends with the event that reaches it."""


@dataclass(slots=True)
class EventPage:
    """What one request gets. `next` is the position to go on from."""

    state: LogState
    next: int
    events: list[str] = field(default_factory=list)
    gap: Gap | None = None
    size: int = 0

    def add(self, row: LogRow) -> None:
        """Takes one event more."""
        self.events.append(row.payload)
        self.size += len(row.payload)

    def is_full(self, limit: int) -> bool:
        """Whether it takes no more."""
        return len(self.events) >= limit or self.size >= PAGE_CHARACTERS

    def encoded(self) -> bytes:
        """The answer's JSON; events are the texts that the log stores."""
        gap = "null" if self.gap is None else gap_text(self.gap)
        return (
            f'{{"events":[{",".join(self.events)}],"next":{self.next},"gap":{gap},'
            f'"seq":{self.state.head},"epoch":"{self.state.epoch}"}}'
        ).encode()


async def read_page(feed: Feed, reader: Reader, *, limit: int, wait: float) -> EventPage:
    """The next events for `reader`, at most `limit`.

    Where none matches it waits up to `wait` seconds for one. Raises TooMany where as many wait
    as may, NewEpoch where the log is replaced meanwhile, and StorageError.
    """
    epoch = feed.bus.epoch
    with feed.listeners.following(reader):
        async with readable():
            page = await _look(feed, reader, limit, MAX_ROWS_LOOKED_AT, epoch)
        if wait and not (page.events or page.gap):
            with feed.listeners.place():
                page = await _wait(feed, reader, limit, wait, epoch)
    return page


async def _wait(feed: Feed, reader: Reader, limit: int, wait: float, epoch: str) -> EventPage:
    bus = feed.bus
    page = _page(feed, reader, epoch)
    with Waiting(feed, reader) as waiting:
        try:
            async with asyncio.timeout(wait):
                while not bus.closed:
                    page = await _look(feed, reader, limit, None, epoch)
                    if page.events or page.gap or bus.closed:
                        break
                    await waiting.more()
        except TimeoutError:
            page = _page(feed, reader, epoch)
    return page


async def _look(feed: Feed, reader: Reader, limit: int, rows: int | None, epoch: str) -> EventPage:
    bus = feed.bus
    start, page = reader.position, _page(feed, reader, epoch)
    while reader.position < bus.head and (rows is None or reader.position - start < rows):
        stretch = await bus.after(reader.position, limit, epoch=epoch)
        for item in reader.items(stretch):
            if isinstance(item, LogRow):
                page.add(item)
            elif page.events or page.gap:
                reader.put_back(item)  # the next page begins with it
            else:
                page.gap = item
                continue
            if page.is_full(limit) or isinstance(item, Gap):
                break
        if page.events or page.gap:
            break
    found = _page(feed, reader, epoch)
    page.state, page.next = found.state, found.next
    return page


def _page(feed: Feed, reader: Reader, epoch: str) -> EventPage:
    """A page without events at the reader's position; raises NewEpoch."""
    if feed.bus.epoch != epoch:
        raise NewEpoch
    # What is read of the log may be newer than what the bus has heard of.
    return EventPage(LogState(epoch, max(feed.bus.head, reader.position)), reader.position)
