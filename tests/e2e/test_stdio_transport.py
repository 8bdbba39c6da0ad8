"""The stdio transport seen from outside: a server program on it, and what clients may do to it."""

import asyncio
import json
import os
import pty
import random
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import mcp_types as types
import pytest
import pytest_asyncio
from mcp import Client
from mcp.client.stdio import StdioServerParameters

from e2e.raw_mcp import (
    CLIENT_INFO,
    HANDSHAKE_VERSION,
    MODERN_META,
    RawMcp,
    RawMcpError,
    envelope,
    result_of,
)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals, terminals and /proc")

ROOT = Path(__file__).resolve().parents[2]
SERVER = [sys.executable, str(Path(__file__).with_name("stdio_echo_server.py"))]
# Unbuffered output would hide what buffered output does.
ENVIRONMENT = {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": ""}
PARSE_ERROR, INVALID_REQUEST, INVALID_PARAMS = -32700, -32600, -32602
INTERNAL_ERROR, CONNECTION_CLOSED, UNSUPPORTED_VERSION = -32603, -32000, -32022
INITIALIZE: dict[str, Any] = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": HANDSHAKE_VERSION,
        "capabilities": {},
        "clientInfo": CLIENT_INFO,
    },
}


def serving(**environment: str) -> RawMcp:
    return RawMcp(SERVER, ENVIRONMENT | environment)


@pytest.fixture
async def mcp() -> AsyncIterator[RawMcp]:
    async with serving() as raw:
        yield raw


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared() -> AsyncIterator[RawMcp]:
    """One server, after the handshake, for all the lines that must not leave a trace in it."""
    async with serving(STDIO_MAX_LINE="200000") as raw:
        await raw.initialize()
        yield raw


def call(request_id: int | str, tool: str, **arguments: object) -> dict[str, Any]:
    params = {"name": tool, "arguments": arguments}
    return {"jsonrpc": "2.0", "id": request_id, "method": "tools/call", "params": params}


def jsonl(*messages: object) -> bytes:
    return b"".join(json.dumps(message).encode() + b"\n" for message in messages)


def by_id(output: bytes) -> dict[Any, dict[str, Any]]:
    answers = [json.loads(line) for line in output.splitlines()]
    assert len({answer["id"] for answer in answers}) == len(answers)
    return {answer["id"]: answer for answer in answers}


def text_of(result: dict[str, Any]) -> str:
    text: str = result["content"][0]["text"]
    return text


async def ask(mcp: RawMcp, line: object, request_id: int | str) -> dict[str, Any]:
    answer = mcp.answer_to(request_id)
    await mcp.send(line)
    return await asyncio.wait_for(answer, 10)


async def answers_up_to_a_ping(mcp: RawMcp, *lines: bytes) -> list[dict[str, Any]]:
    """What the server writes for `lines` that need no work beyond the transport."""
    before = len(mcp.messages)
    for line in lines:
        await mcp.send(line)
    ping = await ask(mcp, {**json.loads(VALID), "id": f"ping {before}"}, f"ping {before}")
    assert ping["result"] == {}
    return [message for message in mcp.messages[before:] if message != ping]


def run(data: bytes, **environment: str) -> "subprocess.CompletedProcess[bytes]":
    """Run the server with `data` as the whole of its input."""
    return subprocess.run(
        SERVER,
        input=data,
        capture_output=True,
        env=os.environ | ENVIRONMENT | environment,
        timeout=30,
        check=False,
    )


