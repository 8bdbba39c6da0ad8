"""The code on the pages of docs/ runs, and what they show is what the program says."""

import asyncio
import json
import os
import re
import shlex
import signal
import sqlite3
import subprocess
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from mcp import Client

from command_line import options
from e2e.programs import invoked
from e2e.servers import COMMAND, Server, contents, server, start_server
from task_copilot.description import asyncapi
from task_copilot.events.messages import CLIENT_MESSAGES
from task_copilot.settings import declared, environment_variable, flag, known_variables
from task_copilot.tools.registry import TOOLS_BY_NAME
from validation import valid_frame, valid_request, validated

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = sorted(DOCS.glob("*.md"))
DEFAULT = "127.0.0.1:9090"
LOOK_SECONDS = 0.1


def blocks(language: str) -> dict[str, str]:
    """Every code block of one language, by its page and its number there."""
    found: dict[str, str] = {}
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        codes = re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        found |= {f"{page.stem}-{number}": code for number, code in enumerate(codes)}
    return found


def blocks_of(page: str, language: str) -> list[str]:
    return [code for name, code in blocks(language).items() if name.startswith(f"{page}-")]


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Server]:
    """A server with a stream, a task in progress in it, and another that is done."""
    async with start_server(tmp_path, log_level="info") as mcp:
        await mcp.served()
        for title in ("Pay by card", "Cart"):
            await mcp.ok("task_create", title=title, streamId="Stream-A", streamName="orders")
        await mcp.ok("task_update", id="1", status="in_progress")
        await mcp.ok("task_update", id="2", status="completed")
        yield mcp


