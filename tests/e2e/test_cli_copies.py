"""``task-copilot backup``, ``export``, ``import`` and ``purge``."""

import asyncio
import json
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from e2e.servers import COMMAND, contents, events, opened, start_server
from e2e.shells import Shell
from histories import STREAMS, commit, groups_of_steps, operation
from integration.test_fold import Fold, check
from support import World, database_at, ticking
from task_copilot import purge, transfer
from task_copilot.announced import AnnouncedFile
from task_copilot.database import sqlite
from task_copilot.database.store import Database
from task_copilot.events import log
from task_copilot.places import Places
from task_copilot.settings import data_directory

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="permissions")


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """Two workspaces whose changes alternate."""
    found = Shell(tmp_path, monkeypatch)
    for title in ("One", "Two"):
        found.go(found.home / "blog")
        found.said("create", f"Post {title}", "--stream", "S", "--request-id", title)
        found.go(found.folder)
        found.said("create", title, "--stream", "S", "--request-id", title)
    return found


# backup


def test_a_backup_holds_everything_and_is_the_users_alone(shell: Shell) -> None:
    file = shell.home / "copy.db"
    assert shell.said("backup", str(file)).endswith("KiB, checked.\n")
    assert contents(file) == contents(shell.database)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in shell.home.glob("*copy*")] == ["copy.db"]


def test_a_database_restored_from_a_backup_is_used_as_before(shell: Shell) -> None:
    file = shell.home / "copy.db"
    shell.said("backup", str(file))
    url = f"sqlite:///{file}"
    assert "restored from a copy" in shell.said("--database-url", url, "doctor")
    shell.said("--database-url", url, "create", "Later")
    assert "restored from a copy" not in shell.said("--database-url", url, "doctor")


def test_a_backup_takes_nobodys_place(shell: Shell) -> None:
    file = shell.home / "copy.db"
    file.write_text("mine")
    assert "is there already" in shell.refused("backup", str(file))
    assert file.read_text() == "mine"
    link = shell.home / "link"
    link.symlink_to(shell.home / "nowhere")
    assert "is there already" in shell.refused("backup", str(link))
    assert "cannot be written" in shell.refused("backup", str(shell.home / "no" / "copy.db"))
    assert "Error:" in shell.misused("backup")
    assert "Error:" in shell.misused("backup", str(shell.home))


async def test_a_backup_while_agents_write_is_of_one_moment(tmp_path: Path) -> None:
    async with start_server(tmp_path) as mcp:
        for number in range(20):
            await mcp.ok("task_create", title=f"{number}", streamId="S")
        writing = asyncio.gather(*(mcp.ok("task_create", title="x") for _ in range(50)))
        file = tmp_path / "copy.db"
        done = await asyncio.to_thread(
            subprocess.run,
            [*COMMAND, "backup", str(file)],
            cwd=mcp.folder,
            env={**os.environ, **mcp.environment},
            check=False,
            timeout=60,
        )
        assert done.returncode == 0
        await writing
        saved = contents(file)
        assert saved["log"][0][2] == len(saved["events"]) == len(saved["tasks"]) + 20


# export and import


def test_an_export_becomes_the_same_database(shell: Shell) -> None:
    file = shell.home / "all.jsonl"
    assert shell.said("export", str(file)) == f"{file}: 21 lines.\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    new = shell.home / "new.db"
    shell.said("--database-url", f"sqlite:///{new}", "import", str(file))
    before, after = contents(shell.database), contents(new)
    assert after == before
    shell.said("--database-url", f"sqlite:///{new}", "tasks")
    assert contents(new)["log"] == before["log"], "the epoch stays when it is opened again"


def test_an_export_may_go_through_a_pipe(shell: Shell) -> None:
    text = shell.said("export", "-")
    new = shell.home / "new.db"
    shell.said("--database-url", f"sqlite:///{new}", "import", "-", typed=text)
    assert contents(new) == contents(shell.database)


def test_only_an_empty_database_is_imported_into(shell: Shell) -> None:
    file = shell.home / "all.jsonl"
    shell.said("export", str(file))
    assert "The database is not empty: it has workspaces" in shell.refused("import", str(file))
    assert "is there already" in shell.refused("export", str(file))
    assert "Error:" in shell.misused("import", str(shell.home / "none"))
    assert "Error:" in shell.misused("export")


Damage = Callable[[list[dict[str, Any]]], Any]


