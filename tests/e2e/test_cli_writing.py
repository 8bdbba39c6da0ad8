"""``task-copilot create`` and ``update``: the tools, from a shell."""

import json
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from e2e.servers import contents, events, start_server
from e2e.shells import Shell
from task_copilot.tools.registry import TOOLS_BY_NAME


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    return Shell(tmp_path, monkeypatch)


def test_a_task_is_created_with_all_that_the_tool_takes(shell: Shell) -> None:
    shell.said("create", "Base", "--stream", "Stream-B")
    words = ["--stream", "Stream-A", "--stream-name", "orders", "--phase", "integration"]
    words += ["--depends-on", "Stream-B", "--parent", "task-1", "--assign", "ada", "--as", "me"]
    words += ["--file", "a.py", "--file", "b.py", "--metadata", '{"ticket": 7}']
    assert shell.said("create", "Pay", "--description", "by card", *words) == (
        "TASK-2 created: pending in Stream-A\n"
    )
    task = json.loads(shell.said("task", "2", "--json"))
    assert (task["title"], task["description"], task["parentId"]) == ("Pay", "by card", "TASK-1")
    assert (task["assignedAgent"], task["files"]) == ("ada", ["a.py", "b.py"])
    assert task["metadata"] == {"ticket": 7}
    assert "(needs Stream-B)" in shell.said("streams")
    assert [event["actor"] for event in events(shell.database)] == ["cli", "cli", "me", "me"]


def test_who_acts_is_the_option_or_the_setting(shell: Shell) -> None:
    shell.said("create", "One", TASK_COPILOT_AGENT="ops")
    shell.said("--agent", "dev", "create", "Two")
    shell.said("create", "Three", "--as", "me", TASK_COPILOT_AGENT="ops")
    assert [event["actor"] for event in events(shell.database)] == ["ops", "dev", "me"]


def test_a_task_is_updated_and_an_empty_text_clears(shell: Shell) -> None:
    shell.said("create", "One", "--stream", "S", "--agent", "ada", "--file", "a.py")
    text = shell.said("update", "1", "--status", "blocked", "--blocked-reason", "no key")
    assert text == "TASK-1 updated: blocked\n"
    shell.said("update", "1", "--stream", "", "--agent", "", "--file", "", "--title", "Uno")
    task = json.loads(shell.said("task", "1", "--json"))
    assert (task["title"], task["blockedReason"]) == ("Uno", "no key")
    assert (task["streamId"], task["assignedAgent"], task["files"]) == (None, None, [])


def test_json_is_the_answer_of_the_tool(shell: Shell) -> None:
    made = json.loads(shell.said("create", "One", "--json"))
    assert set(made) == {"id", "status", "createdAt"}
    assert set(json.loads(shell.said("update", "1", "--notes", "x", "--json"))) == {
        *("id", "status", "updatedAt")
    }


def test_a_call_with_a_request_id_is_carried_out_once(shell: Shell) -> None:
    first, second = (shell.said("create", "One", "--request-id", "r", "--json") for _ in "12")
    assert first == second
    assert len(contents(shell.database)["tasks"]) == 1
    assert "was used for task_create" in shell.refused("create", "Two", "--request-id", "r")


LONG = "x" * 501


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("create", ""), "TITLE: got 0 characters; takes a text of 1 to 500 characters."),
        (("create", LONG), "TITLE: got 501 characters"),
        (("create", "  "), "TITLE: is blank"),
        (("create", "x", "--parent", "9"), "--parent: no task TASK-9"),
        (("create", "x", "--parent", "y"), "--parent: 'y' is not an id such as TASK-12."),
        (("create", "x", "--stream", "a b"), "--stream: 'a b' is not a stream id"),
        (("create", "x", "--phase", "parallel"), "--stream: is missing"),
        (("create", "x", "--stream", "S", "--depends-on", "a b"), "--depends-on[0]: 'a b' is not"),
        (("create", "x", "--metadata", "{"), "--metadata: got a text that is not JSON"),
        (("create", "x", "--metadata", "[]"), "--metadata: got a list; takes an object."),
        (("create", "x", "--agent", LONG), "--agent: got 501 characters"),
        (("create", "x", "--as", LONG), "--as: got 501 characters"),
        (("create", "x", "--request-id", " "), "--request-id: is blank"),
        (("update", "1"), "Nothing to change"),
        (("update", "9", "--title", "x"), "ID: no task TASK-9 in this workspace"),
        (("update", "x", "--title", "x"), "ID: 'x' is not an id"),
        (("update", "1", "--title", ""), "--title: got 0 characters"),
        (("update", "1", "--blocked-reason", "x"), "--blocked-reason: goes with status"),
        (("update", "1", "--parent", "1"), "--parent: "),
    ],
)
def test_bad_input_is_refused_with_the_sentence_of_the_tool(
    shell: Shell, words: tuple[str, ...], reason: str
) -> None:
    shell.said("create", "One")
    assert shell.refused(*words).startswith(reason)


@pytest.mark.parametrize(
    "words",
    [
        ("create",),
        ("create", "x", "y"),
        ("create", "x", "--phase", "late"),
        ("create", "x", "--status", "pending"),
        ("update", "1", "--status", "done"),
        ("update",),
    ],
)
def test_a_call_that_cannot_be_is_told_how_it_can_be(shell: Shell, words: tuple[str, ...]) -> None:
    assert "Error:" in shell.misused(*words)
    assert not shell.database.exists()


