"""Prints a database of the present program with some of everything, as SQL.

Run once for each released version, and keep what it prints:

    .venv/bin/python tests/data/dump.py > tests/data/0.1.0.sql
"""

import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support import World, database_at, ticking  # noqa: E402
from task_copilot import checkpoints, task_updates, tasks  # noqa: E402
from task_copilot.streams import StreamChange  # noqa: E402


def fill(folder: Path) -> Path:
    """Makes the database and returns its file."""
    database = database_at(folder, clock=ticking(step_ms=60_000))
    shop, blog = World(database, "shop"), World(database, "blog")
    foundation = StreamChange(stream_id="Stream-A", name="Grundlage 🎈", phase="foundation")
    pages = StreamChange(stream_id="Stream-B", name="pages", dependencies=("Stream-A",))
    texts: dict[str, Any] = {
        "description": "what\nand 'why'",
        "metadata": {"ticket": 7, "tags": ["a", None]},
    }
    schema = make(shop, title="Schema", stream=foundation, files=("a.py", "b.py"), **texts)
    shop.task("Subtask of it", parent=schema, assigned_agent="ada")
    cart = make(shop, title="Cart page", stream=pages, assigned_agent="cleo")
    checkout = shop.task('The "checkout" page', "Stream-B")
    blog.task("A post", "Stream-A")
    update(shop, schema, status="in_progress", notes="begun")
    keep(shop, schema, agent_context={"open": ["x"]}, draft_content="class Task: ...")
    update(shop, schema, status="completed")
    update(shop, cart, status="in_progress")
    keep(shop, cart, execution_phase="layout", execution_step=3, trigger="error")
    update(shop, cart, status="blocked", blocked_reason="needs the prices")
    update(shop, checkout, status="cancelled")
    shop.do(lambda tx, scope: checkpoints.resume(tx, scope, schema, None))
    database.committer.close()
    database.read_engine.dispose()
    return folder / "tasks.db"


def make(world: World, **given: Any) -> int:
    return world.do(lambda tx, scope: tasks.create(tx, scope, tasks.NewTask(**given))).id


def update(world: World, number: int, **change: Any) -> None:
    said = task_updates.TaskChange(**change)
    world.do(lambda tx, scope: task_updates.update_task(tx, scope, number, said))


def keep(world: World, number: int, **given: Any) -> None:
    new = checkpoints.NewCheckpoint(**given)
    world.do(lambda tx, scope: checkpoints.create(tx, scope, number, new, kept=5))


def dumped(path: Path) -> Iterator[str]:
    """The statements that make the database again; the marks are no part of SQLite's own dump."""
    connection = sqlite3.connect(path)
    yield from connection.iterdump()
    for mark in ("user_version", "application_id"):
        yield f"PRAGMA {mark}={connection.execute(f'PRAGMA {mark}').fetchone()[0]};"
    connection.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        sys.stdout.writelines(f"{statement}\n" for statement in dumped(fill(Path(scratch))))
