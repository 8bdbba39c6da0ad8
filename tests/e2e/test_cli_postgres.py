"""The commands and the servers on a PostgreSQL database."""

import json
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

import postgres
from e2e.servers import start_server
from e2e.shells import Shell
from support import World, close, database_at

SECRET = "hunter2-of-the-tests"


@pytest.fixture
def url(postgres_server: postgres.Server) -> Iterator[str]:
    with postgres_server.database() as found:
        yield found


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> Shell:
    found = Shell(tmp_path, monkeypatch)
    monkeypatch.setenv("TASK_COPILOT_DATABASE_URL", url)
    monkeypatch.setenv("TASK_COPILOT_WORKSPACE", "shop")
    return found


@pytest.fixture
def seeded(shell: Shell, url: str) -> Shell:
    database = database_at(url)
    world, other = World(database, "shop"), World(database, "blog")
    parent = world.task(f"First {SECRET}", "Stream-A")
    world.task("Second", "Stream-A", parent=parent)
    other.task("Elsewhere", "Stream-B")
    world.task("Third")
    close(database)
    return shell


def test_what_a_hub_would_show_is_read_from_the_database(seeded: Shell) -> None:
    found = json.loads(seeded.said("tasks", "--json"))
    assert [task["id"] for task in found["tasks"]] == ["TASK-1", "TASK-2", "TASK-4"]
    lines = seeded.said("events", "--json", "--since", "0", "--all-workspaces").splitlines()
    assert [json.loads(line)["seq"] for line in lines] == list(range(1, 8))


def test_backup_says_what_to_use_instead(seeded: Shell, tmp_path: Path) -> None:
    found = seeded.refused("backup", str(tmp_path / "copy.db"))
    assert "pg_dump" in found
    assert not list(tmp_path.glob("*copy.db*"))


def test_purging_everything_says_what_to_use_instead(seeded: Shell) -> None:
    assert "dropdb" in seeded.refused("purge", "--everything", "--yes")
    assert "Third" in seeded.said("tasks")


def test_a_purged_workspace_leaves_the_others_and_a_log_without_holes(
    seeded: Shell, url: str
) -> None:
    found = seeded.run("purge", "--workspace", "shop", "--yes", "--json")
    assert found.exit_code == 0, found.stderr
    assert json.loads(found.stdout)["seq"] == 2
    assert "write-ahead log" in found.stderr
    database = database_at(url)
    world = World(database, "blog")
    assert [event["seq"] for event in world.events()] == [1, 2]
    assert world.task() == 5
    close(database)


def test_a_purge_is_refused_while_a_session_has_the_database_open(seeded: Shell, url: str) -> None:
    database = database_at(url)
    World(database, "blog")
    assert "Other processes have the database open" in seeded.refused(
        "purge", "--workspace", "shop", "--yes"
    )
    close(database)


def test_a_redacted_value_is_in_no_table_any_more(seeded: Shell, url: str) -> None:
    found = seeded.run("redact", "TASK-1", "--field", "title", "--yes")
    assert found.exit_code == 0, found.stderr
    assert "standbys and backups" in found.stderr
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        for table in ("tasks", "events", "checkpoints", "requests"):
            rows = connection.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(table)))
            assert SECRET not in str(rows.fetchall())


def test_an_export_goes_from_one_kind_of_database_to_the_other_and_back(
    seeded: Shell, tmp_path: Path, postgres_server: postgres.Server
) -> None:
    first, second, third = (tmp_path / f"{n}.jsonl" for n in range(3))
    seeded.said("export", str(first))
    file = f"sqlite:///{tmp_path / 'copy.db'}"
    seeded.said("import", str(first), TASK_COPILOT_DATABASE_URL=file)
    seeded.said("export", str(second), TASK_COPILOT_DATABASE_URL=file)
    with postgres_server.database(empty=True) as url:
        seeded.said("import", str(second), TASK_COPILOT_DATABASE_URL=url)
        seeded.said("export", str(third), TASK_COPILOT_DATABASE_URL=url)
        database = database_at(url)
        assert World(database, "new").task() == 5
        close(database)
    assert rows_of(first) == rows_of(second) == rows_of(third)


def rows_of(export: Path) -> list[str]:
    header, *rows = export.read_text().splitlines()
    fixed = {k: v for k, v in json.loads(header).items() if k != "exportedAt"}
    return [json.dumps(fixed), *rows]


def test_an_import_that_contradicts_itself_leaves_the_database_empty(
    seeded: Shell, tmp_path: Path, postgres_server: postgres.Server
) -> None:
    export = tmp_path / "export.jsonl"
    seeded.said("export", str(export))
    broken = export.read_text().replace('"parent_id":1', '"parent_id":77')
    export.write_text(broken)
    with postgres_server.database(empty=True) as url:
        found = seeded.refused("import", str(export), TASK_COPILOT_DATABASE_URL=url)
        assert "a row of tasks names one of tasks that is not there" in found
        database = database_at(url)
        assert World(database).task() == 1
        close(database)


def test_doctor_looks_at_the_server(seeded: Shell, url: str) -> None:
    found = json.loads(seeded.run("doctor", "--json").stdout)["findings"]
    # A second one says that the server is far away, where this machine is busy.
    about = next(each for each in found if each["subject"] == "database")
    assert about["level"] == "ok"
    assert "PostgreSQL 1" in about["text"]
    nowhere = "postgresql+psycopg://me:geheim@127.0.0.1:1/db"
    result = seeded.run("doctor", "--json", TASK_COPILOT_DATABASE_URL=nowhere)
    assert result.exit_code == 1
    assert "does not answer" in result.stdout
    assert "geheim" not in result.stdout


async def test_sessions_share_the_database_and_all_commands_find_their_hub(
    seeded: Shell, tmp_path: Path, url: str
) -> None:
    async with (
        start_server(tmp_path, database_url=url, log_level="info") as first,
        start_server(tmp_path, database_url=url, port=first.port) as second,
    ):
        await first.served()
        made = await second.ok("task_create", title="of the second", streamId="Stream-A")
        assert made["id"] == "TASK-5"
        assert "of the second" in await first.text("task_list")
        found = json.loads((await seeded.beside(first, "tasks", "--json")).stdout)
        assert found["tasks"][-1]["id"] == "TASK-5"
        doctor = json.loads((await seeded.beside(first, "doctor", "--json")).stdout)
        [hub] = [each for each in doctor["findings"] if each["subject"] == "hub"]
        assert hub["level"] == "ok", hub