@pytest.mark.parametrize(
    ("command", "tool"), [("create", "task_create"), ("update", "task_update")]
)
def test_every_argument_of_the_tool_has_an_option(shell: Shell, command: str, tool: str) -> None:
    shown = shell.said(command, "--help")
    given = {"streamId": "stream", "streamPhase": "phase", "files": "file", "agent": "as"}
    given |= {"streamDependencies": "depends-on", "assignedAgent": "assign", "parentId": "parent"}
    given |= {"streamName": "stream-name", "blockedReason": "blocked-reason"}
    given |= {"requestId": "request-id", "id": "", "title": "" if command == "create" else "title"}
    for argument in TOOLS_BY_NAME[tool].arguments.model_json_schema(by_alias=True)["properties"]:
        name = given.get(argument, argument)
        assert not name or f"--{name} " in shown.replace(",", " "), argument


def test_update_makes_no_database(shell: Shell) -> None:
    assert shell.refused("update", "1", "--title", "x").startswith("There is no database")
    assert not shell.database.exists()


def test_an_update_stays_in_its_workspace(shell: Shell) -> None:
    shell.said("create", "One")
    shell.go(shell.home / "blog")
    assert "TASK-1 belongs to the workspace 'project'" in shell.refused(
        "update", "1", "--title", "x"
    )
    assert "updated" in shell.said("--workspace", "project", "update", "1", "--title", "x")


# Through hubs


async def test_what_is_written_through_a_hub_is_answered_as_without_one(
    tmp_path: Path, shell: Shell
) -> None:
    async with start_server(tmp_path, log_level="info") as mcp:
        await mcp.served()
        await mcp.ok("task_create", title="One")
        url = f"http://127.0.0.1:{mcp.port}"

        async def said(*words: str, **environment: str) -> str:
            done = await shell.beside(mcp, *words, **{"TASK_COPILOT_URL": url, **environment})
            assert done.exit_code == 0, done.stderr
            return done.stdout

        words = ("create", "Two", "--stream", "S", "--request-id", "r", "--metadata", '{"a": 1}')
        assert await said(*words) == "TASK-2 created: pending in S\n"
        assert set(json.loads(await said(*words, "--json"))) == {
            *("id", "status", "streamId", "createdAt")
        }
        assert await said("update", "2", "--status", "blocked", "--as", "ada") == (
            "TASK-2 updated: blocked\n"
        )
        assert await said("update", "2", "--title", "x", TASK_COPILOT_AGENT="ops")
        assert "2 tasks" in await mcp.text("task_list")
        actors = [event["actor"] for event in events(mcp.database) if event["topic"][-1] == "2"]
        assert list(dict.fromkeys(actors)) == ["cli", "ada", "ops"]
        done = await shell.beside(mcp, "update", "9", "--title", "x", TASK_COPILOT_URL=url)
        assert "ID: no task TASK-9 in this workspace" in done.stderr
        done = await shell.beside(
            mcp, "create", "x", "--stream", "T", "--depends-on", "T", "--url", url
        )
        assert "--depends-on: T needs T, which is a cycle" in done.stderr


async def test_a_hub_elsewhere_is_written_to_in_the_workspace_that_is_named(
    tmp_path: Path, shell: Shell
) -> None:
    async with start_server(tmp_path / "there", log_level="info") as there:
        await there.served()
        await there.ok("task_create", title="Theirs")
        url = f"http://127.0.0.1:{there.port}"
        before = contents(there.database)
        for words in (("create", "x"), ("update", "1", "--title", "x")):
            reason = shell.refused(*words, TASK_COPILOT_URL=url)
            assert f"has no workspace of this folder, {shell.folder}; it has" in reason
        assert contents(there.database) == before
        created = shell.said("--workspace", "new", "create", "x", "--url", url)
        assert created == "TASK-2 created: pending\n"
        assert [row[1] for row in contents(there.database)["workspaces"]][1:] == ["new"]
        assert "belongs to the workspace" in shell.refused(
            *("--workspace", "new", "update", "1", "--title", "x", "--url", url)
        )
        assert not shell.database.exists()


def test_writing_where_nobody_serves_is_refused(shell: Shell) -> None:
    shell.said("create", "One")
    reason = shell.refused("create", "x", "--url", f"http://127.0.0.1:{shell.port}")
    assert reason.endswith("Nothing was written.")
    assert "it looks like" in shell.refused("create", "x", "--url", "foo")


class Silent(BaseHTTPRequestHandler):
    """Says that it is a hub, and hangs up where something is to be written."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"service": "task-copilot"}')

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))

    def log_message(self, *_arguments: Any) -> None:
        pass


def test_who_got_no_answer_is_told_that_it_may_be_written_and_how_to_go_on(shell: Shell) -> None:
    with HTTPServer(("127.0.0.1", 0), Silent) as hub:
        Thread(target=hub.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{hub.server_port}"
        reason = shell.refused("--workspace", "shop", "create", "x", "--url", url)
        hub.shutdown()
    assert "Whether it was written is not known" in reason
    assert reason.endswith("the same --request-id is carried out once.")
