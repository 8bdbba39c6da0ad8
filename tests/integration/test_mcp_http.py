"""MCP over HTTP: both eras, workspaces, rights, callers, and what is refused, over a real hub."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client as McpClient
from mcp.client.streamable_http import streamable_http_client
from starlette.types import ASGIApp, Receive, Scope, Send

from e2e.raw_mcp import CLIENT_INFO, HANDSHAKE_VERSION, MODERN_VERSION, envelope
from e2e.servers import opened
from integration.test_websocket import LIMIT_SECONDS, Client, Running, running
from task_copilot.client.options import Options
from task_copilot.clock import system_clock
from task_copilot.identity import ANYBODY, IN_SCOPE, READ, WRITE, Identity
from task_copilot.mcp_http import McpEndpoint, Parts
from task_copilot.testing import MemoryServer
from task_copilot.tools.values import MAX_JSON_TEXT
from validation import validated

JSON_HEADERS = {
    "content-type": "application/json",
    "accept": "application/json, text/event-stream",
}
ERAS = {"legacy": HANDSHAKE_VERSION, "auto": MODERN_VERSION}
MAX_INSTRUCTIONS = 2_000


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path) as found:
        yield found


@pytest.fixture(params=ERAS)
def era(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def in_era(
    era: str, method: str, params: dict[str, Any] | None = None
) -> tuple[dict[str, str], dict[str, Any]]:
    """The headers and the body of a request."""
    headers = {**JSON_HEADERS, "mcp-protocol-version": ERAS[era]}
    message = {"jsonrpc": "2.0", "id": 7, "method": method}
    if era == "legacy":
        return headers, message | {"params": params or {}}
    headers |= {"mcp-method": method}
    if params and "name" in params:
        headers |= {"mcp-name": params["name"]}
    return headers, message | {"params": envelope(params)}


async def post(
    http: httpx2.AsyncClient, content: bytes | str, headers: dict[str, str], **query: str
) -> httpx2.Response:
    answer = await http.post(
        "/mcp", content=content, headers=headers, params=query, timeout=LIMIT_SECONDS
    )
    body = answer.json() if answer.content else None
    validated("POST", "/mcp", answer.status_code, body)
    return answer


class Caller:
    """Calls tools in one era, each call a request of its own."""

    def __init__(self, http: httpx2.AsyncClient, era: str, **query: str) -> None:
        self.http, self.era, self.query = http, era, query

    async def ask(self, method: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
        headers, message = in_era(self.era, method, params)
        answer = await post(self.http, json.dumps(message), headers, **self.query)
        found: dict[str, Any] = answer.json()
        assert found["id"] == 7
        return found

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        answer = await self.ask("tools/call", {"name": tool, "arguments": arguments})
        result: dict[str, Any] = answer["result"]
        return result

    async def ok(self, tool: str, **arguments: Any) -> Any:
        result = await self.call(tool, **arguments)
        assert not result.get("isError"), result
        return result.get("structuredContent") or result["content"][0]["text"]

    async def refused(self, tool: str, **arguments: Any) -> str:
        result = await self.call(tool, **arguments)
        assert result["isError"] is True, result
        text: str = result["content"][0]["text"]
        return text


async def log_of(hub: Running) -> list[dict[str, Any]]:
    answer = await hub.http.get("/api/events", params={"since": 0, "limit": 1000})
    found: list[dict[str, Any]] = answer.json()["events"]
    return found


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]


# --- the tools ---


async def test_the_sdks_client_finds_the_tools_and_calls_them(hub: Running, era: str) -> None:
    address = f"http://127.0.0.1:{hub.port}/mcp?workspace=shop"
    async with McpClient(address, mode=era, read_timeout_seconds=LIMIT_SECONDS) as client:
        assert client.instructions is not None
        assert "Workspace: shop\n" in client.instructions
        names = [tool.name for tool in (await client.list_tools()).tools]
        made = await client.call_tool("task_create", {"title": "Pay by card"})
        assert made.structured_content is not None
        assert made.structured_content["id"] == "TASK-1"
        listed = await client.call_tool("task_list", {})
    assert names[:2] == ["task_create", "task_update"]
    assert listed.structured_content is None
    assert "TASK-1 pending - Pay by card" in str(listed.content)


async def test_a_listener_gets_what_was_written_over_mcp(hub: Running, era: str) -> None:
    async with Client.to(hub, "task:*", "stream:*") as listener:
        caller = Caller(hub.http, era, workspace="shop", agent="ada")
        await caller.ok("task_create", title="Pay", streamId="Stream-A")
        created, progress = await listener.events(2)
    assert (created["eventType"], created["workspace"]) == ("task.created", "shop")
    assert (created["actor"], progress["eventType"]) == ("ada", "stream.progress")


async def test_sixteen_calls_at_once_are_all_carried_out(hub: Running, era: str) -> None:
    caller = Caller(hub.http, era, workspace="shop")
    calls = [caller.ok("task_create", title=f"Task {number}") for number in range(16)]
    made = await asyncio.gather(*calls)
    assert {task["id"] for task in made} == {f"TASK-{number}" for number in range(1, 17)}
    assert len(await log_of(hub)) == 16


async def test_a_call_that_comes_again_with_its_id_is_carried_out_once(hub: Running) -> None:
    answers = [
        await Caller(hub.http, era, workspace="shop").ok(
            "task_create", title="Pay", requestId="once"
        )
        for era in ERAS
    ]
    assert answers[0] == answers[1]
    assert len(await log_of(hub)) == 1


async def test_the_server_in_memory_has_the_same_tools_at_the_same_address() -> None:
    async with MemoryServer() as server:
        async with server.link.http_client(Options()) as http:
            http.base_url = httpx2.URL(server.address)
            made = await Caller(http, "auto", workspace="tests").ok("task_create", title="A")
        assert made["id"] == "TASK-1"
        assert server.call("task_get", id="TASK-1")["title"] == "A"


async def test_a_request_leaves_nothing_in_the_log(
    hub: Running, era: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await Caller(hub.http, era, workspace="w").ok("task_create", title="x")
    assert [each.name for each in caplog.records if each.name.startswith("mcp.server")] == []


# --- workspaces ---


async def test_each_workspace_has_its_own_tasks_and_is_made_by_its_first_write(
    hub: Running, era: str
) -> None:
    shop, bank = (Caller(hub.http, era, workspace=name) for name in ("shop", "bank"))
    assert "shop" in await shop.ok("task_list")
    assert [row["workspace"] for row in (await _workspaces(hub))] == ["here"]
    await shop.ok("task_create", title="Of the shop")
    await bank.ok("task_create", title="Of the bank")
    assert {row["workspace"] for row in await _workspaces(hub)} == {"here", "shop", "bank"}
    assert "Of the bank" not in await shop.ok("task_list")
    assert "shop" in await bank.refused("task_get", id="TASK-1")


async def _workspaces(hub: Running) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await hub.http.get("/api/workspaces")).json()["workspaces"]
    return found


async def test_without_a_workspace_the_tools_are_shown_and_refuse(hub: Running, era: str) -> None:
    caller = Caller(hub.http, era)
    listed = (await caller.ask("tools/list"))["result"]["tools"]
    assert len(listed) == 8
    for tool in listed:
        refusal = await caller.refused(tool["name"], title="x", id="1", taskId="1")
        assert "/mcp?workspace=NAME" in refusal
        assert "There are: here." in refusal
    assert await log_of(hub) == []
    method, params = ("server/discover", {}) if era == "auto" else ("initialize", _hello())
    text = (await caller.ask(method, params))["result"]["instructions"]
    assert "Workspace: none, so every tool refuses." in text
    assert "/mcp?workspace=NAME" in text
    assert len(text) < MAX_INSTRUCTIONS


def _hello() -> dict[str, Any]:
    return {"protocolVersion": HANDSHAKE_VERSION, "capabilities": {}, "clientInfo": CLIENT_INFO}


async def test_a_workspace_that_cannot_be_one_is_refused_with_the_reason(hub: Running) -> None:
    for name in ("", " ", "a/b", "a\\b", "x" * 101, "a\nb", "\u202ea", "\ufffd"):
        refusal = await Caller(hub.http, "auto", workspace=name).refused("task_create", title="x")
        assert ascii(name[:60]) in refusal
        assert "printable characters without slashes" in refusal
    assert len(await _workspaces(hub)) == 1


async def test_where_there_are_many_workspaces_none_is_named(hub: Running) -> None:
    for number in range(10):
        await Caller(hub.http, "auto", workspace=f"w{number}").ok("task_create", title="x")
    refusal = await Caller(hub.http, "auto").refused("task_list")
    assert "There are" not in refusal


BAD_QUERIES = {
    "worksapce=shop": "'worksapce' is no parameter of /mcp; it takes workspace and agent.",
    "workspace=a&workspace=b": "'workspace' is given more than once.",
    "agent=a&agent=a": "'agent' is given more than once.",
    "workspace=a&agent=": "agent: got ''",
    "workspace=a&agent=a%0ab": "agent: got 'a\\nb'",
}


async def test_a_parameter_that_is_not_allowed_is_refused_with_422(hub: Running) -> None:
    headers, message = in_era("auto", "tools/call", {"name": "task_create", "arguments": {}})
    for query, about in BAD_QUERIES.items():
        answer = await hub.http.post(f"/mcp?{query}", json=message, headers=headers)
        assert answer.status_code == 422
        assert about in answer.json()["error"]


# --- who acts, and who may ---


def identified(app: ASGIApp, identity: Identity) -> ASGIApp:
    """The application as those reach it who were let in as `identity`."""

    async def let_in(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, IN_SCOPE: identity}, receive, send)

    return let_in


@asynccontextmanager
async def as_one(hub: Running, identity: Identity) -> AsyncIterator[httpx2.AsyncClient]:
    endpoint = McpEndpoint(Parts(hub.bus, hub.database, system_clock, 5, short_id="beef"))
    transport = httpx2.ASGITransport(identified(endpoint, identity))
    async with httpx2.AsyncClient(transport=transport, base_url="http://hub", verify=False) as http:
        yield http


async def test_the_event_says_who_acted(hub: Running) -> None:
    somebody = Identity(frozenset({READ, WRITE}), subject="token\u202eof ada")
    async with as_one(hub, ANYBODY) as http, as_one(hub, somebody) as known:
        http.headers["user-agent"] = "claude-code/2.1.317 (cli)"
        await Caller(http, "legacy", workspace="w").ok("task_create", title="x")
        await Caller(http, "auto", workspace="w").ok("task_create", title="x")
        http.headers["user-agent"] = ""
        await Caller(http, "legacy", workspace="w").ok("task_create", title="x")
        await Caller(known, "auto", workspace="w").ok("task_create", title="x")
        query = {"workspace": "w", "agent": "of the address"}
        await Caller(known, "legacy", **query).ok("task_create", title="x")
        await Caller(known, "auto", **query).ok("task_create", title="x", agent="of the call")
    assert [event["actor"] for event in await log_of(hub)] == [
        *("claude-code-beef", "raw-beef", "agent-beef"),
        *("tokenof ada", "of the address", "of the call"),
    ]


async def test_a_token_that_may_only_read_calls_the_tools_that_read(hub: Running, era: str) -> None:
    await Caller(hub.http, era, workspace="w").ok("task_create", title="Pay")
    reader = Identity(frozenset({READ}), subject="ada")
    async with as_one(hub, reader) as http:
        caller = Caller(http, era, workspace="w")
        listed = (await caller.ask("tools/list"))["result"]["tools"]
        writing = [tool["name"] for tool in listed if not tool["annotations"].get("readOnlyHint")]
        assert len(writing) == 4
        for name in writing:
            refusal = await caller.refused(name, title="x", id="TASK-1", taskId="TASK-1")
            assert f"{name} needs a token with the scope 'write'; this one has read." in refusal
        assert "Pay" in await caller.ok("task_list")
    async with as_one(hub, Identity(frozenset())) as http:
        refusal = await Caller(http, era).refused("task_list")
        assert "scope 'read'; this one has none" in refusal
        assert "here" not in refusal
    assert len(await log_of(hub)) == 1


# --- what is refused ---

CREATE = '{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"task_create","arguments":'
BAD_BODIES: dict[str, tuple[bytes, object, int]] = {
    "not JSON": (b'{"jsonrpc":"2.0","id":3,', 3, -32700),
    "empty": (b"", None, -32700),
    "not UTF-8": (b'{"jsonrpc":"2.0","id":3,"method":"\xff"}', 3, -32700),
    "a batch": (b'[{"jsonrpc":"2.0","id":3,"method":"ping"}]', None, -32600),
    "no object": (b'"ping"', None, -32600),
    "no version": (b'{"id":3,"method":"ping"}', 3, -32600),
    "a bad id": (b'{"jsonrpc":"2.0","id":[],"method":"ping"}', None, -32600),
    "no params": (b'{"jsonrpc":"2.0","id":3,"method":"ping","params":[]}', 3, -32600),
    "too deep": (f"{CREATE}{'[' * 950}{']' * 950}}}}}".encode(), 7, -32700),
    "far too deep": (f"{CREATE}{'[' * 90_000}".encode(), 7, -32700),
    "too many digits": (f"{CREATE}{'1' * 5_000}}}}}".encode(), 7, -32700),
    "too many values": (f"{CREATE}[{'[],' * 100_000}0]}}}}".encode(), 7, -32600),
}


async def test_a_body_that_is_no_message_is_answered_with_its_id(
    hub: Running, era: str, caplog: pytest.LogCaptureFixture
) -> None:
    headers, _ = in_era(era, "tools/call", {"name": "task_create"})
    for case, (body, request_id, code) in BAD_BODIES.items():
        answer = await post(hub.http, body, headers, workspace="w")
        assert answer.status_code == 400, case
        assert answer.headers["content-type"] == "application/json"
        content = answer.json()
        assert (content["id"], content["error"]["code"]) == (request_id, code), case
        assert content["error"]["message"]
    assert await log_of(hub) == []
    assert warnings(caplog) == []


ODD_TITLES = {
    "NaN": "NaN",
    "half a character": r'"\ud800"',
    "NUL": r'"a\u0000"',
    "400 digits": "1" * 400,
    "500 levels": "[" * 500 + "]" * 500,
}


async def test_odd_values_are_refused_and_change_nothing(
    hub: Running, era: str, caplog: pytest.LogCaptureFixture
) -> None:
    params = {"name": "task_create", "arguments": {"title": "ODD"}}
    headers, message = in_era(era, "tools/call", params)
    for case, title in ODD_TITLES.items():
        body = json.dumps(message).replace('"ODD"', title)
        content = (await post(hub.http, body, headers, workspace="w")).json()
        assert content["id"] == 7
        if era == "legacy" and case in {"half a character", "500 levels"}:
            assert content["error"]["code"] == -32700  # the SDK's parser of that era
        else:
            assert content["result"]["isError"] is True
            assert content["result"]["content"][0]["text"].startswith("title: ")
    assert await log_of(hub) == []
    assert warnings(caplog) == []


async def test_a_long_text_of_many_commas_is_no_message_of_many_values(hub: Running) -> None:
    caller = Caller(hub.http, "auto", workspace="w")
    await caller.ok("task_create", title="x")
    draft = ',{["\\' * 209_715
    made = await caller.ok("checkpoint_create", taskId="TASK-1", draftContent=draft)
    assert made["id"] == "CP-1"


async def test_an_object_as_a_json_text_that_would_take_long_to_read_is_refused(
    hub: Running,
) -> None:
    caller = Caller(hub.http, "auto", workspace="w")
    for size in (512 * 1024, 512 * 1024 + 1):
        text = '{"a": 1' + " " * (size - 8) + "}"
        if size <= MAX_JSON_TEXT:
            assert await caller.ok("task_create", title="x", metadata=text)
        else:
            refusal = await caller.refused("task_create", title="x", metadata=text)
            assert "metadata: got 524,289 characters of JSON; takes at most 524,288" in refusal
    assert len(await log_of(hub)) == 1


WRONG_HEADERS = [
    ("content-type", "text/plain", 415),
    ("content-type", "application/x-www-form-urlencoded", 415),
    ("content-type", "application/jsonx", 415),
    ("accept", "text/html", 406),
    ("mcp-protocol-version", "1999-01-01", 400),
]


async def test_wrong_headers_are_answered_as_json_rpc(hub: Running, era: str) -> None:
    given, message = in_era(era, "tools/list")
    for name, value, status in WRONG_HEADERS:
        answer = await post(hub.http, json.dumps(message), given | {name: value}, workspace="w")
        assert answer.status_code == status
        assert set(answer.json()) == {"jsonrpc", "id", "error"}
        if status == 400:
            assert MODERN_VERSION in answer.json()["error"]["data"]["supported"]


async def test_a_body_over_the_limit_is_answered_with_413(hub: Running) -> None:
    headers, _ = in_era("auto", "tools/list")
    async with as_one(hub, ANYBODY) as http:
        answer = await post(http, b" " * (8 * 1024 * 1024 + 1), headers)
    assert answer.status_code == 413
    assert "8,388,608" in answer.json()["error"]["message"]


async def test_a_method_that_mcp_does_not_have_is_answered_with_its_id(
    hub: Running, era: str
) -> None:
    for method in ("no/such", "resources/list", "subscriptions/listen"):
        listening = method == "subscriptions/listen"
        params: dict[str, Any] = {"notifications": {}} if listening else {}
        assert (await Caller(hub.http, era).ask(method, params))["error"]["code"] == -32601


async def test_notifications_are_taken_and_answers_nobody_asked_for_change_nothing(
    hub: Running, era: str, caplog: pytest.LogCaptureFixture
) -> None:
    headers, _ = in_era(era, "notifications/cancelled")
    for request_id in (7, "no id of a request \ud800", [1]):
        message = {
            "jsonrpc": "2.0",
            "method": "notifications/cancelled",
            "params": {"requestId": request_id},
        }
        answer = await post(hub.http, json.dumps(message), headers)
        assert (answer.status_code, answer.content) == (202, b"")
    answer = await post(hub.http, '{"jsonrpc":"2.0","id":7,"result":{}}', headers)
    assert answer.status_code == (202 if era == "legacy" else 400)
    assert warnings(caplog) == []


async def test_a_byte_order_mark_before_the_message_is_passed_over(hub: Running, era: str) -> None:
    headers, message = in_era(era, "tools/list")
    answer = await post(hub.http, b"\xef\xbb\xbf" + json.dumps(message).encode(), headers)
    assert len(answer.json()["result"]["tools"]) == 8


async def test_other_methods_of_http_are_answered_with_405_and_other_paths_with_404(
    hub: Running,
) -> None:
    for method in ("GET", "DELETE", "PUT"):
        answer = await hub.http.request(method, "/mcp?workspace=w")
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
        assert method in answer.json()["error"]
    for path in ("/mcp/", "/mcp/x", "/MCP"):
        answer = await hub.http.post(path, json={})
        assert answer.status_code == 404
        assert "/mcp (MCP)" in answer.json()["error"]


# --- clients that leave, and hubs that end ---


@contextmanager
def locked(hub: Running) -> Iterator[None]:
    """Keeps every process from writing."""
    path = Path(hub.database.url.database or "")
    with opened(path, write=True) as connection:
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            connection.execute("ROLLBACK")


@pytest.fixture
async def writing(hub: Running, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Set when a call has come as far as the writing thread."""
    begun = asyncio.Event()
    write = hub.database.write

    async def noted(operation: Any) -> Any:
        begun.set()
        return await write(operation)

    monkeypatch.setattr(hub.database, "write", noted)
    return begun


