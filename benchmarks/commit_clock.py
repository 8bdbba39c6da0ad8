"""When processes have committed, by their own account."""

import json
import sys
from contextlib import closing
from typing import Any

from benchmarks import clocked_server
from benchmarks.postgres import connected
from benchmarks.sandbox import Sandbox
from task_copilot.database.sqlite import driver

CLOCKED_SERVER = [sys.executable, "-P", clocked_server.__file__]
"""The command of a server that notes its commits."""


class CommitClock:
    """The events that are written in a sandbox from now on, all by clocked servers."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self.begin = self.head()

    def head(self) -> int:
        """The number of the newest event."""
        [(head,)] = self._rows("SELECT head FROM log")
        return int(head)

    def moments(self) -> dict[int, int]:
        """By event, the nanoseconds of the monotonic clock when it was committed."""
        lines = self._sandbox.commits.read_text().splitlines()
        notes = sorted(tuple(map(int, line.split())) for line in lines)
        found: dict[int, int] = {}
        last = self.begin
        for head, moment in notes:
            found |= dict.fromkeys(range(last + 1, head + 1), moment)
            last = max(last, head)
        assert last == self.head(), "an event was not written by a clocked server"
        return found

    def actors(self) -> dict[int, str]:
        """Who made each event."""
        rows = self._rows(f"SELECT seq, payload FROM events WHERE seq > {self.begin}")  # noqa: S608
        return {seq: json.loads(payload)["actor"] for seq, payload in rows}

    def _rows(self, query: str) -> list[Any]:
        url = self._sandbox.url
        opened = connected(url) if url else driver().connect(str(self._sandbox.database))
        with closing(opened) as connection:
            found: list[Any] = connection.execute(query).fetchall()
            return found
