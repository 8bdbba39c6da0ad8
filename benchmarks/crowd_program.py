"""A process with a crowd of listeners: ``python -m benchmarks.crowd_program PORT COUNT PAYLOAD``.

PAYLOAD is that of their `subscribe`, as JSON. The process says ``ready``. Each line of its input
is the number of an event, and is repeated when every listener has that one. At the end of the
input it writes a line for each listener: the number of the event after which it began, and for
each event that came the nanoseconds of the monotonic clock, which all processes of a machine
share. It fails where a listener misses an event or gets one twice.
"""

import json
import os
import selectors
import sys
import time
from collections.abc import Sequence

from benchmarks.raw_listener import RawListener

STDIN = 0
PATIENCE_SECONDS = 120.0
"""How long an event that is waited for may take to be with all."""


class Crowd:
    """The listeners, served by one loop."""

    def __init__(self, listeners: Sequence[RawListener]) -> None:
        self._listeners = listeners
        self._wanted: int | None = None
        self._deadline = 0.0
        self._selector = selectors.DefaultSelector()
        self._selector.register(STDIN, selectors.EVENT_READ)
        for listener in listeners:
            self._selector.register(listener, selectors.EVENT_READ, listener)

    def run(self) -> None:
        """Returns at the end of the input."""
        while True:
            for key, _ in self._selector.select(PATIENCE_SECONDS):
                if key.data is not None:
                    key.data.receive()
                elif not self._obey():
                    return
            self._look()

    def _obey(self) -> bool:
        line = os.read(STDIN, 1000)
        if line:
            self._wanted = int(line)
            self._deadline = time.monotonic() + PATIENCE_SECONDS
        return bool(line)

    def _look(self) -> None:
        if self._wanted is None:
            return
        if all(listener.position >= self._wanted for listener in self._listeners):
            print(self._wanted, flush=True)
            self._wanted = None
        elif time.monotonic() > self._deadline:
            raise TimeoutError(f"a listener waits for event {self._wanted}")


def main(port: int, count: int, payload: str) -> None:
    """Listens until the input ends."""
    subscribe = json.loads(payload)
    listeners = [RawListener(port, subscribe) for _ in range(count)]
    print("ready", flush=True)
    Crowd(listeners).run()
    for listener in listeners:
        print(listener.begin, *listener.moments)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
