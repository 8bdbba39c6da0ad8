"""The process itself: several at once, how it ends, its port and its command line."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect

from e2e.raw_mcp import CLIENT_INFO, HANDSHAKE_VERSION
from e2e.servers import (
    COMMAND,
    Server,
    contents,
    events,
    free_port,
    row_counts,
    server,
    start_server,
)
from task_copilot import __version__
from task_copilot.settings import declared, environment_variable, flag
from validation import validated

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals, terminals and /proc")

ENDS_WITHIN_SECONDS = 2.0
PORTS_TRIED = 10


def run(*flags: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """The program with `flags` and no input."""
    return subprocess.run(
        [*COMMAND, *flags],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=30,
        check=False,
    )


# Several processes


async def test_processes_that_start_at_once_on_a_new_database_all_work(tmp_path: Path) -> None:
    port = free_port()

    async def one(number: int) -> list[str]:
        async with start_server(tmp_path, port=port) as mcp:
            made = [
                await mcp.ok("task_create", title=f"{number}", streamId="A"),
                await mcp.ok("task_create", title=f"{number} again"),
            ]
            await mcp.ok("task_update", id=made[0]["id"], status="completed")
            return [task["id"] for task in made]

    made = await asyncio.gather(*(one(number) for number in range(6)))
    ids = [task for tasks in made for task in tasks]
    assert sorted(ids, key=lambda task: int(task[5:])) == [f"TASK-{n}" for n in range(1, 13)]
    found = events(tmp_path / "tasks.db")
    assert [event["seq"] for event in found] == list(range(1, len(found) + 1))
    assert sum(event["eventType"] == "task.created" for event in found) == 12
    counts = row_counts(tmp_path / "tasks.db")
    assert (counts["workspaces"], counts["streams"], counts["log"]) == (1, 1, 1)
    progress = [event["data"] for event in found if event["eventType"] == "stream.progress"]
    assert (progress[-1]["totalTasks"], progress[-1]["completedTasks"]) == (6, 6)


async def test_processes_that_write_at_once_leave_no_hole_in_the_log(tmp_path: Path) -> None:
    port = free_port()

    async def one() -> None:
        async with start_server(tmp_path, port=port) as mcp:
            await asyncio.gather(*(mcp.ok("task_create", title="One") for _ in range(100)))

    async with start_server(tmp_path, port=port) as first:
        await first.ok("task_create", title="First")
        await asyncio.gather(*(one() for _ in range(3)))
    found = events(tmp_path / "tasks.db")
    assert [event["seq"] for event in found] == list(range(1, 302))
    assert len({event["data"]["taskId"] for event in found}) == 301
    assert len({event["actor"] for event in found}) == 4


async def test_what_one_process_writes_another_reads(tmp_path: Path) -> None:
    async with start_server(tmp_path) as one, start_server(tmp_path, port=one.port) as two:
        for number in range(5):
            made = await one.ok("task_create", title=f"Task {number}")
            assert (await two.ok("task_get", id=made["id"]))["title"] == f"Task {number}"
            await two.ok("task_update", id=made["id"], notes="seen")
            assert (await one.ok("task_get", id=made["id"]))["notes"] == "seen"


# The end


async def test_what_was_answered_survives_a_kill(tmp_path: Path) -> None:
    for number in range(1, 4):
        async with start_server(tmp_path) as mcp:
            made = await mcp.ok("task_create", title=f"Task {number}")
            mcp.process.kill()
            await mcp.wait_exit()
        assert made["id"] == f"TASK-{number}"
        found = contents(mcp.database)
        assert len(found["tasks"]) == number
        assert len(found["events"]) == number


@pytest.mark.parametrize(
    "end",
    [
        lambda mcp: mcp.signal(signal.SIGINT),
        lambda mcp: mcp.signal(signal.SIGTERM),
        lambda mcp: mcp.signal(signal.SIGHUP),
        lambda mcp: mcp.close_stdin(),
    ],
    ids=["SIGINT", "SIGTERM", "SIGHUP", "end of input"],
)
@pytest.mark.parametrize("used", [True, False], ids=["in use", "just started"])
async def test_a_server_ends_in_order_and_soon(
    tmp_path: Path, end: Callable[[Server], None], used: bool
) -> None:
    async with start_server(tmp_path, log_level="info") as mcp:
        if used:
            await mcp.ok("task_create", title="One")
            await mcp.served()
        started = time.monotonic()
        end(mcp)
        assert await mcp.wait_exit() == 0
        assert time.monotonic() - started < ENDS_WITHIN_SECONDS
        assert mcp.unfinished == b""
    if used:
        assert row_counts(mcp.database)["tasks"] == 1


async def test_calls_that_were_sent_before_the_end_of_input_are_answered(tmp_path: Path) -> None:
    async with start_server(tmp_path, era=None) as mcp:
        answers = [mcp.answer_to(number) for number in range(51)]
        params: dict[str, Any] = {
            "protocolVersion": HANDSHAKE_VERSION,
            "capabilities": {},
            "clientInfo": CLIENT_INFO,
        }
        messages = [("initialize", params)]
        messages += [
            ("tools/call", {"name": "task_create", "arguments": {"title": f"Task {n}"}})
            for n in range(50)
        ]
        lines = (
            json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
            for number, (method, params) in enumerate(messages)
        )
        await mcp.send("\n".join(lines).encode())
        mcp.close_stdin()
        assert await mcp.wait_exit() == 0
        assert not [answer for answer in answers if "result" not in await answer]
    assert row_counts(mcp.database)["tasks"] == 50


async def test_a_server_without_a_client_ends_with_its_input(tmp_path: Path) -> None:
    async with start_server(tmp_path, era=None) as mcp:
        mcp.close_stdin()
        assert await mcp.wait_exit() == 0
        assert mcp.stdout_lines == []
    assert not mcp.database.exists()


# The port


async def health(port: int) -> dict[str, Any]:
    def get() -> dict[str, Any]:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=10) as answer:
            found: dict[str, Any] = json.loads(answer.read())
            validated("GET", "/health", answer.status, found)
            return found

    return await asyncio.to_thread(get)


async def test_listeners_of_the_first_process_get_the_events_of_all_in_order(
    tmp_path: Path,
) -> None:
    port = free_port()
    async with start_server(tmp_path, port=port, log_level="info") as first:
        await first.served()
        async with (
            start_server(tmp_path, port=port) as second,
            connect(f"ws://127.0.0.1:{first.port}/ws", proxy=None) as events,
        ):
            request = {"type": "subscribe", "payload": {"topics": ["*"]}}
            await events.send(json.dumps(request))
            await events.recv()
            # The first process commits nothing here that would make it look at the log.
            await second.ok("task_create", title="Alone")
            async with asyncio.timeout(10):
                assert json.loads(await events.recv())["payload"]["seq"] == 1
            makers = [
                server.ok("task_create", title="One of many")
                for _ in range(50)
                for server in (first, second)
            ]
            await asyncio.gather(*makers)
            async with asyncio.timeout(20):
                seqs = [json.loads(await events.recv())["payload"]["seq"] for _ in makers]
            assert seqs == list(range(2, 102))


async def test_a_second_process_waits_and_says_who_serves_the_events(tmp_path: Path) -> None:
    async with start_server(tmp_path, log_level="info") as first:
        await first.served()
        async with start_server(tmp_path, port=first.port, log_level="info") as second:
            words = (f"process {first.process.pid}", f":{first.port};", "waits to take its place")
            await second.wait_until(lambda: all(word in second.stderr_text() for word in words))
            assert (await second.ok("task_create", title="Works"))["id"] == "TASK-1"
        assert "Works" in await first.text("task_list")
        assert (await health(first.port))["service"] == "task-copilot"


@asynccontextmanager
async def foreign_program(port: int, answer: bytes) -> AsyncIterator[None]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", port)
    try:
        yield
    finally:
        listening.close()
        await listening.wait_closed()


def http(body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body


@pytest.mark.parametrize(
    "answer",
    [
        http(b'{"status": "ok", "service": "prometheus"}'),
        http(b'["task-copilot"]'),
        b"SSH-2.0-OpenSSH\r\n",
    ],
    ids=["other service", "no object", "no HTTP"],
)
async def test_a_port_of_another_program_is_left_to_it(tmp_path: Path, answer: bytes) -> None:
    port = free_port()
    async with foreign_program(port, answer), start_server(tmp_path, port=port) as mcp:
        words = (f"Port {port} is held by another program", f"served on port {port + 1}")
        await mcp.wait_until(lambda: all(word in mcp.stderr_text() for word in words))
        await mcp.ok("task_create", title="Works")
        assert (await health(port + 1))["service"] == "task-copilot"


async def test_a_task_copilot_with_another_database_keeps_its_port(tmp_path: Path) -> None:
    async with start_server(tmp_path, log_level="info") as first:
        await first.served()
        other = tmp_path / "other.db"
        async with start_server(tmp_path, port=first.port, database=other) as second:
            await second.wait_until(
                lambda: f"served on port {first.port + 1}" in second.stderr_text()
            )
            await second.ok("task_create", title="Elsewhere")
            here, there = await asyncio.gather(health(first.port), health(first.port + 1))
            assert here["epoch"] != there["epoch"]


async def test_without_a_free_port_the_tools_work_and_it_says_what_to_set(tmp_path: Path) -> None:
    port = free_port()
    async with AsyncExitStack() as programs:
        for offset in range(PORTS_TRIED):
            await programs.enter_async_context(foreign_program(port + offset, http(b"{}")))
        mcp = await programs.enter_async_context(start_server(tmp_path, port=port))
        words = (f"ports {port} to {port + 9}", "The tools work", "TASK_COPILOT_PORT")
        await mcp.wait_until(lambda: all(word in mcp.stderr_text() for word in words))
        await mcp.ok("task_create", title="Works")


# The command line


def test_help_names_every_setting_with_its_environment_twin() -> None:
    finished = run("--help")
    assert finished.returncode == 0
    text = " ".join(finished.stdout.split())
    for declaration in declared():
        assert f" {flag(declaration)} " in text
        assert f"env var: {environment_variable(declaration)}" in text
        assert " ".join(declaration.metadata["about"].split())[:40] in text
    assert "claude mcp add task-copilot" in text
    assert finished.stderr == ""
    assert run("-h").stdout == finished.stdout


def test_help_and_errors_need_no_particular_terminal() -> None:
    finished = run("--help", LC_ALL="C", LANG="C", PYTHONUTF8="0", COLUMNS="40", TERM="dumb")
    assert finished.returncode == 0
    assert "--database-url" in finished.stdout


def test_the_version_is_said() -> None:
    assert run("--version").stdout.split()[-1] == __version__


WRONG: list[tuple[tuple[str, ...], dict[str, str], tuple[str, ...]]] = [
    (("--port", "many"), {}, ("--port", "'many'")),
    (("--port", "0"), {}, ("--port", "1<=x<=65535")),
    (("--port", "65536"), {}, ("--port", "1<=x<=65535")),
    (("--port",), {}, ("--port", "requires an argument")),
    ((), {"TASK_COPILOT_PORT": "many"}, ("TASK_COPILOT_PORT", "'many'")),
    (("--log-level", "loud"), {}, ("--log-level", "debug", "error")),
    (("--durability", "none"), {}, ("--durability", "full", "normal")),
    (("--checkpoints-kept", "0"), {}, ("--checkpoints-kept", "1<=x<=1000")),
    (("--retention-days", "-1"), {}, ("--retention-days", "0<=x<=36500")),
    (("--retention-days", "nan"), {}, ("--retention-days",)),
    (("--retention-events", "0"), {}, ("--retention-events", "1<=x<=1000000000")),
    (("--ping-interval", "often"), {}, ("--ping-interval", "'often'")),
    (("--ping-interval", "nan"), {}, ("--ping-interval",)),
    (("--listener-timeout", "inf"), {}, ("--listener-timeout",)),
    (("--nosuch",), {}, ("No such option", "--nosuch")),
    (("nosuch",), {}, ("nosuch",)),
    (("serve", "now"), {}, ("now",)),
    (("--host", "0.0.0.0", "serve"), {}, ("--host", "0.0.0.0", "127.0.0.1")),  # noqa: S104
    (("--host", "0.0.0.0"), {}, ("--host", "TASK_COPILOT_HOST", "0.0.0.0", "127.0.0.1")),  # noqa: S104
    (("--host", "::"), {}, ("--host", "reach ::,", "127.0.0.1")),
    (("--host", "192.168.1.7"), {}, ("--host", "192.168.1.7", "--auth required")),
    (("--host", "example.org"), {}, ("--host", "example.org", "127.0.0.1")),
    ((), {"TASK_COPILOT_HOST": "0.0.0.0"}, ("TASK_COPILOT_HOST", "task-copilot token")),  # noqa: S104
]


@pytest.mark.parametrize(
    ("flags", "environment", "words"),
    WRONG,
    ids=[" ".join((*flags, *environment.values())) for flags, environment, _ in WRONG],
)
def test_a_wrong_setting_is_refused_with_what_is_allowed(
    tmp_path: Path, flags: tuple[str, ...], environment: dict[str, str], words: tuple[str, ...]
) -> None:
    database = tmp_path / "tasks.db"
    url = f"sqlite:///{database}"
    finished = run(*flags, TASK_COPILOT_DATABASE_URL=url, **environment)
    assert finished.returncode == 2, finished.stderr
    text = " ".join(finished.stderr.split())
    assert [word for word in words if word not in text] == [], text
    assert "Traceback" not in text
    assert finished.stdout == ""
    assert not database.exists()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.2", "::1"])
async def test_events_are_served_on_any_loopback_address(tmp_path: Path, host: str) -> None:
    async with start_server(tmp_path, host=host, log_level="info") as mcp:
        await mcp.wait_until(lambda: "Events" in mcp.stderr_text())
        assert (await mcp.ok("task_create", title="Works"))["id"] == "TASK-1"


async def test_a_flag_wins_over_its_environment_twin(tmp_path: Path) -> None:
    command = (*COMMAND, "--agent", "from the flag", "--workspace", "flagged")
    async with start_server(
        tmp_path, command=command, agent="from the environment", workspace="not this"
    ) as mcp:
        await mcp.ok("task_create", title="One")
        assert (await mcp.text("task_list")).startswith("flagged: ")
    assert events(mcp.database)[0]["actor"] == "from the flag"


# Stray output


SITE = """
import atexit
print("stray at import")
atexit.register(print, "stray at exit")
"""


@pytest.mark.parametrize("last", ["end of input", "SIGTERM"])
async def test_what_other_code_prints_never_reaches_the_client(tmp_path: Path, last: str) -> None:
    (tmp_path / "sitecustomize.py").write_text(SITE)
    environment = {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    mcp = server(tmp_path, environment=environment)
    async with mcp:
        await mcp.initialize()
        await mcp.ok("task_create", title="One")
        if last == "SIGTERM":
            mcp.signal(signal.SIGTERM)
        else:
            mcp.close_stdin()
        assert await mcp.wait_exit() == 0
    assert "stray at import" in mcp.stderr_text()
    assert "stray" not in "".join(mcp.stdout_lines)
    assert mcp.unfinished == b""
    assert len(mcp.messages) == 2