def peak_memory(process_id: int) -> int:
    status = Path(f"/proc/{process_id}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found
    return int(found.group(1)) << 10


# Eras and server/discover


async def test_discover_is_answered_like_the_sdk_answers_it(mcp: RawMcp) -> None:
    async with serving(STDIO_STOCK="1") as stock:
        expected = await stock.modern("server/discover")
    assert await mcp.modern("server/discover") == expected


@pytest.mark.parametrize(
    "params",
    [
        {"_meta": MODERN_META | {"io.modelcontextprotocol/protocolVersion": "2099-01-01"}},
        {"_meta": MODERN_META | {"io.modelcontextprotocol/protocolVersion": 7}},
        {"_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}},
        envelope() | {"_meta": MODERN_META | {"io.modelcontextprotocol/clientCapabilities": 7}},
    ],
    ids=["unknown version", "version no string", "no capabilities", "capabilities no object"],
)
async def test_discover_with_a_bad_envelope_gets_the_error_of_the_sdk(
    mcp: RawMcp, params: dict[str, Any]
) -> None:
    async with serving(STDIO_STOCK="1") as stock:
        await stock.modern("tools/list")
        expected = await stock.request("server/discover", params)
    answer = await ask(mcp, {**expected, "method": "server/discover", "params": params}, 2)
    assert answer == expected
    assert answer["error"]["code"] in {UNSUPPORTED_VERSION, INVALID_PARAMS}
    assert (await mcp.initialize())["protocolVersion"] == HANDSHAKE_VERSION


async def test_discover_that_names_no_version_is_answered(mcp: RawMcp) -> None:
    result = result_of(await mcp.request("server/discover"))
    assert result["supportedVersions"] == ["2026-07-28"]


async def test_the_handshake_works_after_any_number_of_discovers(mcp: RawMcp) -> None:
    first = result_of(await mcp.modern("server/discover"))
    second = result_of(await mcp.modern("server/discover"))
    assert (await mcp.initialize())["protocolVersion"] == HANDSHAKE_VERSION
    assert text_of(await mcp.call("echo", {"text": "between"})) == "between"
    third = result_of(await mcp.request("server/discover", envelope()))
    assert first == second == third
    assert text_of(await mcp.call("echo", {"text": "after"})) == "after"


async def test_modern_requests_work_before_between_and_after_discovers(mcp: RawMcp) -> None:
    for _ in range(2):
        assert text_of(result_of(await modern_echo(mcp, "modern"))) == "modern"
        assert "result" in await mcp.modern("server/discover")
    assert text_of(result_of(await modern_echo(mcp, "modern"))) == "modern"


async def test_modern_requests_work_after_discover_alone(mcp: RawMcp) -> None:
    assert "result" in await mcp.modern("server/discover")
    assert text_of(result_of(await modern_echo(mcp, "modern"))) == "modern"


async def test_the_handshake_works_without_discover(mcp: RawMcp) -> None:
    await mcp.initialize()
    assert text_of(await mcp.call("echo", {"text": "legacy"})) == "legacy"


async def test_pipelined_messages_are_answered_as_if_sent_one_by_one(mcp: RawMcp) -> None:
    answers = [mcp.answer_to(number) for number in (1, 2, 3)]
    discover = {"jsonrpc": "2.0", "id": 2, "method": "server/discover", "params": envelope()}
    await mcp.send(jsonl(discover, INITIALIZE, call(3, "echo", text="pipelined")))
    _, _, echoed = await asyncio.wait_for(asyncio.gather(*answers), 10)
    assert text_of(echoed["result"]) == "pipelined"


async def modern_echo(mcp: RawMcp, text: str) -> dict[str, Any]:
    return await mcp.modern("tools/call", {"name": "echo", "arguments": {"text": text}})


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_client_of_the_sdk_works(mode: Any) -> None:
    parameters = StdioServerParameters(command=SERVER[0], args=SERVER[1:], env=ENVIRONMENT)
    async with Client(parameters, mode=mode, read_timeout_seconds=20) as client:
        results = await asyncio.gather(
            *(client.call_tool("echo", {"text": f"text {n}"}) for n in range(20))
        )
        await client.call_tool("noisy", {})
        assert len((await client.list_tools()).tools) > 5
    contents = [result.content[0] for result in results]
    assert [isinstance(c, types.TextContent) and c.text for c in contents] == [
        f"text {n}" for n in range(20)
    ]


# Slow starts


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    path = tmp_path / "gate"
    os.mkfifo(path)
    return path


async def test_messages_sent_before_the_server_reads_are_kept(gate: Path) -> None:
    async with serving(STDIO_GATE=str(gate)) as mcp:
        answers = [mcp.answer_to(number) for number in range(1, 3002)]
        calls = [call(number, "echo", text="x" * 500) for number in range(2, 3002)]
        # More than pipe and queue hold: the sender is stopped until the gate opens.
        sender = asyncio.create_task(mcp.send(jsonl(INITIALIZE, *calls)))
        await mcp.wait_until(lambda: "ready" in mcp.stderr_text())
        assert not mcp.messages
        await asyncio.to_thread(gate.write_bytes, b"open")
        await asyncio.wait_for(asyncio.gather(sender, *answers), 60)
    assert len(mcp.messages) == 3001


async def test_discover_is_answered_before_the_server_reads(gate: Path) -> None:
    async with serving(STDIO_GATE=str(gate)) as mcp:
        assert "result" in await mcp.modern("server/discover")
        answer = mcp.answer_to(10)
        await mcp.send(call(10, "echo", text="kept") | {"params": envelope({"name": "echo"})})
        assert "result" in await mcp.modern("server/discover")
        await asyncio.to_thread(gate.write_bytes, b"open")
        assert "result" in await asyncio.wait_for(answer, 10)


async def test_the_first_answer_is_announced() -> None:
    async with serving(STDIO_ANNOUNCE_FIRST_ANSWER="1") as mcp:
        await mcp.wait_until(lambda: "ready" in mcp.stderr_text())
        assert "first answer" not in mcp.stderr_text()
        await mcp.modern("server/discover")
        await mcp.wait_until(lambda: "first answer" in mcp.stderr_text())
        await mcp.initialize()


# The end


async def test_requests_in_flight_at_the_end_of_input_are_answered(mcp: RawMcp) -> None:
    await mcp.initialize()
    answers = [mcp.answer_to(number) for number in (10, 11, 12)]
    await mcp.send(jsonl(call(10, "slow"), call(11, "echo", text="last"), call(12, "release")))
    mcp.close_stdin()
    slow, echoed, _ = await asyncio.wait_for(asyncio.gather(*answers), 10)
    assert text_of(slow["result"]) == "released"
    assert text_of(echoed["result"]) == "last"
    assert await mcp.wait_exit() == 0


def test_a_piped_script_gets_all_its_answers() -> None:
    lines = jsonl(INITIALIZE, *(call(number, "echo", text="x") for number in range(2, 100)))
    finished = run(lines.rstrip(b"\n"))
    assert finished.returncode == 0
    assert sorted(by_id(finished.stdout)) == list(range(1, 100))
    assert b"Traceback" not in finished.stderr


def test_no_input_at_all_is_the_end() -> None:
    finished = run(b"")
    assert (finished.returncode, finished.stdout) == (0, b"")


def test_a_stuck_request_ends_with_the_connection_after_the_drain_time() -> None:
    finished = run(jsonl(INITIALIZE, call(2, "slow")), STDIO_DRAIN="0.2")
    assert finished.returncode == 0
    assert by_id(finished.stdout)[2]["error"]["code"] == CONNECTION_CLOSED


async def test_a_cancelled_request_does_not_delay_the_end(mcp: RawMcp) -> None:
    await mcp.initialize()
    await mcp.send(call(10, "slow"))
    await mcp.wait_until(lambda: "slow has started" in mcp.stderr_text())
    await mcp.notify("notifications/cancelled", {"requestId": 10})
    mcp.close_stdin()
    assert await mcp.wait_exit(5) == 0
    assert 10 not in [message.get("id") for message in mcp.messages]


async def test_an_open_subscription_does_not_delay_the_end(mcp: RawMcp) -> None:
    params = envelope({"notifications": {"toolsListChanged": True}})
    message = {"jsonrpc": "2.0", "id": 10, "method": "subscriptions/listen", "params": params}
    await mcp.send(message)
    await mcp.wait_until(lambda: "listening" in mcp.stderr_text())
    mcp.close_stdin()
    assert await mcp.wait_exit(5) == 0
    assert [message["id"] for message in mcp.messages] == [10]


async def test_a_signal_ends_the_server_while_a_request_is_stuck(mcp: RawMcp) -> None:
    await mcp.initialize()
    answer = mcp.answer_to(10)
    await mcp.send(call(10, "slow"))
    await mcp.wait_until(lambda: "slow has started" in mcp.stderr_text())
    mcp.signal(signal.SIGTERM)
    assert await mcp.wait_exit(5) == 0
    assert (await answer)["error"]["code"] == CONNECTION_CLOSED
    assert "served" in mcp.stderr_text()


async def test_a_signal_ends_an_idle_server(mcp: RawMcp) -> None:
    await mcp.wait_until(lambda: "ready" in mcp.stderr_text())
    mcp.signal(signal.SIGTERM)
    assert await mcp.wait_exit(5) == 0


async def test_a_signal_cuts_the_drain_short(mcp: RawMcp) -> None:
    await mcp.initialize()
    await mcp.send(call(10, "slow"))
    mcp.close_stdin()
    await mcp.wait_until(lambda: "slow has started" in mcp.stderr_text())
    mcp.signal(signal.SIGTERM)
    assert await mcp.wait_exit(5) == 0


async def test_a_signal_ends_a_server_whose_client_does_not_read() -> None:
    async with serving() as mcp:
        await mcp.initialize()
        mcp.pause()
        await mcp.send(call(10, "big", size=4 << 20))
        await settled_big_calls(mcp)
        mcp.signal(signal.SIGTERM)
        await mcp.wait_until(lambda: "served" in mcp.stderr_text(), 5)
        assert "answers unread" in mcp.stderr_text()
        mcp.resume()
        assert await mcp.wait_exit() == 0
        assert mcp.unfinished


async def test_a_client_that_closes_stdout_ends_an_idle_server(mcp: RawMcp) -> None:
    await mcp.initialize()
    mcp.close_stdout()
    assert await mcp.wait_exit(5) == 0
    assert "Traceback" not in mcp.stderr_text()


async def test_a_client_that_closes_stdout_with_requests_in_flight_ends_the_server() -> None:
    async with serving() as mcp:
        await mcp.initialize()
        mcp.pause()
        await mcp.send(jsonl(call(10, "slow"), *(call(n, "big", size=1 << 20) for n in (11, 12))))
        await settled_big_calls(mcp)
        mcp.close_stdout()
        await mcp.wait_until(lambda: "served" in mcp.stderr_text(), 5)
        mcp.resume()
        assert await mcp.wait_exit() == 0
        assert "Traceback" not in mcp.stderr_text()


def test_a_full_disk_behind_stdout_ends_the_server_with_a_message() -> None:
    with Path("/dev/full").open("wb") as full:
        finished = subprocess.run(
            SERVER,
            input=jsonl(INITIALIZE),
            stdout=full,
            stderr=subprocess.PIPE,
            env=os.environ | ENVIRONMENT,
            timeout=30,
            check=False,
        )
    assert finished.returncode == 0
    assert b"No space left" in finished.stderr
    assert b"Traceback" not in finished.stderr


# What stdin and stdout may be


def test_files_work_as_stdin_and_stdout(tmp_path: Path) -> None:
    requests, answers = tmp_path / "requests.jsonl", tmp_path / "answers.jsonl"
    discover = {"jsonrpc": "2.0", "id": "d", "method": "server/discover", "params": envelope()}
    calls = [call(number, "echo", text="x" * 1000) for number in range(2, 1000)]
    requests.write_bytes(jsonl(discover, INITIALIZE, *calls, discover | {"id": "e"}) + b"{bad")
    with requests.open("rb") as stdin, answers.open("wb") as stdout:
        code = subprocess.run(
            SERVER,
            stdin=stdin,
            stdout=stdout,
            env=os.environ | ENVIRONMENT,
            timeout=30,
            check=False,
        ).returncode
    answered = by_id(answers.read_bytes())
    assert code == 0
    assert set(answered) == {"d", "e", None, *range(1, 1000)}
    assert answered[None]["error"]["code"] == PARSE_ERROR


def test_the_null_device_as_stdin_is_the_end_of_input() -> None:
    finished = subprocess.run(
        SERVER,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=os.environ | ENVIRONMENT,
        timeout=30,
        check=False,
    )
    assert (finished.returncode, finished.stdout) == (0, b"")
    assert b"Traceback" not in finished.stderr


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_do_no_harm(closed: str) -> None:
    finished = subprocess.run(
        ["/bin/sh", "-c", f'exec "$@" {closed}', "sh", *SERVER],
        input=jsonl(INITIALIZE, call(2, "echo")),
        capture_output=True,
        env=os.environ | ENVIRONMENT,
        timeout=30,
        check=False,
    )
    assert b"Traceback" not in finished.stderr
    if closed == "2>&-":
        assert sorted(by_id(finished.stdout)) == [1, 2]
    else:
        assert finished.stdout == b""


def test_a_terminal_works_and_is_left_as_it_was() -> None:
    terminal, server_side = pty.openpty()
    with subprocess.Popen(
        SERVER, stdin=server_side, stdout=server_side, stderr=subprocess.DEVNULL,
        env=os.environ | ENVIRONMENT,
    ) as process:  # fmt: skip
        os.write(terminal, jsonl(INITIALIZE))
        seen = b""
        while b'"result"' not in seen:
            seen += os.read(terminal, 1 << 16)
        assert os.get_blocking(server_side)
        os.write(terminal, b"\x04")
        assert process.wait(10) == 0
    os.close(terminal)
    os.close(server_side)


def socket_conversation(stdin: socket.socket, stdout: socket.socket, client: socket.socket) -> None:
    """Have the server answer over sockets, `client` being the end to read from."""
    client.settimeout(20)
    with subprocess.Popen(
        SERVER,
        stdin=stdin.fileno(),
        stdout=stdout.fileno(),
        stderr=subprocess.DEVNULL,
        env=os.environ | ENVIRONMENT,
    ) as process:
        stdin.close()
        stdout.close()
        with client.makefile("rb") as answers:
            assert json.loads(answers.readline())["id"] == 1
            assert text_of(json.loads(answers.readline())["result"]) == "x" * 500_000
        with suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)
        client.close()
        assert process.wait(10) == 0


def test_sockets_work_even_half_closed_like_those_of_some_clients() -> None:
    to_server, stdin = socket.socketpair()
    client, stdout = socket.socketpair()
    client.shutdown(socket.SHUT_WR)
    stdin.shutdown(socket.SHUT_WR)
    with to_server:
        to_server.sendall(jsonl(INITIALIZE, call(2, "big", size=500_000)))
        to_server.shutdown(socket.SHUT_WR)
        socket_conversation(stdin, stdout, client)


def test_one_socket_works_as_stdin_and_stdout() -> None:
    client, both = socket.socketpair()
    client.sendall(jsonl(INITIALIZE, call(2, "big", size=500_000)))
    socket_conversation(both, both.dup(), client)


def test_a_pipe_is_left_in_blocking_mode() -> None:
    read_end, write_end = os.pipe()
    process = subprocess.run(
        SERVER,
        input=jsonl(INITIALIZE),
        stdout=write_end,
        stderr=subprocess.DEVNULL,
        env=os.environ | ENVIRONMENT,
        timeout=30,
        check=False,
    )
    assert process.returncode == 0
    assert os.get_blocking(write_end)
    os.close(write_end)
    os.close(read_end)


# Stray output


async def test_stray_output_of_a_tool_goes_to_stderr(mcp: RawMcp) -> None:
    await mcp.initialize()
    assert text_of(await mcp.call("noisy")) == "the child read b''"
    strays = ["print", "flushed print", "original stdout", "os.write", "child"]
    await mcp.wait_until(lambda: all(f"stray {s}" in mcp.stderr_text() for s in strays))
    assert "stray" not in "".join(mcp.stdout_lines)


def test_buffered_output_goes_to_stderr_also_at_exit() -> None:
    finished = run(jsonl(INITIALIZE), STDIO_PRINT_AT_EXIT="1")
    assert list(by_id(finished.stdout)) == [1]
    for stray in (b"buffered before", b"buffered at exit", b"printed at exit"):
        assert stray in finished.stderr


# Lines that are no valid message

VALID = '{"jsonrpc":"2.0","id":7,"method":"ping"}'
BAD_LINES: list[tuple[str, bytes, Any, int, str]] = [
    ("words", b"hello", None, PARSE_ERROR, "not JSON at character 1"),
    ("cut off", b'{"jsonrpc":"2.0","id":7,"method":"pi', 7, PARSE_ERROR, "not JSON"),
    ("cut off, text id", b'{"id":"a\\"b","method":', 'a"b', PARSE_ERROR, "not JSON"),
    ("cut off before the id", b'{"jsonrpc":"2.0","method":"pi', None, PARSE_ERROR, "not JSON"),
    ("cut off in the id", b'{"jsonrpc":"2.0","id":"7', None, PARSE_ERROR, "not JSON"),
    ("id at the end", b'{"params":{"id":5,}, "jsonrpc":"2.0","id":7}', 7, PARSE_ERROR, "not JSON"),
    ("id of an argument", b'{"params":{"id":7,"a":[{"id":8}', None, PARSE_ERROR, "not JSON"),
    ("a text that is id", b'{"method":"id","params":[,]}', None, PARSE_ERROR, "not JSON"),
    ("fraction as id", b'{"id":7.5,"method":]}', None, PARSE_ERROR, "not JSON"),
    ("bad escape", b'{"id":7,"method":"a\\x"}', 7, PARSE_ERROR, "not JSON"),
    ("trailing text", VALID.encode() + b" x", 7, PARSE_ERROR, "not JSON"),
    ("two messages", (VALID + VALID).encode(), 7, PARSE_ERROR, "not JSON"),
    ("not UTF-8", b'{"jsonrpc":"2.0","id":7,"method":"\xff"}', 7, PARSE_ERROR, "byte 35"),
    ("a surrogate in bytes", b'{"id":7,"method":"\xed\xa0\x80"}', 7, PARSE_ERROR, "not UTF-8"),
    ("UTF-16", VALID.encode("utf-16"), None, PARSE_ERROR, "not UTF-8 at byte 1"),
    ("NUL", b"\0", None, PARSE_ERROR, "not JSON"),
    ("digits", b'{"id":7,"params":{"n":' + b"9" * 5000 + b"}}", 7, PARSE_ERROR, "digits"),
    ("nested", b'{"id":7,"params":' + b"[" * 5000 + b"]" * 5000 + b"}", 7, PARSE_ERROR, "deeper"),
    ("nested 920", b'{"params":' + b"[" * 920 + b"]" * 920 + b"}", None, PARSE_ERROR, "deep"),
    ("open brackets", b"[" * 100_000, None, PARSE_ERROR, "deeper than 900"),
    ("quotes", b'"\\' * 60_000, None, PARSE_ERROR, "not JSON"),
    ("batch", f"[{VALID}]".encode(), None, INVALID_REQUEST, "batches are not supported"),
    ("empty batch", b"[]", None, INVALID_REQUEST, "batches are not supported"),
    ("number", b"7", None, INVALID_REQUEST, "must be a JSON object"),
    ("text", b'"ping"', None, INVALID_REQUEST, "must be a JSON object"),
    ("null", b"null", None, INVALID_REQUEST, "must be a JSON object"),
    ("empty object", b"{}", None, INVALID_REQUEST, '"jsonrpc" must be "2.0"'),
    ("old JSON-RPC", b'{"id":7,"method":"ping"}', 7, INVALID_REQUEST, '"jsonrpc" must be'),
    ("no method", b'{"jsonrpc":"2.0","id":7}', 7, INVALID_REQUEST, '"method" must be a string'),
    ("method 5", b'{"jsonrpc":"2.0","id":7,"method":5}', 7, INVALID_REQUEST, '"method" must be'),
    (
        "list of params",
        b'{"jsonrpc":"2.0","id":7,"method":"ping","params":[1]}',
        7,
        INVALID_REQUEST,
        '"params" must be an object',
    ),
    (
        "notification with a list of params",
        b'{"jsonrpc":"2.0","method":"notifications/initialized","params":[1]}',
        None,
        INVALID_REQUEST,
        '"params" must be an object',
    ),
    ("null id", VALID.replace("7", "null").encode(), None, INVALID_REQUEST, '"id" must be'),
    ("id true", VALID.replace("7", "true").encode(), None, INVALID_REQUEST, '"id" must be'),
    ("id list", VALID.replace("7", "[7]").encode(), None, INVALID_REQUEST, '"id" must be'),
    ("id 7.5", VALID.replace("7", "7.5").encode(), 7.5, INVALID_REQUEST, '"id" must be'),
    ("id infinite", VALID.replace("7", "1e999").encode(), None, INVALID_REQUEST, '"id" must be'),
    (
        "surrogate in the id",
        VALID.replace("7", '"\\ud800"').encode(),
        "\ud800",
        INVALID_REQUEST,
        'a lone surrogate \\ud800 in "id"',
    ),
    (
        "surrogate in the method",
        VALID.replace("ping", "\\udfff").encode(),
        7,
        INVALID_REQUEST,
        'a lone surrogate \\udfff in "method"',
    ),
    ("bad response", b'{"jsonrpc":"2.0","id":7,"result":5}', None, INVALID_REQUEST, '"result"'),
    ("bad error", b'{"jsonrpc":"2.0","id":7,"error":5}', None, INVALID_REQUEST, '"error"'),
    (
        "too long",
        b'{"jsonrpc":"2.0","id":7,"method":"ping","params":{"a":"' + b"x" * 300_000 + b'"}}',
        7,
        PARSE_ERROR,
        "longer than 200000 bytes",
    ),
    (
        "too long, id at the end",
        b'{"method":"ping","params":{"a":"' + b"x" * 300_000 + b'"},"jsonrpc":"2.0","id":"z"}',
        "z",
        PARSE_ERROR,
        "longer than 200000 bytes",
    ),
    ("too long, no JSON", b"x" * 500_000, None, PARSE_ERROR, "longer than 200000 bytes"),
]


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("line", "request_id", "code", "message"),
    [bad[1:] for bad in BAD_LINES],
    ids=[bad[0] for bad in BAD_LINES],
)
async def test_a_bad_line_gets_one_error_with_its_id_if_that_can_be_read(
    shared: RawMcp, line: bytes, request_id: object, code: int, message: str
) -> None:
    (answer,) = await answers_up_to_a_ping(shared, line)
    assert set(answer) == {"jsonrpc", "id", "error"}
    assert (answer["id"], answer["error"]["code"]) == (request_id, code)
    assert message in answer["error"]["message"]
    assert len(answer["error"]["message"]) < 100


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("line", [b"", b"\r", b"  \t"], ids=["empty", "CR", "spaces"])
async def test_a_blank_line_is_ignored(shared: RawMcp, line: bytes) -> None:
    assert await answers_up_to_a_ping(shared, line) == []


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    "line",
    [
        b'{"jsonrpc":"2.0","method":"notifications/none"}',
        b'{"jsonrpc":"2.0","id":99,"result":{}}',
        b'{"jsonrpc":"2.0","id":99,"error":{"code":1,"message":"no"}}',
    ],
    ids=["notification", "response", "error"],
)
async def test_a_message_that_wants_no_answer_gets_none(shared: RawMcp, line: bytes) -> None:
    assert await answers_up_to_a_ping(shared, line) == []


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    "line",
    [
        VALID.encode() + b"\r\n",
        b"\xef\xbb\xbf" + VALID.encode(),
        b" " + VALID.encode() + b" ",
        VALID.replace("7", '7,"params":null').encode(),
        VALID.replace("7", '7,"result":{}').encode(),
    ],
    ids=["CRLF", "byte order mark", "spaces", "null params", "also a result"],
)
async def test_a_line_that_is_merely_unusual_is_served(shared: RawMcp, line: bytes) -> None:
    (answer,) = await answers_up_to_a_ping(shared, line)
    assert answer == {"jsonrpc": "2.0", "id": 7, "result": {}}


