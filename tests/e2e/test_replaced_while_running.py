"""Processes whose database is deleted, replaced or put back: tools go on, listeners start anew."""

import json
import sys
from contextlib import closing
from pathlib import Path

import pytest

from e2e.servers import Server, contents, events, free_port, opened, start_server
from e2e.test_hub_life import closed, event, listening, places, session
from task_copilot import runtime
from task_copilot.database.sqlite import driver

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="open files cannot be removed")


def remove(database: Path) -> None:
    for ending in ("", "-wal", "-shm"):
        Path(f"{database}{ending}").unlink()


def make_whole(database: Path) -> None:
    """What a server that had no time left when it ended has left beside the file goes into it."""
    with opened(database, write=True) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert not Path(f"{database}-wal").exists()


def epoch(database: Path) -> str:
    found: str = contents(database)["log"][0][1]
    return found


def warned(mcp: Server) -> list[str]:
    return [line for line in mcp.stderr_text().splitlines() if "WARNING" in line]


def copied(database: Path, to: Path) -> None:
    with opened(database) as connection:
        connection.execute(f"VACUUM INTO '{to}'")


async def test_after_the_database_is_deleted_all_processes_go_on_in_a_new_one(
    tmp_path: Path,
) -> None:
    port = free_port()
    async with session(tmp_path, port, 2) as [hub, other]:
        await hub.ok("task_create", title="Old")
        await other.ok("task_create", title="Old too")
        before = epoch(hub.database)
        async with listening(port) as listener:
            remove(hub.database)
            assert await closed(listener) == 1012
        async with listening(port) as listener:
            assert (await other.ok("task_create", title="New"))["id"] == "TASK-1"
            assert (await event(listener))["seq"] == 1
            assert (await hub.ok("task_create", title="Newer"))["id"] == "TASK-2"
            assert (await event(listener))["seq"] == 2
        assert (record := runtime.read(places(hub).runtime)) is not None
        assert record.epoch == epoch(hub.database) != before
        for mcp in (hub, other):
            assert len(warned(mcp)) == 1, mcp.stderr_text()
            assert "The database" in warned(mcp)[0]


async def test_another_database_in_its_place_is_served(tmp_path: Path) -> None:
    port, theirs = free_port(), tmp_path / "theirs.db"
    async with start_server(tmp_path, database=theirs) as mcp:
        for _ in range(5):
            await mcp.ok("task_create", title="Theirs")
    make_whole(theirs)
    async with session(tmp_path, port, 2) as [hub, other]:
        await other.ok("task_create", title="Old")
        async with listening(port) as listener:
            theirs.rename(hub.database)  # what SQLite keeps beside the old one stays there
            assert await closed(listener) == 1012
        async with listening(port) as listener:
            assert (await other.ok("task_create", title="Ours"))["id"] == "TASK-6"
            assert (await event(listener))["seq"] == 6
        titles = [
            json.loads(json.dumps(item["data"]))["taskTitle"] for item in events(hub.database)
        ]
        assert titles == ["Theirs"] * 5 + ["Ours"]
        with opened(hub.database) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


async def test_a_database_put_back_while_nobody_ran_makes_listeners_start_anew(
    tmp_path: Path,
) -> None:
    port, old = free_port(), tmp_path / "old.db"
    async with session(tmp_path, port, 1) as [hub]:
        await hub.ok("task_create", title="Kept")
        copied(hub.database, old)
        async with listening(port) as listener:
            await hub.ok("task_create", title="Lost")
            assert (await event(listener))["seq"] == 2
        hub.process.kill()
        await hub.wait_exit()
    before = epoch(old)
    remove(hub.database)
    old.rename(hub.database)
    async with session(tmp_path, port, 1) as [hub]:
        assert "restored to an older state" in hub.stderr_text()
        assert epoch(hub.database) != before
    async with session(tmp_path, port, 1) as [hub]:
        assert warned(hub) == []


async def test_a_database_put_back_in_place_makes_listeners_start_anew(tmp_path: Path) -> None:
    port, old = free_port(), tmp_path / "old.db"
    async with session(tmp_path, port, 1) as [hub]:
        await hub.ok("task_create", title="Kept")
        copied(hub.database, old)
        await hub.ok("task_create", title="Lost")
        async with listening(port) as listener:
            with closing(driver().connect(old)) as source, opened(hub.database, write=True) as to:
                source.backup(to)
            assert await closed(listener) == 1012
        async with listening(port) as listener:
            assert (await hub.ok("task_create", title="After"))["id"] == "TASK-2"
            assert (await event(listener))["seq"] == 2
        assert epoch(hub.database) != epoch(old)
