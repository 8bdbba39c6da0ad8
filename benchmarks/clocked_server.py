"""The program itself, which also notes when it has committed: for processes that write.

Run by path, with the file for the notes in the environment variable `COMMITS`. Nobody outside can
see a commit that exactly: the answer of a call comes later, at times later than the event. A note
is the head of the log and the nanoseconds of the monotonic clock, which all processes of a machine
share; it costs the writing process some 10 µs.
"""

import os
import time
from collections.abc import Callable
from typing import Any

from task_copilot import cli
from task_copilot.events import log

COMMITS = "BENCH_COMMITS"


def note_commits(path: str) -> None:
    """Notes each commit of this process in the file, as soon as the database has returned."""
    number = log.number
    notes = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def noted(transaction: Any) -> Callable[[], list[log.LogRow]]:
        tell = number(transaction)

        def told() -> list[log.LogRow]:  # asked for right behind the commit
            moment = time.monotonic_ns()
            rows = tell()
            if rows:
                os.write(notes, f"{rows[-1].seq} {moment}\n".encode())
            return rows

        return told

    log.number = noted


if __name__ == "__main__":
    note_commits(os.environ[COMMITS])
    cli.main()
