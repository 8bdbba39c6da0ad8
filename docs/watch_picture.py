"""Writes the picture of ``task-copilot watch`` into watch.md.

    python docs/watch_picture.py          writes it where it is stale
    python docs/watch_picture.py --check  fails where it is stale
    python docs/watch_picture.py --print  prints it, for other pages

Real operations on a database of its own, with a clock of its own, drawn as `watch` draws them.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from task_copilot import clock, tasks, workspaces
from task_copilot.api.routes import STREAMS, TASKS
from task_copilot.commands.board import Board, Picture
from task_copilot.commands.board_lines import draw
from task_copilot.commands.changes import changes_of
from task_copilot.commands.source import DatabaseSource
from task_copilot.commands.stream_lines import UNICODE
from task_copilot.database.store import Database, open_database
from task_copilot.events import log
from task_copilot.events.log import LogRow
from task_copilot.location import Location
from task_copilot.streams import StreamChange
from task_copilot.task_updates import TaskChange, update_task
from task_copilot.workspaces import Scope

PAGE = Path(__file__).resolve().parent / "watch.md"
BEGIN, END = "<!-- made by watch_picture.py: -->\n", "<!-- end of what watch_picture.py made -->"
WIDTH, HEIGHT = 80, 24
BEGUN = clock.parse("2026-01-08T13:41:00.000Z")
STEP = timedelta(seconds=47)
ALL_EVENTS = 100_000

STORY: tuple[tuple[Any, ...], ...] = (
    ("lead", "create", "Stream-A", "Data model", "foundation", "Tables"),
    ("lead", "create", "Stream-A", "Data model", "foundation", "Migration"),
    ("lead", "create", "Stream-B", "Payments", "parallel", "Pay by card"),
    ("lead", "create", "Stream-B", "Payments", "parallel", "Refunds"),
    ("lead", "create", "Stream-B", "Payments", "parallel", "Receipts"),
    ("lead", "create", "Stream-C", "Search", "parallel", "Index the catalogue"),
    ("lead", "create", "Stream-C", "Search", "parallel", "Rank by stock"),
    ("lead", "create", "Stream-D", "End to end", "integration", "Buy as a guest"),
    ("ada", "in_progress", "1"),
    ("ada", "completed", "1"),
    ("ada", "in_progress", "2"),
    ("ada", "completed", "2"),
    ("bob", "in_progress", "6"),
    ("ada", "in_progress", "3"),
    ("bob", "completed", "6"),
    ("ada", "completed", "3"),
    ("cleo", "in_progress", "7"),
    ("ada", "in_progress", "4"),
    ("cleo", "blocked", "7", "stock levels come with the new supplier API, on Friday"),
    ("bob", "in_progress", "5"),
)
"""Who does what, one step after the other."""

NEEDS = {"Stream-B": ("Stream-A",), "Stream-C": ("Stream-A",), "Stream-D": ("Stream-B", "Stream-C")}


def picture() -> str:
    """The screen at the end of the story."""
    steps = iter(range(len(STORY) * 10))
    now = BEGUN + STEP * (len(STORY) + 1)
    with tempfile.TemporaryDirectory() as folder, _in_utc():
        database = open_database(
            f"sqlite:///{folder}/tasks.db",
            number=log.number,
            clock=lambda: clock.timestamp(BEGUN + STEP * next(steps)),
        )
        _play(database)
        lines = draw(_seen(database), WIDTH, HEIGHT, now, UNICODE)
        database.committer.close()
        database.read_engine.dispose()
    return "\n".join(line.plain.rstrip() for line in lines).rstrip()


@contextmanager
def _in_utc() -> Iterator[None]:
    before = os.environ.get("TZ")
    os.environ["TZ"] = "UTC"
    time.tzset()
    try:
        yield
    finally:
        os.environ.pop("TZ")
        if before is not None:
            os.environ["TZ"] = before
        time.tzset()


def _play(database: Database[LogRow]) -> None:
    location = Location("web-shop", "/work/web-shop")
    workspace = database.write_now(lambda tx: workspaces.ensure(tx, location))
    for actor, what, *words in STORY:
        _step(database, Scope(workspace, actor), what, words)


def _step(database: Database[LogRow], scope: Scope, what: Any, words: list[Any]) -> None:
    if what == "create":
        stream_id, name, phase, title = words
        stream = StreamChange(
            stream_id=stream_id, name=name, phase=phase, dependencies=NEEDS.get(stream_id)
        )
        new = tasks.NewTask(title=title, stream=stream)
        database.write_now(lambda tx: tasks.create(tx, scope, new))
        return
    number, *reason = words
    change = TaskChange(
        status=what,
        assigned_agent=scope.actor if what == "in_progress" else None,
        blocked_reason=reason[0] if reason else None,
    )
    database.write_now(lambda tx: update_task(tx, scope, int(number), change))


def _seen(database: Database[LogRow]) -> Picture:
    source = DatabaseSource(database)
    rows = database.read_now(lambda c: log.rows_after(c, 0, ALL_EVENTS))
    events: list[dict[str, Any]] = [json.loads(row.payload) for row in rows]
    return Picture(
        board=Board.of(source.read(STREAMS, {})["streams"], source.read(TASKS, {})["tasks"]),
        recent=tuple(changes_of(events)),
        title="web-shop",
        link="live",
        address="http://127.0.0.1:9090",
        seq=len(events),
    )


def page() -> str:
    """The page with the present picture."""
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n```text\n{picture()}\n```\n\n{END}{rest.partition(END)[2]}"


def main(words: list[str]) -> int:
    """Writes, checks or prints; returns the exit code."""
    if words == ["--print"]:
        print(picture())
        return 0
    new = page()
    stale = new != PAGE.read_text(encoding="utf-8")
    if words == ["--check"]:
        return int(stale)
    if stale:
        PAGE.write_text(new, encoding="utf-8")
        print(f"{PAGE.name} written")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
