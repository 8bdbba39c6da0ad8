"""``task-copilot doctor`` finds each planted defect, and says how to mend it."""

import json
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from e2e.servers import Server, opened, start_server
from e2e.shells import Shell
from task_copilot import __version__, runtime
from task_copilot.commands import check_database, check_hub, check_machine
from task_copilot.database.tables import SCHEMA_VERSION
from task_copilot.errors import StorageError
from task_copilot.places import Places

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="permissions")

PATCH = pytest.MonkeyPatch


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: PATCH) -> Shell:
    found = Shell(tmp_path, monkeypatch)
    found.said("create", "One", "--stream", "S")
    return found


def findings(shell: Shell, *words: str, **environment: str) -> list[dict[str, Any]]:
    """What is found; the exit code is that of what is found."""
    found = shell.run(*words, "doctor", "--json", **environment)
    answer = json.loads(found.stdout)
    wrong = [each for each in answer["findings"] if each["level"] == "wrong"]
    assert answer["wrong"] == len(wrong)
    assert found.exit_code == (1 if wrong else 0)
    assert all(each["remedy"] for each in wrong)
    all_found: list[dict[str, Any]] = answer["findings"]
    return all_found


def wrong(shell: Shell, *words: str, **environment: str) -> tuple[str, str]:
    """Subject and text of the one thing that is wrong."""
    found = [e for e in findings(shell, *words, **environment) if e["level"] == "wrong"]
    assert len(found) == 1, found
    return found[0]["subject"], found[0]["text"]


def test_nothing_is_wrong_with_a_sound_installation(shell: Shell) -> None:
    text = shell.said("doctor")
    assert text.endswith("Nothing is wrong.\n")
    assert "WRONG" not in text
    subjects = {each["subject"] for each in findings(shell)}
    assert {"program", "SQLite", "environment", "data directory", "database"} <= subjects
    assert {"clock", "hub", "port", "workspace", "agent"} <= subjects


def test_before_the_first_session_nothing_is_wrong_and_nothing_is_made(
    tmp_path: Path, monkeypatch: PATCH
) -> None:
    shell = Shell(tmp_path, monkeypatch)
    assert "is not there yet; the first session makes it" in shell.said("doctor")
    assert not shell.data.exists()


def test_findings_are_shown_with_their_remedies(shell: Shell) -> None:
    found = shell.run("doctor", TASK_COPILOT_DATABSE_URL="x", TASK_COPILOT_NONSENSE="x")
    assert found.exit_code == 1
    assert "WRONG  environment: TASK_COPILOT_DATABSE_URL is no setting" in found.stdout
    assert "       -> Is TASK_COPILOT_DATABASE_URL meant? Else remove it." in found.stdout
    assert "WRONG  environment: TASK_COPILOT_NONSENSE is no setting" in found.stdout
    assert found.stdout.endswith("2 things to mend.\n")
    assert found.stderr == ""


def test_a_database_that_is_none_is_found(shell: Shell) -> None:
    other = shell.home / "other.db"
    other.write_bytes(b"no database" * 1000)
    other.chmod(0o600)
    subject, text = wrong(shell, "--database-url", f"sqlite:///{other}")
    assert (subject, "not a database" in text) == ("database", True)
    subject, text = wrong(shell, "--database-url", "postgresql://localhost/x")
    assert "begins with postgresql+psycopg://" in text


