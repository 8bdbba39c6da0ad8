"""A process of listeners that are the load: ``python -m benchmarks.load_program PLAN``.

PLAN is a `Plan` as JSON. It says ``{"ready": true}`` when all listen. Its input and output are a
line of JSON each:

| line | says |
|---|---|
| in ``{"begin": 20}`` | forget what was measured; say each time when 20 more are with all |
| out ``{"began": true}`` | so it is |
| out ``{"ack": 17}`` | every listener has what it should have up to event 17 |
| in ``{"expect": 42}`` | say when every listener has what it should have up to 42 |
| out ``{"reached": 42, …}`` | so it is; see `Load.reached` |

It fails where an event is missing, comes twice or comes too early.
"""

import gc
import json
import os
import selectors
import sys
import time
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.dialects import DIALECTS, EVERYTHING
from benchmarks.load_listener import LoadListener
from benchmarks.measures import percentile
from benchmarks.peers.event import topic_of

STDIN = 0
PATIENCE_SECONDS = 60.0
"""How long nothing may come that is waited for."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Listeners of everything where there is one topic; else listener n has topic n alone.
    `after` is the last event that was published before."""

    port: int
    dialect: str
    listeners: int
    topics: int
    after: int

    def connected(self, latencies: "array[int]") -> list[LoadListener]:
        """All of them."""
        return [self._listener(place, latencies) for place in range(self.listeners)]

    def _listener(self, place: int, latencies: "array[int]") -> LoadListener:
        topic = topic_of(place, self.topics) if self.topics > 1 else EVERYTHING
        first = self.after + 1 + (place - self.after - 1) % self.topics
        dialect = DIALECTS[self.dialect]
        return LoadListener(self.port, dialect, topic, first, self.topics, latencies)


class Load:
    """The listeners, served by one loop."""

    def __init__(self, listeners: Sequence[LoadListener], latencies: "array[int]") -> None:
        self._listeners = listeners
        self._latencies = latencies
        self._step, self._next_ack = 0, 0
        self._expected: int | None = None
        self._processor = 0.0
        self._input = b""
        self._selector = selectors.DefaultSelector()
        self._selector.register(STDIN, selectors.EVENT_READ)
        for listener in listeners:
            self._selector.register(listener, selectors.EVENT_READ, listener)

    def run(self) -> None:
        """Returns at the end of the input."""
        last = time.monotonic()
        while True:
            ready = self._selector.select(PATIENCE_SECONDS)
            if not ready and self._expected is not None:
                raise TimeoutError(f"event {self._expected} has not come to all")
            for key, _ in ready:
                if key.data is not None:
                    key.data.receive()
                    last = time.monotonic()
                elif not self._obey():
                    return
            self._look(last)

    def _obey(self) -> bool:
        chunk = os.read(STDIN, 10_000)
        *lines, self._input = (self._input + chunk).split(b"\n")
        for line in lines:
            said = json.loads(line)
            if "begin" in said:
                self._begin(said["begin"])
            else:
                self._expected = said["expect"]
        return bool(chunk)

    def _begin(self, step: int) -> None:
        self._step, self._next_ack = step, self.complete + step
        del self._latencies[:]
        self._processor = time.process_time()
        say(began=True)

    @property
    def complete(self) -> int:
        """The last event up to which every listener has all that it should."""
        return min(listener.next for listener in self._listeners) - 1

    def _look(self, last: float) -> None:
        complete = self.complete
        if self._step and complete >= self._next_ack:
            self._next_ack = complete + self._step
            say(ack=complete)
        if self._expected is not None and complete >= self._expected:
            self._expected = None
            say(**self.reached(complete, last))

    def reached(self, complete: int, last: float) -> dict[str, Any]:
        """What was measured since the beginning; `last` is when the last event came, in seconds
        of the monotonic clock, and latencies are in milliseconds."""
        found = sorted(self._latencies)
        return {
            "reached": complete,
            "last": last,
            "deliveries": len(found),
            "p50": percentile(found, 50) / 1000,
            "p99": percentile(found, 99) / 1000,
            "processor": time.process_time() - self._processor,
        }


def say(**content: Any) -> None:
    """A line to whoever started this."""
    print(json.dumps(content), flush=True)


def main(plan: Plan) -> None:
    """Listens until the input ends."""
    latencies = array("q")
    listeners = plan.connected(latencies)
    gc.freeze()  # of the listeners nothing is garbage, however many they are
    say(ready=True)
    Load(listeners, latencies).run()


if __name__ == "__main__":
    main(Plan(**json.loads(sys.argv[1])))
