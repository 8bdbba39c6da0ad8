"""What a worker is: its command and its environment."""

import json
import os
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from task_copilot.errors import InvalidInput
from task_copilot.orchestrator.worker_command import (
    PLACES,
    WorkerPlan,
    branches_note,
    filled,
    refuse_typos,
    require_program,
    shown,
    split,
    trusting,
)
from task_copilot.settings import CA_FILE_VARIABLE, TOKEN_VARIABLE, Settings, declared

FOLDER = Path("/projects/shop")
TOKEN = "s3cret-of-the-token"


def planned(**given: Any) -> WorkerPlan:
    return WorkerPlan(**{"workspace": "shop", "settings": Settings(), **given})


def environment(
    plan: WorkerPlan, present: dict[str, str] | None = None, stream_id: str = "Stream-A"
) -> dict[str, str]:
    return plan.environment(stream_id, FOLDER, present or {})


def server(command: list[str]) -> dict[str, Any]:
    """The entry of this server in the configuration that a command gives to Claude Code."""
    servers = json.loads(command[command.index("--mcp-config") + 1])["mcpServers"]
    assert list(servers) == ["task-copilot"]
    found: dict[str, Any] = servers["task-copilot"]
    return found


# --- any command ---


def test_the_words_of_a_command_are_split_before_they_are_filled() -> None:
    plan = planned(given="work --on {stream} '{workspace} in {folder}' {other} {}", workspace="a b")
    assert plan.command("x; rm -rf $HOME", Path("/a 'b")) == [
        *("work", "--on", "x; rm -rf $HOME", "a b in /a 'b", "{other}", "{}"),
    ]


def test_what_is_filled_in_is_not_looked_through_again() -> None:
    plan = planned(given="work {stream} {workspace} {folder} {stream}", workspace="{folder}")
    assert plan.command("{workspace}", Path("/{stream}")) == [
        *("work", "{workspace}", "{folder}", "/{stream}", "{workspace}"),
    ]
    assert filled("{a}{b}{{a}}", {"{a}": "{b}", "{b}": "\\1"}) == "{b}\\1{{b}}"


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("work 'it", "No closing quotation"),
        ("work it\\", "No escaped character"),
        ("", "at least the name of a program"),
        ("  ", "at least the name of a program"),
    ],
)
def test_what_is_no_command_is_refused(command: str, reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason):
        split(command)
    with pytest.raises(InvalidInput, match=reason):
        planned(given=command).command("A", FOLDER)


def test_a_command_is_shown_as_a_person_could_type_it() -> None:
    words = ["a b", "", "$x", "it's", "{stream}"]
    assert shlex.split(" ".join(shown(words))) == words


def test_a_program_is_found_on_the_path_or_from_the_folder_of_the_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, text = tmp_path / "bin" / "work", tmp_path / "bin" / "text"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o700)
    text.write_text("no program")
    require_program([str(program)], Path("/"), "")
    require_program(["./bin/work"], tmp_path, "")
    require_program(["sh"], Path("/nowhere"), "")
    for words in (["./bin/work"], ["bin/text"], ["bin"], ["no-such-program"], [""]):
        folder = tmp_path / "bin" if words == ["./bin/work"] else tmp_path
        with pytest.raises(InvalidInput, match=r"There is no program .* Install it") as refused:
            require_program(words, folder, "Install it")
        assert repr(words[0]) in str(refused.value)
    monkeypatch.setenv("PATH", str(program.parent))
    require_program(["work"], Path("/"), "")


# --- Claude Code ---


def test_claude_is_told_its_stream_its_server_and_that_the_servers_tools_are_allowed() -> None:
    command = planned().command("Stream-A", FOLDER, " And a note.")
    assert command[:2] == ["claude", "-p"]
    assert command[2].startswith("Work on stream Stream-A of workspace shop ")
    assert command[2].endswith(" And a note.")
    assert "{" not in command[2]
    assert command[command.index("--allowedTools") + 1] == "mcp__task-copilot__*"
    assert "--permission-mode" not in command


def test_what_a_name_holds_is_not_filled_into_the_prompt_again() -> None:
    prompt = planned(workspace="{stream}").command("A", FOLDER)[2]
    assert "workspace {stream} with" in prompt


