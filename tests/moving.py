"""A SQLite database with everything that one can hold, and what is compared after its move."""

from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import postgres
from support import World, close, database_at, table, ticking
from task_copilot import archive, checkpoints, redact, task_updates
from task_copilot.checkpoints import NewCheckpoint
from task_copilot.database.checksums import Checksum, of_postgres
from task_copilot.database.sqlite import driver
from task_copilot.database.store import Database
from task_copilot.database.transaction import Transaction
from task_copilot.task_updates import TaskChange
from task_copilot.transfer_rows import TABLES
from task_copilot.workspaces import Scope

ODD = "Ünï 🎈 \\N \\. \t'quoted' \"x\"\n\r\x01\u202e\u2028 \U0010ffff ñ"
LONG = "lång " * 40_000
LARGE = 2**63 - 1

NAMES = ("log", *(each.name for each in TABLES))


def fill(database: Database[Any]) -> None:
    """Everything: odd and long texts, nulls, what was archived, redacted, removed and pruned."""
    shop, blog = World(database, "shop"), World(database, "blog")
    first = shop.task(ODD, "Stream-A", description=LONG[:60_000], files=("a/ü.py",))
    shop.task("Of the first", "Stream-A", parent=first, metadata={"ключ": [None, 1.5, ODD]})
    blog.task("Elsewhere", "Stream-A")
    secret = shop.task("hunter2", "Stream-B")
    changed(shop, secret, status="completed", notes="hunter2")
    shop.do(lambda tx, scope: archive.archive(tx, scope, "Stream-B"))
    shop.do(lambda tx, scope: redact.redact(tx, scope, secret, "notes"))
    changed(shop, first, status="in_progress")
    changed(shop, first, status="blocked", blocked_reason=ODD)
    for draft in (LONG, None, ""):
        new = NewCheckpoint(draft_content=draft, agent_context={"k": ODD})
        shop.do(partial(kept, first, new))
    shop.do(odd_values)


def kept(task: int, new: NewCheckpoint, tx: Transaction, scope: Scope) -> None:
    checkpoints.create(tx, scope, task, new, kept=2)


def changed(world: World, number: int, **given: Any) -> None:
    change = TaskChange(**given)
    world.do(lambda tx, scope: task_updates.update_task(tx, scope, number, change))


def odd_values(tx: Transaction, scope: Scope) -> None:
    """What no tool would make in a test: pruned events, large numbers, kept answers."""
    run = tx.connection.exec_driver_sql
    run("DELETE FROM events WHERE seq <= 2")
    run("UPDATE tasks SET checkpoints_made = ? WHERE id = 2", (LARGE,))
    run("UPDATE tasks SET assigned_agent = 'ñ' WHERE id = 1")
    run("UPDATE tasks SET notes = '' WHERE id = 3")
    run("UPDATE checkpoints SET draft_type = 'md', pause_metadata = '{}', execution_phase = 'p'")
    run("UPDATE checkpoints SET execution_step = '3' WHERE id = 2")
    run("UPDATE sqlite_sequence SET seq = 4294967296 WHERE name = 'tasks'")
    for name, digest in (("r-1", "d"), ("Ü-2", None)):
        run(
            "INSERT INTO requests VALUES (?, ?, 'task_create', 1, ?, ?, ?)",
            (scope.workspace.id, name, digest, digest and f'{{"id":"{ODD}"}}', tx.now),
        )


def filled(folder: Path) -> Path:
    """The file of such a database, which nobody has open."""
    database = database_at(folder, clock=ticking())
    fill(database)
    close(database)
    return folder / "tasks.db"


Rows = dict[str, list[dict[str, Any]]]


def rows_of(database: Database[Any]) -> Rows:
    """All that a database holds."""
    return {name: table(database, name) for name in NAMES}


def rows_at(url: str) -> Rows:
    database = database_at(url)
    found = rows_of(database)
    close(database)
    return found


def version_of(file: Path) -> int:
    """The number in the header of a SQLite database."""
    with closing(driver().connect(file)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


def tables_at(url: str) -> list[str]:
    """The names of all tables of a PostgreSQL database."""
    with postgres.connected(url) as other:
        found = other.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        return sorted(name for (name,) in found.fetchall())


def checksums_at(url: str) -> dict[str, Checksum]:
    with postgres.connected(url) as other:
        return {each.name: of_postgres(other, each) for each in TABLES}
