"""A process that a benchmark starts, and that ends with it."""

import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from benchmarks.machine import ROOT

SHOWN_CHARACTERS = 2000


class Child:
    """Started at once; leaving the context ends it."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        folder: Path = ROOT,
    ) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            bufsize=0,
            env=environment,
            cwd=folder,
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._in, self._out = self.process.stdin.fileno(), self.process.stdout.fileno()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self._errors):
            if stream is not None:
                stream.close()

    @property
    def pid(self) -> int:
        return self.process.pid

    def fileno(self) -> int:
        """Where its output comes from, for a selector."""
        return self._out

    def fate(self) -> str:
        """Whether it lives, and what it has said on stderr."""
        status = self.process.poll()
        lives = "lives" if status is None else f"has ended with status {status}"
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace")[-SHOWN_CHARACTERS:]
        return f"{self.process.args!r} {lives}: {said or 'it said nothing'}"