@pytest.mark.asyncio(loop_scope="module")
async def test_a_lone_surrogate_in_an_argument_reaches_the_tool(shared: RawMcp) -> None:
    answer = await ask(shared, call("s", "inspect", text="a \ud800"), "s")
    assert text_of(answer["result"]) == "depth 0 text 'a \\ud800'"


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("depth", [150, 250, 890])
async def test_a_deeply_nested_argument_reaches_the_tool(shared: RawMcp, depth: int) -> None:
    nested = "[" * depth + "]" * depth
    line = json.dumps(call("n", "inspect", nested=0)).replace("0}", nested + "}")
    answer = await ask(shared, line.encode(), "n")
    assert text_of(answer["result"]) == f"depth {depth} text None"


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("tool", "text", "code"),
    [
        ("surrogate", "", INTERNAL_ERROR),
        ("echo", "\udcff", INTERNAL_ERROR),
        ("fail", "\udcff", INTERNAL_ERROR),
        ("fail", "T-1", 0),
    ],
)
async def test_an_answer_that_is_no_text_for_json_is_replaced_by_an_error(
    shared: RawMcp, tool: str, text: str, code: int
) -> None:
    answer = await ask(shared, call("t", tool, text=text), "t")
    assert answer["error"]["code"] == code
    await shared.wait_until(lambda: "Traceback" in shared.stderr_text())
    assert text_of(await shared.call("echo", {"text": "after"})) == "after"