def row(table: str, number: int = 0) -> Callable[[list[dict[str, Any]]], dict[str, Any]]:
    def find(lines: list[dict[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = [line for line in lines if line.get("table") == table][number][
            "row"
        ]
        return found

    return find


def changed(table: str, **values: Any) -> Damage:
    return lambda lines: row(table)(lines).update(values)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda lines: lines.pop(), "is not whole: it has 3 rows of requests and should have 4"),
        (lambda lines: lines.append(lines[-1]), "requests does not take them"),
        (lambda lines: lines.insert(3, {}), "Line 4 is no row of a table"),
        (lambda lines: lines.insert(3, {"table": "log", "row": {}}), "Line 4 is no row"),
        (lambda lines: lines[0].update(format="x"), "this is no export of Task Copilot"),
        (lambda lines: lines[0].update(version=2), "of version 2 with tables"),
        (lambda lines: lines[0].update(tables=99), "with tables 99"),
        (lambda lines: lines[0].update(head=-1), "epoch, head, rows or numbers"),
        (lambda lines: lines[0].update(head=99), "events 1 to 99 have holes"),
        (lambda lines: lines[0].update(epoch=None), "epoch, head, rows or numbers"),
        (lambda lines: lines[0].pop("rows"), "epoch, head, rows or numbers"),
        (lambda lines: lines[0]["numbers"].update(tasks=1.5), "epoch, head, rows or numbers"),
        (changed("tasks", status="done"), "tasks.status is none of pending"),
        (changed("tasks", status="completed"), "S does not count its pending tasks right"),
        (changed("tasks", files="{}"), "tasks.files is not the JSON that belongs there"),
        (changed("tasks", metadata='{"a": NaN}'), "tasks.metadata is not the JSON"),
        (changed("tasks", title=None), "tasks.title is null"),
        (changed("tasks", title=7), "tasks.title is no text: 7"),
        (changed("tasks", title="\ud800"), "tasks.title holds half of a character"),
        (changed("tasks", id=2**63), "tasks.id is no whole number"),
        (changed("tasks", created_at="yesterday"), "tasks.created_at is no time: 'yesterday'"),
        (changed("tasks", workspace_id=9), "that is not there"),
        (changed("tasks", parent_id=9), "a row of tasks names one of tasks"),
        (changed("tasks", more=1), "columns of tasks that do not fit: ['more']"),
        (changed("events", payload="{}"), "the payload is not that of this event"),
        (changed("events", seq=99), "have holes"),
        (changed("streams", pending=-1), "streams does not take them"),
    ],
)
def test_a_damaged_export_is_refused_and_leaves_nothing(
    shell: Shell, damage: Damage, reason: str
) -> None:
    lines = [json.loads(line) for line in shell.said("export", "-").splitlines()]
    damage(lines)
    text = "".join(f"{json.dumps(line)}\n" for line in lines)
    new = shell.home / "new.db"
    url = f"sqlite:///{new}"
    assert reason in shell.refused("--database-url", url, "import", "-", typed=text)
    assert not list(shell.home.glob("new.db*"))


