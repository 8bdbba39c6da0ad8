"""A process that is spoken to in lines of JSON, on its stdin and stdout."""

import json
import os
import selectors
from typing import Any

from benchmarks.child import Child

Message = dict[str, Any]
PATIENCE_SECONDS = 90.0


class LineProcess(Child):
    """Started at once; leaving the context ends it."""

    _partial = b""

    def say(self, **message: Any) -> None:
        """Sends a message."""
        os.write(self._in, json.dumps(message).encode() + b"\n")

    def read(self) -> list[Message]:
        """The messages that have come; raises RuntimeError when none will."""
        chunk = os.read(self._out, 1 << 16)
        if not chunk:
            raise RuntimeError(f"nothing more is said: {self.fate()}")
        *lines, self._partial = (self._partial + chunk).split(b"\n")
        return [json.loads(line) for line in lines]

    def first(self) -> Message:
        """The next message where only one can come: it is ready, or has done what it should."""
        while not (found := self.read()):
            pass
        return found[0]

    def finish(self) -> None:
        """Ends its input, and waits until it has ended."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(PATIENCE_SECONDS)


def messages(*processes: LineProcess) -> list[tuple[LineProcess, Message]]:
    """What any of them says next; raises TimeoutError."""
    with selectors.DefaultSelector() as selector:
        for process in processes:
            selector.register(process, selectors.EVENT_READ, process)
        ready = selector.select(PATIENCE_SECONDS)
    if not ready:
        raise TimeoutError("neither the server nor its listeners say anything")
    return [(key.data, message) for key, _ in ready for message in key.data.read()]