async def test_a_client_that_leaves_costs_nothing_and_its_call_is_whole(
    hub: Running, era: str, writing: asyncio.Event, caplog: pytest.LogCaptureFixture
) -> None:
    params = {"name": "task_create", "arguments": {"title": "Left", "streamId": "Stream-A"}}
    headers, message = in_era(era, "tools/call", params)
    async with Client.to(hub, "*") as listener:
        with locked(hub):
            call = asyncio.create_task(post(hub.http, json.dumps(message), headers, workspace="w"))
            await asyncio.wait_for(writing.wait(), LIMIT_SECONDS)
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
        found = await listener.events(2)
    assert [event["eventType"] for event in found] == ["task.created", "stream.progress"]
    assert await Caller(hub.http, era, workspace="w").ok("task_get", id="TASK-1")
    assert warnings(caplog) == []


async def test_a_client_that_leaves_before_it_has_said_all_is_nothing_to_tell_of(
    hub: Running, caplog: pytest.LogCaptureFixture
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
    writer.write(
        f"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1:{hub.port}\r\nAccept: */*\r\n"
        'Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"jsonrpc'.encode()
    )
    await writer.drain()
    assert await Caller(hub.http, "auto", workspace="w").ok("task_create", title="x")
    writer.transport.abort()
    async with asyncio.timeout(LIMIT_SECONDS):
        while len(hub.transports()) > 1:
            await hub.health()
    assert reader.at_eof() or reader.exception()
    assert warnings(caplog) == []


async def test_a_hub_that_ends_refuses_the_calls_that_wait_and_is_not_held_up(
    hub: Running, era: str, writing: asyncio.Event, caplog: pytest.LogCaptureFixture
) -> None:
    params = {"name": "task_create", "arguments": {"title": "Late"}}
    headers, message = in_era(era, "tools/call", params)
    with locked(hub):
        call = asyncio.create_task(post(hub.http, json.dumps(message), headers, workspace="w"))
        await asyncio.wait_for(writing.wait(), LIMIT_SECONDS)
        began = time.monotonic()
        hub.bus.end()
        await hub.hub.stop()
        took = time.monotonic() - began
        answer = await asyncio.wait_for(call, LIMIT_SECONDS)
    assert answer.status_code == 503
    assert answer.json()["id"] == 7
    assert "send the call again with its requestId" in answer.json()["error"]["message"]
    assert took < 0.3
    assert warnings(caplog) == []


async def test_a_hub_that_ends_answers_the_calls_that_are_nearly_done(
    hub: Running, era: str, writing: asyncio.Event
) -> None:
    params = {"name": "task_create", "arguments": {"title": "In time"}}
    headers, message = in_era(era, "tools/call", params)
    with locked(hub):
        call = asyncio.create_task(post(hub.http, json.dumps(message), headers, workspace="w"))
        await asyncio.wait_for(writing.wait(), LIMIT_SECONDS)
        hub.bus.end()
        hub.hub.leave()
    await hub.hub.stop()
    answer = await asyncio.wait_for(call, LIMIT_SECONDS)
    assert answer.json()["result"]["structuredContent"]["id"] == "TASK-1"


async def test_the_sdks_client_shows_a_token_in_a_header(hub: Running) -> None:
    """As it is set up away from this machine; who checks the token stands in front of /mcp."""
    headers = {"Authorization": "Bearer secret"}
    async with httpx2.AsyncClient(headers=headers, trust_env=False, verify=False) as http:
        address = f"http://127.0.0.1:{hub.port}/mcp?workspace=shop"
        async with McpClient(streamable_http_client(address, http_client=http)) as client:
            made = await client.call_tool("task_create", {"title": "x", "agent": "ada"})
    assert not made.is_error
    assert [event["actor"] for event in await log_of(hub)] == ["ada"]