def test_claude_may_edit_files_only_where_that_is_said() -> None:
    command = planned(permission_mode="acceptEdits").command("A", FOLDER)
    assert command[-2:] == ["--permission-mode", "acceptEdits"]


def test_a_worker_here_has_a_server_of_its_own_that_joins() -> None:
    found = server(planned(settings=Settings(port=9999)).command("Stream-A", FOLDER))
    assert found["args"] == ["-P", "-m", "task_copilot"]
    assert Path(found["command"]).is_absolute()
    assert found["env"] == {
        "TASK_COPILOT_PORT": "9999",
        "TASK_COPILOT_WORKSPACE": "shop",
        "TASK_COPILOT_AGENT": "worker-Stream-A",
    }


def test_with_a_hub_elsewhere_the_server_is_that_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    plan = planned(url="https://hub.example/", workspace="größe & co")
    assert server(plan.command("A", FOLDER)) == {
        "type": "http",
        "url": "https://hub.example/mcp?workspace=gr%C3%B6%C3%9Fe+%26+co",
    }


def test_a_token_is_named_in_the_command_and_its_value_is_not_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    for plan in (planned(url="https://hub.example"), planned(), planned(given="work {stream}")):
        command = plan.command("A", FOLDER)
        assert TOKEN not in "\n".join(command)
        assert environment(plan, {TOKEN_VARIABLE: TOKEN})[TOKEN_VARIABLE] == TOKEN
    found = server(planned(url="https://hub.example").command("A", FOLDER))
    assert found["headers"] == {"Authorization": "Bearer ${TASK_COPILOT_TOKEN}"}


def test_a_worker_with_a_branch_is_told_which_and_what_it_needs() -> None:
    note = branches_note("task-copilot/B", ["task-copilot/A", "task-copilot/{x}"])
    assert "on branch task-copilot/B." in note
    assert "is on task-copilot/A, task-copilot/{x}:" in note
    assert "is on the branch you are on:" in branches_note("task-copilot/A", [])


# --- the environment ---


def test_a_worker_gets_the_environment_and_what_it_joins_by() -> None:
    found = environment(planned(), {"PATH": "/bin", "MINE": "yes"})
    assert found == {
        "PATH": "/bin",
        "MINE": "yes",
        "TASK_COPILOT_STREAM": "Stream-A",
        "TASK_COPILOT_WORKSPACE": "shop",
        "TASK_COPILOT_AGENT": "worker-Stream-A",
        "CLAUDE_PROJECT_DIR": "/projects/shop",
    }


def test_a_worker_is_a_session_of_its_own() -> None:
    present = {
        "CLAUDECODE": "1",
        "CLAUDE_CODE_SESSION_ID": "x",
        "CLAUDE_CODE_ENTRYPOINT": "cli",
        "CLAUDE_PROJECT_DIR": "/other",
        "CLAUDE_CODE_USE_BEDROCK": "1",
        "ANTHROPIC_API_KEY": "key",
        "TASK_COPILOT_STREAM": "Other",
        "TASK_COPILOT_AGENT": "other",
        "TASK_COPILOT_WORKSPACE": "other",
    }
    found = environment(planned(), present)
    assert {name for name in found if name.startswith("CLAUDE")} == {
        "CLAUDE_PROJECT_DIR",
        "CLAUDE_CODE_USE_BEDROCK",
    }
    assert found["ANTHROPIC_API_KEY"] == "key"
    assert found["CLAUDE_PROJECT_DIR"] == "/projects/shop"
    assert found["TASK_COPILOT_STREAM"] == "Stream-A"
    assert found["TASK_COPILOT_AGENT"] == "worker-Stream-A"
    assert found["TASK_COPILOT_WORKSPACE"] == "shop"


def test_flags_that_differ_from_the_defaults_reach_the_worker() -> None:
    settings = Settings(
        database_url="sqlite:////data/t.db", port=1234, no_websocket=True, retention_days=1.5
    )
    found = environment(planned(settings=settings))
    assert found["TASK_COPILOT_DATABASE_URL"] == "sqlite:////data/t.db"
    assert found["TASK_COPILOT_PORT"] == "1234"
    assert found["TASK_COPILOT_NO_WEBSOCKET"] == "true"
    assert found["TASK_COPILOT_RETENTION_DAYS"] == "1.5"
    assert "TASK_COPILOT_HOST" not in found


