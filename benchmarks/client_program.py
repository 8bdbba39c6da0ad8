"""A process with a `task_copilot_client`: ``python -m benchmarks.client_program WAY``.

WAY is a `Way` as JSON. The client is subscribed to everything and ends when so many events have
come. One that replays writes the seconds from before it connects to its last event; its events are
of TASK-0, TASK-1, TASK-2 … and it fails where one is missing, comes twice or out of order. A live
one says ``ready`` when it is subscribed, and at the end writes a line for each event: the number
in its task's title, and the nanoseconds of the monotonic clock, which all processes of a machine
share.
"""

import asyncio
import json
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Literal

from task_copilot_client import AsyncTaskCopilotClient, TaskCopilotClient

PATIENCE_SECONDS = 100.0

Kind = Literal["replay", "replay async", "live"]


@dataclass(frozen=True, slots=True)
class Way:
    """What the client does, with how many events, and its arguments."""

    kind: Kind
    address: str
    events: int
    options: dict[str, Any] = field(default_factory=dict)
    batch: Any = None


class Counter:
    """A callback that expects the events of TASK-0, TASK-1, TASK-2 …"""

    def __init__(self, events: int) -> None:
        self.count = 0
        self.ended = threading.Event()
        self._events = events

    def __call__(self, _topic: str, _event_type: str, data: dict[str, Any]) -> None:
        if self.count == self._events:
            return
        in_order = data["taskId"] == f"TASK-{self.count}"
        self.count += in_order
        if not in_order or self.count == self._events:
            self.ended.set()


def replay(way: Way) -> None:
    """The client with callbacks."""
    counter = Counter(way.events)
    client = TaskCopilotClient(way.address, since=0, batch=way.batch, **way.options)
    client.subscribe(["*"], counter)
    start = time.perf_counter()
    client.connect()
    in_time = counter.ended.wait(PATIENCE_SECONDS)
    taken = time.perf_counter() - start
    client.disconnect()
    if not in_time or counter.count < way.events:
        raise RuntimeError(f"{counter.count} of {way.events} events came in order")
    print(taken)


async def replay_async(way: Way) -> None:
    """The client with an event loop."""
    start = time.perf_counter()
    async with AsyncTaskCopilotClient(way.address, **way.options) as client:
        position = 0
        async for event in client.events(["*"], since=0, batch=way.batch):
            if event.seq != position + 1 or event.data["taskId"] != f"TASK-{position}":
                raise RuntimeError(f"event {event.seq} came after {position}")
            position = event.seq
            if position == way.events:
                break
        print(time.perf_counter() - start)


def live(way: Way) -> None:
    """The client with callbacks, from now on."""
    arrivals: list[tuple[str, int]] = []
    ended = threading.Event()

    def note(_topic: str, _event_type: str, data: dict[str, Any]) -> None:
        arrivals.append((data["taskTitle"], time.monotonic_ns()))
        if len(arrivals) == way.events:
            ended.set()

    client = TaskCopilotClient(way.address, **way.options)
    if not client.connect():
        raise RuntimeError("no hub")
    client.subscribe(["*"], note)
    print("ready", flush=True)
    in_time = ended.wait(PATIENCE_SECONDS)
    client.disconnect()
    if not in_time:
        raise RuntimeError(f"{len(arrivals)} of {way.events} events came")
    for title, moment in arrivals:
        print(title.split()[-1], moment)


def main(way: Way) -> None:
    """Does what `way` says."""
    if way.kind == "replay async":
        asyncio.run(replay_async(way))
    elif way.kind == "replay":
        replay(way)
    else:
        live(way)


if __name__ == "__main__":
    main(Way(**json.loads(sys.argv[1])))
