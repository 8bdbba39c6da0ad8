"""Events as server-sent events (WHATWG HTML, section 9.2), for browsers and for curl.

Each event is a ``message`` whose ``id`` is its seq and whose data is the payload; a gap is an
event of the type ``gap``. The first is of the type ``subscribed`` and says where the log stands.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator

from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from task_copilot import jsontext
from task_copilot.events.bus import NewEpoch
from task_copilot.events.feed import Feed, Waiting, gap_text, unless_gone
from task_copilot.events.listeners import TooMany
from task_copilot.events.log import LogRow
from task_copilot.events.reader import Gap, Reader
from task_copilot.identity import identity_of

ROWS_AT_ONCE = 64
PIECE_CHARACTERS = 64 * 1024
"""What is sent at once ends with the event that reaches it."""

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
                    allowed = identity_of(scope).valid
                    await unless_gone(receive, self._send_all(send, allowed))
                await send({"type": "http.response.body", "body": b""})
        except TooMany as error:
            headers = {"Retry-After": "5"}
            refusal = JSONResponse({"error": str(error)}, status_code=503, headers=headers)
            await refusal(scope, receive, send)

    async def _send_all(self, send: Send, is_allowed: Callable[[], bool]) -> None:
        async with contextlib.aclosing(self._texts()) as texts:
            async for text in texts:
                if not is_allowed():
                    return  # it comes back, and is told that it needs another token
                await send({"type": "http.response.body", "body": text.encode(), "more_body": True})

    async def _texts(self) -> AsyncGenerator[str]:
        bus = self._feed.bus
        with Waiting(self._feed, self._reader) as waiting, contextlib.suppress(NewEpoch):
            yield _opening(self._epoch, bus.head, self._reader.position)
            # With a new epoch it comes back, and is told that its position is of another log.
            while not bus.closed and bus.epoch == self._epoch:
                if self._reader.position < bus.head:
                    for text in await self._next_texts():
                        yield text
                    continue
                try:
                    async with asyncio.timeout(self._feed.ping_interval):
                        await waiting.more()
                except TimeoutError:
                    yield _bookmark(self._reader.position)

    async def _next_texts(self) -> Iterator[str]:
        """The next events in pieces, so that one who does not read costs little."""
        bus, reader = self._feed.bus, self._reader
        stretch = await bus.after(reader.position, ROWS_AT_ONCE, epoch=self._epoch)
        return _pieces(
            _event(item) if isinstance(item, LogRow) else _gap(item)
            for item in reader.items(stretch)
        )


def _pieces(texts: Iterable[str]) -> Iterator[str]:
    waiting: list[str] = []
    size = 0
    for text in texts:
        waiting.append(text)
        size += len(text)
        if size >= PIECE_CHARACTERS:
            yield "".join(waiting)
            waiting, size = [], 0
    if waiting:
        yield "".join(waiting)


def _opening(epoch: str, head: int, position: int) -> str:
    """With an id, so that who is cut off before the first event goes on from here."""
    data = jsontext.encode({"epoch": epoch, "seq": head})
    return f"retry: {RETRY_MS}\nevent: subscribed\nid: {position}\ndata: {data}\n\n"


def _event(row: LogRow) -> str:
    return f"id: {row.seq}\ndata: {row.payload}\n\n"


def _gap(gap: Gap) -> str:
    return f"event: gap\nid: {gap.last}\ndata: {gap_text(gap)}\n\n"


def _bookmark(position: int) -> str:
    """Keeps the connection, and moves the client's cursor on where nothing matched: without
    data nothing is dispatched, but the id is taken."""
    return f": nothing new\nid: {position}\n\n"