@pytest.mark.parametrize("text", [b"", b"{", b"[]\n", b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_export_is_refused(shell: Shell, text: bytes) -> None:
    url = f"sqlite:///{shell.home / 'new.db'}"
    shell.refused("--database-url", url, "import", "-", typed=text)
    assert not list(shell.home.glob("new.db*"))


async def test_an_import_beside_a_session_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside = Shell(tmp_path, monkeypatch)
    monkeypatch.setattr(sqlite, "ALONE_WAIT_SECONDS", 0.1)
    async with start_server(tmp_path) as mcp:
        await mcp.ok("task_create", title="x")
        for words in (("import", "-"), ("purge", "--everything", "--yes")):
            done = await beside.beside(mcp, *words)
            assert done.exit_code == 1
            assert "Other processes have the database open" in done.stderr
        assert "1 task" in await mcp.text("task_list")


def lines_of(database: Database[Any]) -> list[str]:
    found = database.read_now(lambda c: list(transfer.lines(c, "2026-01-08T12:00:00.000Z")))
    return [str(line) for line in found]


def filled(folder: str, groups: list[Any]) -> tuple[Database[Any], list[World]]:
    database = database_at(Path(folder), clock=ticking(step_ms=5000))
    worlds = [World(database, "shop"), World(database, "blog")]
    for number in range(6):
        worlds[number == 0].task("seed", STREAMS[number % 2])
    for group in groups:
        commit(database, [operation(worlds[other], *step) for other, step in group])
    return database, worlds


def close(database: Database[Any]) -> None:
    database.read_engine.dispose()
    database.committer.close()


FEW = settings(
    max_examples=10,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@FEW
@given(groups_of_steps)
def test_whatever_was_done_an_export_is_lossless(groups: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        database, _worlds = filled(one, groups)
        exported = lines_of(database)
        copy = database_at(Path(other))
        copy.alone(lambda connection: transfer.load(connection, exported))
        assert lines_of(copy) == exported
        close(copy)
        close(database)
        assert contents(Path(other) / "tasks.db") == contents(Path(one) / "tasks.db")


# purge


@FEW
@given(groups_of_steps, st.sampled_from([0, 1]), st.integers(0, 5))
def test_whatever_was_done_a_purged_workspace_leaves_a_log_that_folds_to_the_tables(
    groups: list[Any], which: int, pruned: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        database, worlds = filled(folder, groups)
        gone = worlds[which].scope.workspace
        before = database.read_now(log.state)
        stay = [e for e in worlds[0].events() if e["workspace"] != gone.name]
        database.alone(lambda connection: purge.purge(connection, gone, "new"))
        after = database.read_now(log.state)
        left = worlds[0].events()
        assert after.epoch == "new" != before.epoch
        assert [event["seq"] for event in left] == list(range(1, after.head + 1))
        for event in (*stay, *left):
            del event["seq"]
        assert left == stay
        check(Fold(), database)
        worlds[1 - which].task("goes on", "Stream-A")
        check(Fold(), database)
        close(database)


def test_a_purged_workspace_is_gone_and_the_others_stay(shell: Shell) -> None:
    before = contents(shell.database)
    found = shell.run("purge", "--workspace", "blog", "--yes")
    assert found.exit_code == 0
    assert "workspace blog: 2 requests, 0 checkpoints, 2 tasks, 1 streams, 4 events" in found.stderr
    assert str(shell.database) in found.stderr
    assert found.stdout.startswith("blog: removed. The log ends with event 4, epoch ")
    after = contents(shell.database)
    assert "Post" not in str(after)
    files = shell.data.glob("task-copilot.db*")
    assert b"Post" not in b"".join(file.read_bytes() for file in files)
    assert len(after["tasks"]) == 2
    assert [event["seq"] for event in events(shell.database)] == [1, 2, 3, 4]
    assert after["log"][0][1] != before["log"][0][1]
    assert shell.said("create", "Next").startswith("TASK-5 ")
    assert contents(shell.database)["log"][0][1] == after["log"][0][1]
    noted = AnnouncedFile(Places.of(shell.database).announced).read()
    assert noted is not None
    assert noted.epoch == after["log"][0][1]


def test_a_pruned_log_stays_one_stretch_after_a_purge(shell: Shell) -> None:
    with opened(shell.database, write=True) as connection:
        connection.execute("DELETE FROM events WHERE seq <= 3")
    shell.said("purge", "--workspace", str(shell.home / "blog"), "--yes")
    assert [event["seq"] for event in events(shell.database)] == [4, 5, 6]
    assert contents(shell.database)["log"][0][2] == 6


def test_purging_everything_leaves_nothing(shell: Shell) -> None:
    found = shell.run("purge", "--everything", "--yes")
    assert found.exit_code == 0
    assert "everything: 2 workspaces, 2 streams, 4 tasks" in found.stderr
    assert f"  {shell.database}\n" in found.stderr
    assert found.stdout.startswith("Removed ")
    assert list(shell.data.iterdir()) == []
    assert data_directory() == shell.data
    assert shell.said("create", "One").startswith("TASK-1 ")


def test_purge_asks_and_takes_one_thing(shell: Shell) -> None:
    for words in (("--everything",), ("--workspace", "blog")):
        assert "there is no terminal to ask on; give --yes" in shell.refused("purge", *words)
    assert "has no workspace nix" in shell.refused("purge", "--workspace", "nix", "--yes")
    assert "Give either" in shell.misused("purge")
    assert "Give either" in shell.misused("purge", "--everything", "--workspace", "blog")


@pytest.mark.parametrize("command", [("backup", "x"), ("export", "-"), ("purge", "--everything")])
def test_without_a_database_there_is_nothing_to_copy_or_remove(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    shell = Shell(tmp_path, monkeypatch)
    assert shell.refused(*command).startswith("There is no database")
    assert not shell.data.exists()
    assert list(shell.folder.iterdir()) == []
