"""The program itself, which also notes when it has committed: for processes that write.

Run by path, with the file for the notes in the environment variable `COMMITS`. Nobody outside can
see a commit that exactly: the answer of a call comes later, at times later than the event. A note
is the head of the log and the nanoseconds of the monotonic clock, which all processes of a machine
share; it costs the writing process some 20 µs.
"""

import os
import time
from typing import Any

from task_copilot import cli
from task_copilot.database import sqlite

COMMITS = "BENCH_COMMITS"


def note_commits(path: str) -> None:
    """Notes each commit of this process in the file, as soon as SQLite has returned."""
    commit = sqlite.commit
    notes = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def noted(driver_connection: Any) -> None:
        head = driver_connection.execute("SELECT head FROM log").fetchone()[0]
        commit(driver_connection)
        os.write(notes, f"{head} {time.monotonic_ns()}\n".encode())

    sqlite.commit = noted


if __name__ == "__main__":
    note_commits(os.environ[COMMITS])
    cli.main()