@pytest.mark.asyncio(loop_scope="module")
async def test_a_method_that_does_not_exist_is_answered_by_the_server(shared: RawMcp) -> None:
    with pytest.raises(RawMcpError, match="-32601"):
        result_of(await shared.request("no/such"))


async def test_a_line_without_end_costs_no_memory(mcp: RawMcp) -> None:
    await mcp.initialize()
    before = peak_memory(mcp.process.pid)
    piece = b"x" * (1 << 20)
    assert mcp.process.stdin
    for _ in range(200):
        mcp.process.stdin.write(piece)
        await mcp.process.stdin.drain()
    (answer,) = await answers_up_to_a_ping(mcp, b"\n")
    assert answer["error"]["message"] == f"a line longer than {64 << 20} bytes"
    # The bytes of a line up to the limit, twice while the buffer grows.
    assert peak_memory(mcp.process.pid) - before < 160 << 20


async def test_a_line_of_several_megabytes_is_served(mcp: RawMcp) -> None:
    await mcp.initialize()
    text = "é" * (5 << 20)
    assert text_of(await mcp.call("echo", {"text": text}, timeout=30)) == text


# Mutations

SEEDS = [
    VALID,
    json.dumps(call(7, "echo", text="a text")),
    json.dumps(call("x-7", "inspect", nested=[[["a"]]], text="é \ud83d\ude00 \\ud800")),
    '{"method":"tools/list","params":{},"jsonrpc":"2.0","id":12}',
]
PIECES = [*(bytes([byte]) for byte in b'"\\{}[],:0\xff\0'), b"\\ud800", b"null"]


