"""A process that is spoken to in lines of JSON, on its stdin and stdout."""

import json
import os
import selectors
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any, Self

from benchmarks.machine import ROOT

Message = dict[str, Any]
PATIENCE_SECONDS = 90.0


class LineProcess:
    """Started at once; leaving the context ends it."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            bufsize=0,
            env=environment,
            cwd=ROOT,
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._in, self._out = self.process.stdin.fileno(), self.process.stdout.fileno()
        self._partial = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self._errors):
            if stream is not None:
                stream.close()

    def fileno(self) -> int:
        """Where messages come from, for a selector."""
        return self._out

    def say(self, **message: Any) -> None:
        """Sends a message."""
        os.write(self._in, json.dumps(message).encode() + b"\n")

    def read(self) -> list[Message]:
        """The messages that have come; raises RuntimeError when none will."""
        chunk = os.read(self._out, 1 << 16)
        if not chunk:
            raise RuntimeError(f"{self.process.args!r} has ended: {self.errors()}")
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

    def errors(self) -> str:
        """What the process has said on stderr."""
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace")[-2000:]


def messages(*processes: LineProcess) -> list[tuple[LineProcess, Message]]:
    """What any of them says next; raises TimeoutError."""
    with selectors.DefaultSelector() as selector:
        for process in processes:
            selector.register(process, selectors.EVENT_READ, process)
        ready = selector.select(PATIENCE_SECONDS)
    if not ready:
        raise TimeoutError("neither the server nor its listeners say anything")
    return [(key.data, message) for key, _ in ready for message in key.data.read()]