def test_a_damaged_database_is_found(shell: Shell) -> None:
    with opened(shell.database, write=True) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = bytearray(shell.database.read_bytes())
    page = 4096
    for number in range(2, len(content) // page):
        content[number * page : number * page + 100] = b"\xee" * 100
    shell.database.write_bytes(content)
    assert wrong(shell)[0] == "database"


@pytest.mark.parametrize(
    ("statement", "text"),
    [
        (f"PRAGMA user_version={SCHEMA_VERSION + 1}", "made by a newer Task Copilot"),
        ("PRAGMA application_id=7", "belongs to another program"),
        (
            "UPDATE events SET timestamp='2999-01-01T00:00:00.000Z' WHERE seq=1",
            "has events of 2999-01-01T00:00:00.000Z, which is still to come",
        ),
        ("UPDATE workspaces SET path='/'", "A server was started in /, which is no project"),
    ],
)
def test_a_defect_in_the_database_is_found(shell: Shell, statement: str, text: str) -> None:
    with opened(shell.database, write=True) as connection:
        connection.execute(statement)
    assert text in wrong(shell)[1]


def test_a_server_that_was_started_in_the_home_folder_is_found(shell: Shell) -> None:
    shell.go(shell.home)
    shell.said("create", "Lost")
    assert f"A server was started in {shell.home}" in wrong(shell)[1]
    notes = [e["text"] for e in findings(shell) if e["level"] == "note"]
    assert any("which is no project" in text for text in notes)


def test_a_large_write_ahead_log_is_found(shell: Shell, monkeypatch: PATCH) -> None:
    monkeypatch.setattr(check_database, "LARGE_LOG_BYTES", 1)
    with opened(shell.database) as reading:
        reading.execute("BEGIN")
        reading.execute("SELECT * FROM tasks").fetchall()
        shell.said("create", "Two")
        assert "reading the same state for long" in wrong(shell)[1]


def test_an_unsafe_sqlite_is_found(shell: Shell, monkeypatch: PATCH) -> None:
    def unsafe() -> Any:
        raise StorageError("SQLite 3.40.0 can lose data")

    monkeypatch.setattr(check_machine, "driver", unsafe)
    assert wrong(shell) == ("SQLite", "SQLite 3.40.0 can lose data")


def test_a_database_that_cannot_be_written_is_found(shell: Shell, monkeypatch: PATCH) -> None:
    real = os.access
    forbidden = {shell.database}

    def access(path: Any, mode: int, **given: Any) -> bool:
        return Path(path) not in forbidden and real(path, mode, **given)

    monkeypatch.setattr(os, "access", access)
    assert wrong(shell) == ("database", f"{shell.database} cannot be read and written.")
    forbidden.clear()
    forbidden.add(shell.data)
    found = {(e["subject"], e["text"]) for e in findings(shell) if e["level"] == "wrong"}
    assert found == {
        ("data directory", f"{shell.data} cannot be written."),
        ("database", f"{shell.data} cannot be read and written."),
    }


def test_a_data_directory_that_others_can_read_is_found(shell: Shell) -> None:
    shell.data.chmod(0o755)
    assert wrong(shell) == (
        "data directory",
        f"{shell.data} is open to other users (mode 755).",
    )


@pytest.mark.parametrize("name", ["task-copilot.db", "hub-0.lock", "hub-0.json"])
def test_a_file_that_others_can_use_is_found_and_left_as_it_is(shell: Shell, name: str) -> None:
    (shell.data / name).touch()
    (shell.data / name).chmod(0o644)
    (found,) = (each for each in findings(shell) if each["level"] == "wrong")
    assert (found["subject"], found["remedy"]) == ("rights", f"chmod 600 {shell.data / name}")
    assert "mode 644" in found["text"]
    assert (shell.data / name).stat().st_mode & 0o777 == 0o644


def test_a_link_and_a_folder_that_all_can_write_are_found(shell: Shell) -> None:
    folder = shell.home / "open"
    folder.mkdir()
    folder.chmod(0o777)
    (shell.data / "hub-0.head").symlink_to(shell.home / "nothing")
    found = findings(shell, "--database-url", f"sqlite:///{folder / 'tasks.db'}")
    texts = [each["text"] for each in found if each["level"] == "wrong"]
    assert len(texts) == 2
    assert "hub-0.head is a symbolic link, where a file belongs." in texts[0]
    assert "every user can write there (mode 777)" in texts[1]


def test_a_data_directory_that_is_none_is_found(shell: Shell) -> None:
    elsewhere = shell.home / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "task-copilot").write_text("a file")
    url = f"sqlite:///{shell.database}"
    subject, text = wrong(shell, "--database-url", url, XDG_DATA_HOME=str(elsewhere))
    assert (subject, text) == ("data directory", f"{elsewhere / 'task-copilot'} is no folder.")


def test_a_workspace_that_cannot_be_is_found(shell: Shell) -> None:
    assert "is no folder" in wrong(shell, "--workspace", "/nowhere")[1]


# The hub and the port


def record(shell: Shell, **given: Any) -> Path:
    """A runtime file that a hub may have left."""
    path = Places.of(shell.database).runtime
    fields: dict[str, Any] = {"takeovers": 1, "epoch": "e", "version": "0", "host": "127.0.0.1"}
    fields |= {"started_at": "2026-01-08T12:00:00.000Z", "pid": 7, "port": shell.port}
    runtime.write(path, runtime.HubRecord(**{**fields, **given}))
    return path


@pytest.mark.parametrize("url", ["http://127.0.0.1:{}", "nonsense", "http://[", "ftp://x"])
def test_a_stale_runtime_file_is_found(shell: Shell, url: str) -> None:
    path = record(shell, url=url.format(shell.port))
    found = [e for e in findings(shell) if e["level"] == "wrong"]
    assert [e["subject"] for e in found] == ["hub"]
    assert f"{path} names process 7 on {url.format(shell.port)}" in found[0]["text"]
    assert "nobody serves there" in found[0]["text"]


def test_a_foreign_program_on_the_port_is_found_and_named(shell: Shell) -> None:
    with socket.socket() as foreign:
        foreign.bind(("127.0.0.1", shell.port))
        foreign.listen()
        subject, text = wrong(shell)
    assert subject == "port"
    assert f"127.0.0.1:{shell.port} cannot be had" in text
    if sys.platform == "linux":
        assert f"process {os.getpid()} (" in text


