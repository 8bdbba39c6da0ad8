"""Events page by page, for clients that ask again and again: now, or when there is something."""

import asyncio
from dataclasses import dataclass, field

from task_copilot.events.bus import NewEpoch
from task_copilot.events.feed import Feed, gap_text
from task_copilot.events.log import LogRow, LogState
from task_copilot.events.reader import Gap, Reader

MAX_ROWS_LOOKED_AT = 20_000
"""A request that finds so many events and none that match answers so, with `next` moved on;
one that may wait looks further."""


@dataclass(slots=True)
class EventPage:
    """What one request gets. `next` is the position to go on from."""

    state: LogState
    next: int
    events: list[str] = field(default_factory=list)
    gap: Gap | None = None

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
    as may, and NewEpoch where the log is replaced meanwhile.
    """
    page = await _look(feed, reader, limit, MAX_ROWS_LOOKED_AT)
    if wait and not (page.events or page.gap):
        with feed.listeners.place(), feed.listeners.following(reader):
            page = await _wait(feed, reader, limit, wait)
    return page


async def _wait(feed: Feed, reader: Reader, limit: int, wait: float) -> EventPage:
    bus, epoch = feed.bus, feed.bus.epoch
    wake = asyncio.Event()
    bus.add_waker(wake.set)
    page = EventPage(bus.state, reader.position)
    try:
        async with asyncio.timeout(wait):
            while not bus.closed:
                wake.clear()
                page = await _look(feed, reader, limit, None)
                if page.events or page.gap:
                    break
                await wake.wait()
                if bus.epoch != epoch:
                    raise NewEpoch
    except TimeoutError:
        page = EventPage(bus.state, reader.position)
    finally:
        bus.remove_waker(wake.set)
    return page


async def _look(feed: Feed, reader: Reader, limit: int, rows: int | None) -> EventPage:
    bus = feed.bus
    start, page = reader.position, EventPage(bus.state, reader.position)
    while reader.position < bus.head and (rows is None or reader.position - start < rows):
        stretch = await bus.after(reader.position, limit)
        for item in reader.items(stretch):
            if isinstance(item, LogRow):
                page.events.append(item.payload)
            elif page.events or page.gap:
                reader.position = item.first - 1  # the next page begins with it
            else:
                page.gap = item
                continue
            if len(page.events) >= limit or isinstance(item, Gap):
                return _ended(page, bus.state, reader)
        if page.events or page.gap:
            break
    return _ended(page, bus.state, reader)


def _ended(page: EventPage, state: LogState, reader: Reader) -> EventPage:
    page.state, page.next = state, reader.position
    return page