async def script(code: str, mcp: Server, folder: Path, **environment: str) -> Any:
    """The code as a process of its own; it speaks to `mcp`."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-u", "-c", code.replace(DEFAULT, f"127.0.0.1:{mcp.port}")),
        cwd=folder,
        env={**mcp.environment, **environment},
        stdout=PIPE,
        stderr=PIPE,
    )


# --- Python ---


async def test_the_listener_of_the_events_page_prints_what_happens(
    running: Server, tmp_path: Path
) -> None:
    (code,) = blocks_of("events", "python")
    listener = await script(code, running, tmp_path)
    ended = asyncio.create_task(listener.communicate())
    async with asyncio.timeout(30):
        while not ended.done():  # until it has subscribed; what came before is not for it
            await running.ok("task_update", id="1", status="in_progress")
            await running.ok("task_update", id="1", status="completed")
    out, err = await ended
    assert (listener.returncode, err) == (0, b"")
    assert re.search(rb"^\d+ task.completed Pay by card\n$", out, re.MULTILINE)


@pytest.mark.parametrize("number", [0, 1])
async def test_the_programs_of_the_client_page_print_what_happens(
    running: Server, tmp_path: Path, number: int
) -> None:
    code = blocks_of("client", "python")[number]
    address = {"TASK_COPILOT_URL": f"http://127.0.0.1:{running.port}"}
    program = await script(code, running, tmp_path, **address)
    printed = b""
    async with asyncio.timeout(30):
        while b"task.completed" not in printed:  # until it has subscribed
            await running.ok("task_update", id="1", status="in_progress")
            await running.ok("task_update", id="1", status="completed")
            with suppress(TimeoutError):
                printed += await asyncio.wait_for(program.stdout.readline(), LOOK_SECONDS)
        if number == 0:
            program.send_signal(signal.SIGINT)
        out, err = await program.communicate()
    assert (program.returncode, err) == (0, b"")
    assert b"task.completed Pay by card\n" in printed + out


def test_the_test_of_the_client_page_passes_without_plugins(tmp_path: Path) -> None:
    (tmp_path / "test_monitor.py").write_text(blocks_of("client", "python")[2])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "test_monitor.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout


async def test_the_reader_of_the_http_page_prints_progress_and_that_nothing_changed(
    running: Server, tmp_path: Path
) -> None:
    (code,) = blocks_of("http", "python")
    reader = await script(code, running, tmp_path)
    out, err = await asyncio.wait_for(reader.communicate(), 30)
    assert (reader.returncode, err, out) == (0, b"", b"orders 50.0 %\n304\n")


async def test_the_backup_of_the_operations_page_holds_everything_while_a_server_runs(
    tmp_path: Path,
) -> None:
    (words,) = (block for block in blocks_of("operations", "text") if " backup " in block)
    async with start_server(tmp_path) as mcp:
        await mcp.ok("task_create", title="Kept", streamId="Stream-A")
        await asyncio.to_thread(backed_up, words, mcp)
        await mcp.ok("task_create", title="Later")
        saved = mcp.folder / "task-copilot-backup.db"
    assert [row["title"] for row in rows(saved, "tasks")] == ["Kept"]
    async with start_server(tmp_path, database=saved) as again:
        assert (await again.ok("task_get", id="1"))["title"] == "Kept"


def backed_up(words: str, mcp: Server) -> None:
    environment = {**os.environ, **mcp.environment}
    command = [*COMMAND, *shlex.split(words)[1:]]
    subprocess.run(command, cwd=mcp.folder, env=environment, timeout=30, check=True)


def rows(database: Path, table: str) -> list[sqlite3.Row]:
    with closing(sqlite3.connect(database)) as connection:
        connection.row_factory = sqlite3.Row
        return connection.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608


def test_every_block_of_python_is_run_by_a_test_above() -> None:
    shown = {"client-0", "client-1", "client-2", "events-0", "http-0"}
    shown.add("orchestration-0")  # by tests/e2e/test_orchestration_docs.py
    assert set(blocks("python")) == shown


# --- JSON ---


@pytest.mark.parametrize("name", blocks("json"))
def test_the_json_of_the_pages_is_what_the_program_takes_or_gives(name: str) -> None:
    shown = json.loads(blocks("json")[name])
    if "payload" in shown:
        is_request = shown["type"] in CLIENT_MESSAGES and "timestamp" not in shown
        (valid_request if is_request else valid_frame)(shown)
    elif "arguments" in shown:
        TOOLS_BY_NAME[shown["name"]].arguments.model_validate(shown["arguments"])
    elif shown.get("service"):
        validated("GET", "/health", 200, shown)
    elif "mcpServers" in shown:
        configured = shown["mcpServers"]["task-copilot"]
        if "url" in configured:  # which a test below connects to
            assert configured["type"] == "http"
            assert set(configured["headers"]) == {"Authorization"}
            return
        assert set(configured["args"][::2]) <= {flag(item) for item in declared()}
        assert set(configured["env"]) <= {environment_variable(item) for item in declared()}
    else:
        assert set(shown) == {"id", "status", "streamId", "createdAt"}


async def test_the_call_of_the_tools_page_has_the_answer_that_it_shows(running: Server) -> None:
    call, answer = map(json.loads, blocks_of("tools", "json")[:2])
    assert (await running.ok(call["name"], **call["arguments"])).keys() == answer.keys()


def test_small_values_in_the_text_of_the_events_page_are_json() -> None:
    text = (DOCS / "events.md").read_text(encoding="utf-8")
    assert [json.loads(part) for part in re.findall(r"`(\{\".*?\})`", text)] == [
        {"omitted": 4711},
        {"redacted": True},
    ]


# --- the shell ---


async def test_every_request_that_a_page_makes_is_answered_as_described(running: Server) -> None:
    lines = "".join(blocks("sh").values()).splitlines()
    requests = [shlex.split(line)[1:] for line in lines if line.startswith("curl ")]
    assert len(requests) > 2
    async with httpx2.AsyncClient(trust_env=False, verify=False) as http:
        for words in requests:
            method, path, headers, body = parsed(words)
            url = f"http://127.0.0.1:{running.port}{path}"
            answer = await http.request(method, url, headers=headers, content=body)
            validated(method, path, answer.status_code, answer.json())
            assert answer.is_success, words


def parsed(words: list[str]) -> tuple[str, str, dict[str, str], str | None]:
    """Method, path, headers and body of what curl is asked to do."""
    options = dict(zip(words[:-1:2], words[1:-1:2], strict=True))
    url = urlsplit(words[-1])
    assert url.netloc == DEFAULT
    assert set(options) <= {"-X", "-H", "-d"}
    name, _, value = options.get("-H", "Accept: */*").partition(": ")
    path = url.path + (f"?{url.query}" if url.query else "")
    return options.get("-X", "GET"), path, {name: value}, options.get("-d")


def test_other_commands_of_the_pages_only_install() -> None:
    lines = "".join(blocks("sh").values()).splitlines()
    others = {line for line in lines if not line.startswith(("curl ", "claude mcp add "))}
    assert others == {"pipx upgrade task-copilot", "uv tool upgrade task-copilot"}


async def test_an_agent_reaches_the_tools_at_every_address_that_a_page_gives(
    running: Server,
) -> None:
    text = (DOCS / "tools.md").read_text(encoding="utf-8")
    addresses = re.findall(r'"https?://[^/"]+(/mcp[^"]*)"', text)
    assert len(addresses) == 3
    for path in set(addresses):
        async with Client(f"http://127.0.0.1:{running.port}{path}") as client:
            assert "Workspace: web-shop\n" in (client.instructions or "")
            assert len((await client.list_tools()).tools) == len(TOOLS_BY_NAME)


# --- what the pages claim ---


async def test_a_server_serves_both_documents_as_they_stand_in_docs(running: Server) -> None:
    async with httpx2.AsyncClient(trust_env=False, verify=False) as http:
        for name in ("openapi.json", "asyncapi.json"):
            answer = await http.get(f"http://127.0.0.1:{running.port}/{name}")
            assert answer.json() == json.loads((DOCS / name).read_text(encoding="utf-8"))


async def test_a_moved_repository_goes_on_where_it_is_named(tmp_path: Path) -> None:
    old, new = tmp_path / "web-shop", tmp_path / "elsewhere" / "web-shop"
    async with start_server(tmp_path, folder=old) as mcp:
        await mcp.ok("task_create", title="Kept")
    new.parent.mkdir()
    old.rename(new)
    async with start_server(tmp_path, folder=new) as mcp:
        assert "Kept" not in await mcp.text("task_list")
    async with start_server(tmp_path, folder=new, workspace="web-shop") as mcp:
        assert "Kept" in await mcp.text("task_list")


async def test_a_server_writes_only_into_its_data_directory(tmp_path: Path) -> None:
    folder = tmp_path / "project"
    mcp = server(tmp_path, folder=folder, database_url="", environment={"HOME": str(tmp_path)})
    before = names(tmp_path)
    async with mcp:
        await mcp.initialize(timeout=30)
        await mcp.ok("task_create", title="x")
        mcp.close_stdin()
        assert await mcp.wait_exit() == 0
    written = names(tmp_path) - before
    kinds = {name.partition(".")[2] for name in written if name.startswith("hub-")}
    assert kinds <= {"head", "json", "lock", "opening"}
    others = {name for name in written if not name.startswith("hub-")}
    assert others == {"data", "task-copilot", "task-copilot.db"}
    assert contents(tmp_path / "data" / "task-copilot" / "task-copilot.db")["tasks"]


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*")}


def test_the_pages_name_only_settings_that_exist() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert set(re.findall(r"\bTASK_COPILOT_\w+", text)) <= known_variables()
    assert set(re.findall(r"`(--[a-z-]+)", text)) <= options()
    for name in set(re.findall(r"`task-copilot ([a-z]+(?:-[a-z]+)*)", text)):
        assert invoked([name, "--help"], {}).exit_code == 0, name


def test_the_pages_name_only_types_of_events_that_exist() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    types = {
        shown["name"]
        for shown in asyncapi.document()["components"]["messages"]["server.event"]["examples"]
    }
    named = re.findall(r"`((?:task|stream|checkpoint)\.[a-z_]+)`", text)
    assert set(named) == types