async def beside(shell: Shell, mcp: Server, **environment: str) -> dict[str, Any]:
    """The findings of a command beside a server, by their subjects."""
    done = await shell.beside(mcp, "doctor", "--json", **environment)
    return {each["subject"]: each for each in json.loads(done.stdout)["findings"]}


async def test_a_running_hub_is_found_and_so_is_one_of_another_database(
    tmp_path: Path, shell: Shell
) -> None:
    async with start_server(tmp_path, log_level="info") as mcp:
        await mcp.served()
        await mcp.ok("task_create", title="One")
        found = await beside(shell, mcp)
        assert found["hub"]["level"] == found["port"]["level"] == "ok"
        assert f"process {mcp.process.pid} on http://127.0.0.1:{mcp.port}" in found["hub"]["text"]
        other = f"sqlite:///{tmp_path / 'other.db'}"
        found = await beside(shell, mcp, TASK_COPILOT_DATABASE_URL=other)
        assert "for another database" in found["port"]["text"]


@pytest.mark.parametrize(
    ("differs", "text"),
    [
        ({"version": "9.9"}, "it is version 9.9, and this is"),
        ({"epoch": "another"}, "it serves another database than the one that stands there now"),
    ],
)
def test_a_hub_that_does_not_fit_is_found(
    shell: Shell, monkeypatch: PATCH, differs: dict[str, str], text: str
) -> None:
    with opened(shell.database) as connection:
        (epoch,) = connection.execute("SELECT epoch FROM log").fetchone()
    answer = {"version": __version__, "epoch": epoch, "seq": 2, "clients": 0, **differs}
    monkeypatch.setattr(check_hub, "health", lambda _url: answer)
    record(shell, url=f"http://127.0.0.1:{shell.port}")
    assert text in wrong(shell)[1]


# Agents


def project_server(shell: Shell, **server: Any) -> None:
    (shell.folder / ".mcp.json").write_text(json.dumps({"mcpServers": {"task-copilot": server}}))


def absent(shell: Shell) -> str:
    return str(shell.home / "gone" / "task-copilot")


def broken(shell: Shell) -> str:
    script = shell.home / "task-copilot"
    script.write_text("#!/nowhere/python\n")
    script.chmod(0o755)
    return str(script)


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (absent, "cannot be started: it is not there"),
        (broken, "cannot be started: its interpreter /nowhere/python is not there"),
        (lambda _shell: "no-such-command", "no program of that name is on the PATH"),
        (lambda _shell: "./gone", "it is not there"),
    ],
)
def test_an_agents_command_that_cannot_be_started_is_found(
    shell: Shell, command: Callable[[Shell], str], reason: str
) -> None:
    project_server(shell, command=command(shell))
    subject, text = wrong(shell)
    assert (subject, reason in text) == ("agent", True)


def test_what_init_has_written_is_sound(shell: Shell) -> None:
    shell.said("init")
    found = [e for e in findings(shell) if e["subject"] == "agent"]
    assert [(e["level"], "can be started" in e["text"]) for e in found] == [("ok", True)]


@pytest.mark.parametrize("text", ["{", "[" * 100_000, "\xff"])
def test_a_configuration_that_cannot_be_read_is_found(shell: Shell, text: str) -> None:
    (shell.folder / ".mcp.json").write_bytes(text.encode("latin-1"))
    assert "cannot be read" in wrong(shell)[1]


@pytest.mark.parametrize("content", [[], {"mcpServers": []}, {"mcpServers": {"x": 1}}, 7])
def test_a_configuration_of_another_shape_names_no_server(shell: Shell, content: Any) -> None:
    (shell.folder / ".mcp.json").write_text(json.dumps(content))
    assert "Nothing is wrong" in shell.said("doctor")


def test_a_server_without_a_command_and_a_misspelt_variable_are_found(shell: Shell) -> None:
    project_server(shell, type="stdio")
    assert "the server has no command" in wrong(shell)[1]
    environment = {"TASK_COPILOT_PRT": "1"}
    project_server(shell, command=sys.executable, args=["-m", "task_copilot"], env=environment)
    assert "TASK_COPILOT_PRT is no setting" in wrong(shell)[1]


def test_the_users_own_configuration_is_read_too(shell: Shell) -> None:
    server = {"command": absent(shell)}
    for content in (
        {"mcpServers": {"tasks": server}},
        {"projects": {str(shell.folder): {"mcpServers": {"tasks": server}}}},
    ):
        (shell.home / ".claude.json").write_text(json.dumps(content))
        assert ".claude.json: " in wrong(shell)[1]
    elsewhere = {"projects": {"/elsewhere": {"mcpServers": {"tasks": server}}}}
    (shell.home / ".claude.json").write_text(json.dumps(elsewhere))
    assert "Nothing is wrong" in shell.said("doctor")


def test_doctor_takes_nothing_more(shell: Shell) -> None:
    assert "Error:" in shell.misused("doctor", "more")
