"""``task-copilot migrate-to``, from a file to a real server."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

import moving
import postgres
from e2e.servers import after, contents, environment_of
from e2e.shells import Shell
from histories import STREAMS, commit, groups_of_steps, operation
from integration.test_fold import Fold, check
from support import World, close, database_at, ticking
from task_copilot.database import arrival, checksums, departure, moved, urls
from task_copilot.database.tables import CLOSED_VERSION, SCHEMA_VERSION
from task_copilot.errors import DatabaseMoved, SchemaMismatch, StorageBusy
from task_copilot.transfer_rows import TABLES

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="permissions")


@pytest.fixture
def url(postgres_server: postgres.Server) -> Iterator[str]:
    """An empty database of a server."""
    with postgres_server.database(empty=True) as found:
        yield found


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return moving.filled(tmp_path_factory.mktemp("made"))


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: Path) -> Shell:
    """A database with everything in it."""
    found = Shell(tmp_path, monkeypatch)
    found.data.mkdir(parents=True, mode=0o700)
    shutil.copy(made, found.database)
    return found


def shown(url: str) -> str:
    return urls.shown(urls.parse_url(url))


def rows_in(shell: Shell) -> moving.Rows:
    return moving.rows_at(f"sqlite:///{shell.database}")


def test_everything_arrives_with_its_ids_numbers_and_epoch(shell: Shell, url: str) -> None:
    before = rows_in(shell)
    assert all(before.values()), "nothing to compare"
    said = shell.said("migrate-to", url)
    assert f"{shell.database}: moved to {shown(url)}, compared: 2 workspaces" in said
    assert f"Now set TASK_COPILOT_DATABASE_URL={shown(url)} " in said
    assert moving.rows_at(url) == before
    database = database_at(url)
    world = World(database, "shop")
    assert world.task("Next", "Stream-A") == 2**32 + 1
    assert World(database, "a third").scope.workspace.id == 3
    events = world.events()
    assert [event["seq"] for event in events] == list(range(3, before["log"][0]["head"] + 3))
    close(database)


def test_the_file_is_refused_from_then_on_and_says_where_it_is(shell: Shell, url: str) -> None:
    secret = re.sub("postgres@", "postgres:geheim@", url)
    said = shell.said("migrate-to", secret)
    assert "geheim" not in said
    for words in (("tasks",), ("create", "x"), ("export", "-"), ("backup", "copy.db")):
        refusal = shell.refused("--workspace", "shop", *words)
        assert f"was moved to {shown(url)}" in refusal
        assert "TASK_COPILOT_DATABASE_URL" in refusal
    found = json.loads(shell.run("doctor", "--json").stdout)["findings"]
    [about] = [each for each in found if each["subject"] == "database"]
    assert about["level"] == "wrong"
    assert shown(url) in about["text"]
    assert moving.version_of(shell.database) == CLOSED_VERSION > SCHEMA_VERSION


def test_the_same_command_again_says_that_it_is_done(shell: Shell, url: str) -> None:
    shell.said("migrate-to", url)
    close(database_at(url))
    World(database := database_at(url), "shop").task("Later")
    close(database)
    before = moving.checksums_at(url)
    for words in ((), ("--dry-run",)):
        found = json.loads(shell.said("migrate-to", url, "--json", *words))
        assert found["outcome"] == "moved before"
    assert moving.checksums_at(url) == before


def test_a_moved_database_is_moved_nowhere_else(
    shell: Shell, url: str, postgres_server: postgres.Server
) -> None:
    shell.said("migrate-to", url)
    with postgres_server.database(empty=True) as other:
        assert f"was moved to {shown(url)} already" in shell.refused("migrate-to", other)
        assert moving.tables_at(other) == []


def test_what_is_gone_from_the_new_place_is_moved_there_once_more(shell: Shell, url: str) -> None:
    before = rows_in(shell)
    shell.said("migrate-to", url)
    with postgres.connected(url) as other:
        other.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    assert json.loads(shell.said("migrate-to", url, "--json"))["outcome"] == "moved"
    assert moving.rows_at(url) == before


def test_a_dry_run_compares_everything_and_changes_nothing(
    shell: Shell, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(shell.database)
    database = database_at(f"sqlite:///{shell.database}")
    world = World(database, "shop")
    compare, compared = checksums.of_postgres, []

    def noted(driver: Any, table: Any) -> Any:
        compared.append(compare(driver, table).rows)
        world.task("others write meanwhile")
        return compare(driver, table)

    monkeypatch.setattr(checksums, "of_postgres", noted)
    found = json.loads(shell.said("migrate-to", url, "--dry-run", "--json"))
    close(database)
    assert found["outcome"] == "would be moved"
    assert list(found["rows"].values()) == compared
    assert found["rows"]["events"] == len(before["events"])
    assert moving.tables_at(url) == []
    assert len(contents(shell.database)["tasks"]) == len(before["tasks"]) + len(TABLES)


FEW = settings(
    max_examples=4,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@FEW
@given(groups_of_steps)
def test_whatever_was_done_the_log_folds_to_the_tables_after_the_move(
    postgres_server: postgres.Server, groups: list[Any]
) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        postgres_server.database(empty=True) as url,
        pytest.MonkeyPatch.context() as patch,
    ):
        shell = Shell(Path(folder), patch)
        shell.data.mkdir(parents=True, mode=0o700)
        place = f"sqlite:///{shell.database}"
        database = database_at(place, clock=ticking(step_ms=5000))
        worlds = [World(database, "shop"), World(database, "blog")]
        for number in range(6):
            worlds[number == 0].task("seed", STREAMS[number % 2])
        for group in groups:
            commit(database, [operation(worlds[other], *step) for other, step in group])
        close(database)
        before = rows_in(shell)
        shell.said("migrate-to", url)
        assert moving.rows_at(url) == before
        database = database_at(url)
        check(Fold(), database)
        World(database, "shop").task("goes on", "Stream-A")
        check(Fold(), database)
        close(database)


# Refusals


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("postgresql+psycopg://me:geheim@127.0.0.1:1/db", "does not answer"),
        ("postgresql://me:geheim@host/db", "URL cannot be 'postgresql://***@host/db'"),
        ("postgresql+psycopg://me:geheim@host", "it names no database"),
        ("sqlite:////tmp/other.db", "URL names a file"),
        ("nonsense", "URL cannot be 'nonsense': it is not a URL"),
    ],
)
@pytest.mark.parametrize("words", [(), ("--dry-run",)], ids=["", "dry"])
def test_a_wrong_address_is_refused_without_its_password(
    shell: Shell, address: str, reason: str, words: tuple[str, ...]
) -> None:
    found = shell.refused("migrate-to", address, *words)
    assert reason in found
    assert "geheim" not in found


def test_a_database_on_a_server_is_not_moved(shell: Shell, url: str) -> None:
    found = shell.refused("migrate-to", url, TASK_COPILOT_DATABASE_URL=url)
    assert "is on PostgreSQL already" in found


def test_a_file_that_is_not_there_is_not_made(shell: Shell, url: str, tmp_path: Path) -> None:
    place = f"sqlite:///{tmp_path / 'none.db'}"
    found = shell.refused("migrate-to", url, TASK_COPILOT_DATABASE_URL=place)
    assert found.startswith("There is no database")
    assert moving.tables_at(url) == []


def used(url: str) -> None:
    database = database_at(url)
    World(database, "other").task("Theirs")
    close(database)


def newer(url: str) -> None:
    close(database_at(url))
    with postgres.connected(url) as other:
        number = f"{SCHEMA_VERSION + 1:04d}"
        other.execute("UPDATE task_copilot_version SET version_num = %s", (number,))


def foreign(url: str) -> None:
    with postgres.connected(url) as other:
        other.execute("CREATE TABLE theirs (id int)")


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (used, "is not empty. Nothing was changed"),
        (newer, "made by a newer Task Copilot"),
        (foreign, "holds tables of another program"),
    ],
)
@pytest.mark.parametrize("words", [(), ("--dry-run",)], ids=["", "dry"])
def test_a_target_that_holds_something_is_refused_and_left_alone(
    shell: Shell, url: str, prepare: Callable[[str], None], reason: str, words: tuple[str, ...]
) -> None:
    prepare(url)
    before = moving.tables_at(url)
    assert reason in shell.refused("migrate-to", url, *words)
    assert moving.tables_at(url) == before
    assert shell.said("create", "x").startswith("TASK-")


def test_a_target_that_was_made_and_is_empty_is_taken(shell: Shell, url: str) -> None:
    close(database_at(url))
    before = rows_in(shell)
    shell.said("migrate-to", url)
    assert moving.rows_at(url) == before


def test_a_target_that_a_session_has_open_is_refused(shell: Shell, url: str) -> None:
    database = database_at(url)
    assert "have the database open" in shell.refused("migrate-to", url)
    close(database)


def test_without_the_driver_the_extra_is_named(
    shell: Shell, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "task_copilot.database.postgres_engine", None)
    found = shell.refused("migrate-to", url)
    assert "pip install 'task-copilot[postgres]'" in found


def test_a_role_without_rights_is_refused(
    shell: Shell, url: str, postgres_server: postgres.Server
) -> None:
    postgres_server.admin.execute("CREATE ROLE reader LOGIN")
    found = shell.refused("migrate-to", url.replace("postgres@", "reader@"))
    assert "this role may not use it so" in found


def test_a_text_that_the_server_does_not_take_is_named(shell: Shell, url: str) -> None:
    database = database_at(f"sqlite:///{shell.database}")
    World(database, "shop").task("with \0 in it")
    close(database)
    found = shell.refused("migrate-to", url)
    assert "PostgreSQL does not take tasks (at id 4294967297)" in found
    assert moving.tables_at(url) == []


# Comparing


def test_a_checksum_tells_every_value_of_every_column_apart(shell: Shell, url: str) -> None:
    shell.said("migrate-to", url)
    with postgres.connected(url) as other, departure.reading(shell.database) as source:
        other.execute("SET session_replication_role = replica")  # no foreign keys
        for table in TABLES:
            ours = checksums.of_sqlite(source, table)
            assert checksums.of_postgres(other, table) == ours
            for column in table.columns:
                other.execute("BEGIN")
                assert one_value_changed(other, table, column) == 1, column
                assert checksums.of_postgres(other, table) != ours, column
                other.execute("ROLLBACK")


def one_value_changed(other: Any, table: Any, column: Any) -> int:
    """How many rows are different then."""
    name, key = column.name, ", ".join(each.name for each in table.primary_key)
    number = column.type.python_type is int
    found = f"{name} + 1000" if number else f"{name} || ' '"
    which = f"{name} < {moving.LARGE}" if number else f"{name} IS NOT NULL"
    query = f"""
        UPDATE {table.name} SET {name} = {found}
        WHERE ({key}) IN (SELECT {key} FROM {table.name} WHERE {which} LIMIT 1)
    """  # noqa: S608
    changed: int = other.execute(query).rowcount
    return changed


def damaged(change: Callable[[Any, list[tuple[Any, ...]]], list[tuple[Any, ...]]]) -> Any:
    copy = arrival.fill

    def fill(driver: Any, table: Any, rows: Any, told: Any) -> int:
        return copy(driver, table, change(table, list(rows)), told)

    return fill


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda table, rows: rows[:-1] if table.name == "events" else rows, "rows for"),
        (
            lambda table, rows: (
                [(*row[:-1], row[-1] + " ") for row in rows] if table.name == "events" else rows
            ),
            "The copy of events is not what the original is: other values",
        ),
        (
            lambda table, rows: (
                [(*row[:4], row[6], row[5], row[4], *row[7:]) for row in rows]
                if table.name == "checkpoints"
                else rows
            ),
            "The copy of checkpoints",
        ),
    ],
    ids=["a row less", "a character more", "columns changed round"],
)
def test_a_copy_that_differs_is_found_and_not_kept(
    shell: Shell, url: str, monkeypatch: pytest.MonkeyPatch, change: Any, reason: str
) -> None:
    monkeypatch.setattr(arrival, "fill", damaged(change))
    assert reason in shell.refused("migrate-to", url)
    assert moving.tables_at(url) == []


def test_rows_are_not_kept_in_memory_on_their_way(
    shell: Shell, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = database_at(f"sqlite:///{shell.database}")
    world = World(database, "shop")
    world.do(many_events)
    close(database)
    copying, fetched, sent, ahead = departure.rows, [0], [0], [0]

    class Row(tuple[Any, ...]):
        """Counts those that are alive."""

        __slots__ = ()

        def __del__(self) -> None:
            sent[0] += 1

    def rows(driver: Any, table: Any) -> Iterator[Any]:
        for row in copying(driver, table):
            fetched[0] += 1
            ahead[0] = max(ahead[0], fetched[0] - sent[0])
            yield Row(row)

    monkeypatch.setattr(departure, "rows", rows)
    found = json.loads(shell.said("migrate-to", url, "--json"))
    assert found["rows"]["events"] > 20_000
    assert ahead[0] <= 3


def many_events(tx: Any, _scope: Any) -> None:
    head = tx.connection.exec_driver_sql("SELECT head FROM log").scalar_one()
    tx.connection.exec_driver_sql(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) "
        "INSERT INTO events SELECT i + seq, topic, event_type, timestamp, payload "
        "FROM n, (SELECT * FROM events WHERE seq = ?)",
        (head,),
    )
    tx.connection.exec_driver_sql("UPDATE log SET head = head + 20000")


# An end in the middle

STEPS = (
    ("make_tables", arrival, "before"),
    ("fill", arrival, "after"),
    ("of_postgres", checksums, "after"),
    ("commit_closed", arrival, "before"),
    ("commit_closed", arrival, "after"),
    ("mark", moved, "after"),
    ("begin_opening", arrival, "before"),
    ("open_for_use", arrival, "before"),
    ("open_for_use", arrival, "after"),
)
STEP = pytest.mark.parametrize(
    ("name", "module", "when"), STEPS, ids=[f"{when} {name}" for name, _, when in STEPS]
)


class Broken(Exception):
    """The process ends here."""


@STEP
def test_an_attempt_that_ends_anywhere_leaves_one_database_and_is_finished_by_the_next(
    shell: Shell, url: str, monkeypatch: pytest.MonkeyPatch, name: str, module: Any, when: str
) -> None:
    before = rows_in(shell)
    step = getattr(module, name)

    def breaking(*given: Any) -> Any:
        if when == "after":
            step(*given)
        raise Broken

    with monkeypatch.context() as patch:
        patch.setattr(module, name, breaking)
        with pytest.raises(Broken):
            shell.run("migrate-to", url)
    usable = [place for place in (f"sqlite:///{shell.database}", url) if can_be_written(place)]
    assert len(usable) <= 1 or (usable[1:] == [url] and moving.rows_at(url)["events"] == [])
    if usable[:1] == [f"sqlite:///{shell.database}"]:
        before = rows_in(shell)  # one more row, which the copy that waits there does not have
    done = shell.said("migrate-to", url, "--json")
    assert json.loads(done)["outcome"] in {"moved", "finished", "moved before"}
    found = moving.rows_at(url)
    if usable != [url]:
        assert found == before
    assert not can_be_written(f"sqlite:///{shell.database}")
    assert "moving" not in moving.tables_at(url)


def can_be_written(place: str) -> bool:
    if not place.startswith("sqlite") and not moving.tables_at(place):
        return False  # nothing was begun there
    try:
        database = database_at(place)
    except (DatabaseMoved, SchemaMismatch):
        return False
    World(database, "shop").task("Written by others in between")
    close(database)
    return True


KILLED = """
import os, signal
from task_copilot.database import {module}
step = {module}.{name}
def killed(*given):
    if {after}:
        step(*given)
    os.kill(os.getpid(), signal.SIGKILL)
{module}.{name} = killed
"""


@pytest.mark.parametrize("place", [4, 6])
def test_a_process_that_is_killed_leaves_its_locks_to_the_next(
    shell: Shell, url: str, place: int
) -> None:
    name, module, when = STEPS[place]
    text = KILLED.format(
        module=module.__name__.rpartition(".")[2], name=name, after=when == "after"
    )
    environment = environment_of(shell.folder, shell.database, shell.port, {})
    environment["XDG_DATA_HOME"] = os.environ["XDG_DATA_HOME"]
    done = subprocess.run(
        [*after(text), "migrate-to", url],
        env={**os.environ, **environment},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert json.loads(shell.said("migrate-to", url, "--json"))["outcome"] in {"moved", "finished"}
    assert moving.rows_at(url)["tasks"]


def test_ctrl_c_is_one_line_and_changes_nothing(
    shell: Shell, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_given: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(checksums, "of_postgres", interrupted)
    assert shell.refused("migrate-to", url).startswith("Interrupted.")
    assert moving.tables_at(url) == []


def test_a_copy_of_another_database_is_not_thrown_away(
    shell: Shell, url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def broken(*_given: Any) -> None:
        raise Broken

    with monkeypatch.context() as patch:
        patch.setattr(moved, "mark", broken)
        with pytest.raises(Broken):
            shell.run("migrate-to", url)
    other = f"sqlite:///{moving.filled(tmp_path)}"
    found = shell.refused("migrate-to", url, TASK_COPILOT_DATABASE_URL=other)
    assert "holds a copy of another database" in found
    assert "give task-copilot migrate-to once more" in shell.refused(
        "tasks", TASK_COPILOT_DATABASE_URL=url
    )
    assert json.loads(shell.said("migrate-to", url, "--json"))["outcome"] == "moved"


def test_a_session_that_writes_for_too_long_keeps_a_move_away(
    shell: Shell, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from task_copilot.database import sqlite

    monkeypatch.setattr(sqlite, "LOCK_WAIT_SECONDS", 0.05)
    with departure.locked(database_at(f"sqlite:///{shell.database}").url):
        found = shell.run("migrate-to", url)
    assert found.exit_code == 1
    assert "kept the database locked" in found.stderr
    assert moving.tables_at(url) == []


def test_a_purge_of_a_server_keeps_those_waiting_who_come_meanwhile(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from task_copilot.database import postgres as dialect

    database = database_at(url)

    def meanwhile(_connection: Any) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(dialect, "LOCK_WAIT_SECONDS", 0.05)
            with pytest.raises(StorageBusy):
                database_at(url)

    database.alone(meanwhile)
    close(database_at(url))
    close(database)