def mutate(rng: random.Random, line: bytes) -> bytes:
    for _ in range(rng.randint(1, 3)):
        start = rng.randrange(len(line) + 1)
        end = min(len(line), start + rng.choice([0, 1, 1, 2, 8]))
        random_byte, doubled = bytes([rng.randrange(256)]), line[start:end] * 2
        middle = rng.choice([b"", rng.choice(PIECES), random_byte, doubled])
        line = line[:start] + middle + line[end:]
    return line.replace(b"\n", b" ")


def answers_due(line: bytes) -> int:
    """Return 0 for blank lines, and for well-formed notifications and responses."""
    if not line.strip():
        return 0
    with suppress(ValueError, RecursionError):
        value = json.loads(line.decode("utf-8-sig"))
        if isinstance(value, dict) and not ("method" in value and "id" in value):
            with suppress(ValueError):
                message = types.jsonrpc_message_adapter.validate_python(value, by_name=False)
                return int(isinstance(message, types.JSONRPCRequest))
    return 1


async def test_every_mutation_of_a_valid_line_gets_exactly_one_answer(mcp: RawMcp) -> None:
    await mcp.initialize()
    rng = random.Random(20261122)
    due = len(mcp.messages)
    for number in range(300):
        line = mutate(rng, rng.choice(SEEDS).encode())
        due += answers_due(line) + 1
        ping = await ask(
            mcp, line + b"\n" + jsonl({**json.loads(VALID), "id": f"p{number}"}), f"p{number}"
        )
        assert ping["result"] == {}, line
        await mcp.wait_until(lambda due=due: len(mcp.messages) >= due)  # type: ignore[misc]
        assert len(mcp.messages) == due, line
    mcp.close_stdin()
    assert await mcp.wait_exit() == 0
    assert len(mcp.messages) == due


