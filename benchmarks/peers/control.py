"""How a server in Python is told what to publish: a line of JSON each, on stdin and stdout.

| line | says |
|---|---|
| out ``{"port": 1234}`` | it serves |
| in ``{"publish": {…}}`` | publish so much, see `Order` |
| in ``{"ack": 17}`` | every listener has event 17 |
| out ``{"published": 42}`` | all of the order is published; 42 was the last |

At the end of the input it ends.
"""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from benchmarks.peers.event import Event, topic_of

Send = Callable[[Sequence[Event]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Order:
    """What to publish: so many `events` or for so many `seconds`, whichever ends first; at a rate
    or, with 0 for `per_second`, as fast as it goes, but at most so far `ahead` of the slowest
    listener, 0 for no bound. `at_once` are handed over without a turn of the event loop."""

    events: int
    seconds: float
    per_second: float
    ahead: int
    at_once: int
    topics: int


class Publisher:
    """Hands events to `send` as ordered."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._last = 0
        self._acked = 0
        self._changed = asyncio.Event()
        self._orders: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Obeys until the input ends."""
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
        )
        while line := await reader.readline():
            said = json.loads(line)
            if "ack" in said:
                self._acked = said["ack"]
                self._changed.set()
            else:
                self._orders.add(asyncio.create_task(self._publish(Order(**said["publish"]))))

    async def _publish(self, order: Order) -> None:
        begin, done = time.monotonic(), 0
        self._acked = self._last
        while done < order.events and time.monotonic() - begin < order.seconds:
            count = min(order.events - done, self._due(order, begin, done))
            if count > 0:
                await self._send([self._next(order.topics) for _ in range(count)])
                done += count
            await self._pause(order, begin, done)
        say(published=self._last)

    def _due(self, order: Order, begin: float, done: int) -> int:
        due = order.at_once
        if order.per_second:
            due = min(due, 1 + int((time.monotonic() - begin) * order.per_second) - done)
        if order.ahead:
            due = min(due, self._acked + order.ahead - self._last)
        return due

    def _next(self, topics: int) -> Event:
        self._last += 1
        return Event(self._last, time.monotonic_ns() // 1000, topic_of(self._last, topics))

    async def _pause(self, order: Order, begin: float, done: int) -> None:
        if order.per_second:
            await asyncio.sleep(max(0.0, begin + done / order.per_second - time.monotonic()))
        elif order.ahead and self._last >= self._acked + order.ahead:
            self._changed.clear()
            await self._changed.wait()
        else:
            await asyncio.sleep(0)


def say(**content: int) -> None:
    """A line to whoever started this."""
    print(json.dumps(content), flush=True)


async def obey(port: int, send: Send) -> None:
    """Says where it serves, and publishes as it is told until the input ends."""
    publisher = Publisher(send)
    say(port=port)
    await publisher.run()