def test_a_flag_that_says_the_default_wins_over_the_variable() -> None:
    present = {"TASK_COPILOT_PORT": "1234", "TASK_COPILOT_AUTH": "required", TOKEN_VARIABLE: TOKEN}
    found = environment(planned(settings=Settings(port=9090)), present)
    assert "TASK_COPILOT_PORT" not in found
    assert "TASK_COPILOT_AUTH" not in found
    assert found[TOKEN_VARIABLE] == TOKEN


def test_files_are_named_so_that_they_are_found_from_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings(
        database_url="sqlite:///data/t.db",
        token_file="token",
        jwt_key_file="keys/jwt.pem",
        tls_certificate="cert.pem",
        tls_key="/etc/key.pem",
    )
    found = environment(planned(settings=settings))
    assert found["TASK_COPILOT_DATABASE_URL"] == f"sqlite:///{tmp_path}/data/t.db"
    assert found["TASK_COPILOT_TOKEN_FILE"] == f"{tmp_path}/token"
    assert found["TASK_COPILOT_JWT_KEY_FILE"] == f"{tmp_path}/keys/jwt.pem"
    assert found["TASK_COPILOT_TLS_CERTIFICATE"] == f"{tmp_path}/cert.pem"
    assert found["TASK_COPILOT_TLS_KEY"] == "/etc/key.pem"
    files = [one.name for one in declared() if re.match("File with", one.metadata["about"])]
    assert all(f"TASK_COPILOT_{name.upper()}" in found for name in files)


def test_a_workspace_whose_name_looks_like_a_folder_is_named_by_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".dotfiles").mkdir()
    monkeypatch.chdir(tmp_path / ".dotfiles")
    plan = planned(workspace=".dotfiles")
    assert environment(plan)["TASK_COPILOT_WORKSPACE"] == f"{tmp_path}/.dotfiles"
    given = planned(workspace=".dotfiles", settings=Settings(workspace="../.dotfiles"))
    assert Path(environment(given)["TASK_COPILOT_WORKSPACE"]).resolve() == tmp_path / ".dotfiles"
    away = planned(workspace=".dotfiles", url="http://hub.example")
    assert environment(away)["TASK_COPILOT_WORKSPACE"] == ".dotfiles"


def test_with_a_hub_elsewhere_its_address_reaches_the_worker() -> None:
    assert environment(planned(url="http://hub:1"))["TASK_COPILOT_URL"] == "http://hub:1"
    assert "TASK_COPILOT_URL" not in environment(planned())


def test_certificates_are_trusted_by_claude_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CA_FILE_VARIABLE, raising=False)
    assert trusting(None) == {}
    both = {"NODE_EXTRA_CA_CERTS": "/ca.pem", CA_FILE_VARIABLE: "/ca.pem"}
    assert trusting("/ca.pem") == both
    monkeypatch.setenv(CA_FILE_VARIABLE, "/ca.pem")
    assert trusting(None) == both
    monkeypatch.setenv(CA_FILE_VARIABLE, "ca.pem")
    assert trusting(None)[CA_FILE_VARIABLE] == os.fspath(Path.cwd() / "ca.pem")


def test_what_is_almost_a_placeholder_is_refused_and_other_braces_are_not() -> None:
    with pytest.raises(InvalidInput, match=r"\{strem\} is no placeholder; \{stream\} is one"):
        refuse_typos(["work", "--for={strem}"], PLACES)
    refuse_typos(["awk", "{print}", "{}", "{ stream }", "{stream}{folder}", "${HOME}"], PLACES)


def test_the_password_of_a_database_reaches_the_worker_and_stands_in_no_command() -> None:
    url = "postgresql+psycopg://ada:s3cret@db.example/tasks"
    plan = planned(settings=Settings(database_url=url))
    command = plan.command("Stream-A", FOLDER)
    assert "s3cret" not in " ".join(command)
    assert server(command)["env"]["TASK_COPILOT_DATABASE_URL"] == "${TASK_COPILOT_DATABASE_URL}"
    assert environment(plan)["TASK_COPILOT_DATABASE_URL"] == url