# Load


async def test_two_hundred_requests_at_once_are_all_answered(mcp: RawMcp) -> None:
    await mcp.initialize()
    results = await asyncio.gather(*(mcp.call("echo", {"text": str(n)}) for n in range(200)))
    assert [text_of(result) for result in results] == [str(n) for n in range(200)]


async def test_more_requests_than_may_be_in_flight_are_all_answered(mcp: RawMcp) -> None:
    await mcp.initialize()
    calls = [call(f"s{number}", "slow") for number in range(1000)]
    answers = [mcp.answer_to(f"s{number}") for number in range(1000)]
    await mcp.send(jsonl(*calls, call("r", "release"), *calls))
    await asyncio.wait_for(asyncio.gather(*answers), 30)
    # The second thousand carries the same ids.
    await mcp.wait_until(lambda: len(mcp.messages) == 2002, 30)


async def test_requests_with_the_same_id_at_once_are_both_answered(mcp: RawMcp) -> None:
    await mcp.initialize()
    await mcp.send(jsonl(call(10, "slow"), call(10, "slow"), call(11, "release")))
    await mcp.wait_until(lambda: len(mcp.messages) == 4)
    mcp.close_stdin()
    assert await mcp.wait_exit(5) == 0


async def settled_big_calls(mcp: RawMcp) -> int:
    """Return how many `big` calls have run once that number stands still over many turns."""

    def reports() -> list[int]:
        return [int(made) for made in re.findall(r"made (\d+) big", mcp.stderr_text())]

    while len(reports()) < 30 or len({0, *reports()[-30:]}) != 2:
        count = len(reports()) + 1
        mcp.signal(signal.SIGUSR1)
        await mcp.wait_until(lambda count=count: len(reports()) >= count)  # type: ignore[misc]
    return reports()[-1]


async def test_a_client_that_does_not_read_stops_the_server_and_gets_all_later() -> None:
    async with serving() as mcp:
        await mcp.initialize()
        before = peak_memory(mcp.process.pid)
        mcp.pause()
        answers = [mcp.answer_to(number) for number in range(10, 410)]
        await mcp.send(jsonl(*(call(number, "big", size=60_000) for number in range(10, 410))))
        assert await settled_big_calls(mcp) < 40
        mcp.resume()
        results = await asyncio.wait_for(asyncio.gather(*answers), 30)
        assert peak_memory(mcp.process.pid) - before < 12 << 20
    assert all(len(text_of(answer["result"])) == 60_000 for answer in results)


@pytest.fixture(autouse=True)
def no_traces() -> Iterator[None]:
    """Fail a test that leaves the standard streams of the test process changed."""
    yield
    assert os.get_blocking(0)
