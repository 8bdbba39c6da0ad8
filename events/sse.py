"""Events as server-sent events (WHATWG HTML, section 9.2), for browsers and for curl.

Each event is a ``message`` whose ``id`` is its seq and whose data is the payload; a gap is an
event of the type ``gap``. The first is of the type ``subscribed`` and says where the log stands.
"""

import asyncio
from collections.abc import AsyncIterator

from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from task_copilot import jsontext
from task_copilot.events.bus import NewEpoch
from task_copilot.events.feed import Feed, gap_text
from task_copilot.events.listeners import TooMany
from task_copilot.events.log import LogRow
from task_copilot.events.reader import Gap, Reader

ROWS_AT_ONCE = 64
RETRY_MS = 1_000
"""How long a browser waits before it connects again."""

HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx would keep events back until a buffer is full
]


class EventStream:
    """The ASGI response that brings a reader its events until either side ends it."""

    def __init__(self, feed: Feed, reader: Reader) -> None:
        self._feed = feed
        self._reader = reader
        self._epoch = feed.bus.epoch

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            with self._feed.listeners.place(), self._feed.listeners.following(self._reader):
                await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
                if scope["method"] != "HEAD":
                    await self._send_until_gone(receive, send)
                await send({"type": "http.response.body", "body": b""})
        except TooMany as error:
            headers = {"Retry-After": "5"}
            refusal = JSONResponse({"error": str(error)}, status_code=503, headers=headers)
            await refusal(scope, receive, send)

    async def _send_until_gone(self, receive: Receive, send: Send) -> None:
        tasks = [asyncio.create_task(self._send_all(send)), asyncio.create_task(_gone(receive))]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _send_all(self, send: Send) -> None:
        async for text in self._texts():
            await send({"type": "http.response.body", "body": text.encode(), "more_body": True})

    async def _texts(self) -> AsyncIterator[str]:
        bus = self._feed.bus
        wake = asyncio.Event()
        bus.add_waker(wake.set)
        try:
            yield _opening(self._epoch, bus.head)
            while not bus.closed and bus.epoch == self._epoch:
                wake.clear()
                if self._reader.position < bus.head:
                    yield await self._next_texts()
                    continue
                try:
                    async with asyncio.timeout(self._feed.ping_interval):
                        await wake.wait()
                except TimeoutError:
                    yield _bookmark(self._reader.position)
        except NewEpoch:
            return  # it comes back, and is told that its position is of another log
        finally:
            bus.remove_waker(wake.set)

    async def _next_texts(self) -> str:
        stretch = await self._feed.bus.after(self._reader.position, ROWS_AT_ONCE)
        found = [
            _event(item) if isinstance(item, LogRow) else _gap(item)
            for item in self._reader.items(stretch)
        ]
        return "".join(found)


def _opening(epoch: str, head: int) -> str:
    data = jsontext.encode({"epoch": epoch, "seq": head})
    return f"retry: {RETRY_MS}\nevent: subscribed\ndata: {data}\n\n"


def _event(row: LogRow) -> str:
    return f"id: {row.seq}\ndata: {row.payload}\n\n"


def _gap(gap: Gap) -> str:
    return f"event: gap\nid: {gap.last}\ndata: {gap_text(gap)}\n\n"


def _bookmark(position: int) -> str:
    """Keeps the connection, and moves the client's cursor on where nothing matched: without
    data nothing is dispatched, but the id is taken."""
    return f": nothing new\nid: {position}\n\n"


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
