"""No page of a browser gets in through a foreign Host or Origin, on any route that exists."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from websockets.asyncio.client import connect

from task_copilot import __version__, tasks, workspaces
from task_copilot.access.addresses import addresses
from task_copilot.application import open_blocking
from task_copilot.clock import system_clock
from task_copilot.database.store import Database
from task_copilot.events import log
from task_copilot.events.bus import Bus
from task_copilot.events.log import LogRow
from task_copilot.events.pages import LogPages
from task_copilot.guard import HostAndOriginGuard
from task_copilot.hub import Hub
from task_copilot.location import Location
from task_copilot.settings import Settings
from task_copilot.workspaces import Scope as ActingScope
from validation import valid_frame, validated

LIMIT_SECONDS = 10.0
"""How long anything here may take before a test gives up."""

# {port} is the hub's.
OUR_HOSTS = [
    *("127.0.0.1:{port}", "localhost:{port}", "[::1]:{port}"),
    *("LOCALHOST:{port}", "LocalHost:{port}", "localhost.:{port}", "LOCALHOST.:{port}"),
]
FOREIGN_HOSTS = [
    *("evil.example", "evil.example:{port}", "127.0.0.1.evil.example:{port}"),
    *("localhost.evil.example:{port}", "127.0.0.1:{port}.evil.example", "evil.example."),
    *("127.0.0.1", "localhost", "[::1]", "localhost.", "127.0.0.1:", "localhost:1", "[::1]:80"),
    *("127.0.0.1:1{port}", "127.0.0.1:{port}0", "127.0.0.1:0{port}", "127.0.0.1:-{port}"),
    *("localhost..:{port}", ".localhost:{port}", "x.localhost:{port}", "[::2]:{port}"),
    *("::1:{port}", "0.0.0.0:{port}", "127.0.0.2:{port}", "127.1:{port}", "2130706433:{port}"),
    *("user@127.0.0.1:{port}", "127.0.0.1:{port}@evil.example", "127.0.0.1:{port}/"),
    *("127.0.0.1:{port},evil.example", "127.0.0.1 :{port}", "http://127.0.0.1:{port}"),
    *(":{port}", "", "null", "*", "\u00e9:{port}", "127.0.0.1:\u00b9"),
]
OUR_ORIGINS = [
    *("http://127.0.0.1:{port}", "http://localhost:{port}", "http://[::1]:{port}"),
    *("HTTP://LOCALHOST:{port}", "http://LocalHost:{port}"),
]
FOREIGN_ORIGINS = [
    *("null", "NULL", "", "*", "file://", "about:blank", "chrome-extension://abcdef"),
    *("http://evil.example", "http://evil.example:{port}", "https://evil.example"),
    *("https://127.0.0.1:{port}", "HTTPS://LOCALHOST:{port}", "ws://127.0.0.1:{port}"),
    *("http://127.0.0.1", "http://localhost", "http://localhost:1", "http://127.0.0.1:{port}0"),
    *("http://127.0.0.1:{port}/", "http://127.0.0.1:{port}.evil.example", "//127.0.0.1:{port}"),
    *("http://localhost.evil.example:{port}", "http://127.0.0.2:{port}", "127.0.0.1:{port}"),
    *("http://127.0.0.1:{port} http://evil.example", "http://127.0.0.1:{port}@evil.example"),
    *("http://user@127.0.0.1:{port}", "http://evil.example#http://127.0.0.1:{port}", "\u00e9"),
]

Headers = list[tuple[bytes, bytes]]


@dataclass
class Running:
    hub: Hub
    database: Database[LogRow]

    @property
    def port(self) -> int:
        assert self.hub.port is not None
        return self.hub.port

    @property
    def guard(self) -> Any:
        """The application as uvicorn calls it."""
        assert self.hub._server is not None
        return self.hub._server.config.app

    def routes(self) -> list[tuple[str, str]]:
        """Every kind of request that some route takes: a method or ``WS``, and a path."""
        app, around = self.guard, []
        while not isinstance(app, Starlette):
            around.append(type(app))
            app = app._app
        assert HostAndOriginGuard in around
        found = list(requests_of(app.routes))
        assert ("GET", "/health") in found
        assert ("WS", "/ws") in found
        return found

    def text(self, pattern: str) -> bytes:
        return pattern.replace("{port}", str(self.port)).encode("latin-1")

    def ours(self) -> Headers:
        return [(b"host", self.text("127.0.0.1:{port}"))]


def requests_of(routes: Iterable[BaseRoute], prefix: str = "") -> Iterator[tuple[str, str]]:
    for route in routes:
        if isinstance(route, Route):
            path = route.path.replace("{", "").replace("}", "")
            for method in sorted(route.methods or {"GET", "POST", "DELETE"}):
                yield method, prefix + path
        elif isinstance(route, WebSocketRoute):
            yield "WS", prefix + route.path
        else:  # a mounted application
            inner = getattr(route, "routes", None)
            mounted = prefix + str(getattr(route, "path", ""))
            if inner:
                yield from requests_of(inner, mounted)
            else:
                yield from ((method, mounted + "/x") for method in ("GET", "POST", "DELETE", "WS"))


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Running]:
    url = f"sqlite:///{tmp_path / 'tasks.db'}"
    # Every route is asked again and again over one connection.
    settings = Settings(database_url=url, port=0, durability="normal", max_request_rate=1_000_000)
    database = await asyncio.to_thread(open_blocking, settings, system_clock)
    bus = Bus(await database.read(log.state), LogPages(database))
    database.start(bus.publish)
    started = Hub(settings, bus, system_clock, database)
    assert await started.start()
    try:
        assert (await raw(started, b"GET / HTTP/1.0\r\n\r\n")).startswith(b"HTTP/1.1 403 ")
        yield Running(started, database)
    finally:
        await started.stop()
        await bus.close()
        await database.close()


async def raw(hub: Hub, request: bytes) -> bytes:
    """What a real connection answers to `request`, until it is closed by the server."""
    assert hub.port is not None
    reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
    try:
        writer.write(request)
        answer = await asyncio.wait_for(reader.read(), LIMIT_SECONDS)
    finally:
        writer.transport.abort()
    method, target, *_ = request.decode("latin-1").split()
    if method != "HEAD" and b"\r\ncontent-type: application/json\r\n" in answer:
        status, _, content = parsed(answer)
        validated(method, target, status, content)
    return answer


def parsed(answer: bytes) -> tuple[int, dict[str, str], Any]:
    """Status, headers and JSON body of an HTTP answer."""
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    headers = {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    content = json.loads(body) if headers.get("content-type") == "application/json" else body
    return int(status.split()[1]), headers, content


async def first_answer(app: ASGIApp, kind: str, path: str, headers: Headers) -> list[Message]:
    """What the application sends first: the whole answer if it is a refusal."""
    scope: Scope = {
        "type": "websocket" if kind == "WS" else "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": kind,
        "scheme": "ws" if kind == "WS" else "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": headers,
        "client": ("127.0.0.1", 50_000),
        "server": ("127.0.0.1", 9090),
        "subprotocols": [],
        "state": {},
        "extensions": {"websocket.http.response": {}},
    }
    begins = {"type": "websocket.connect"} if kind == "WS" else {"type": "http.request"}
    ends = "websocket.disconnect" if kind == "WS" else "http.disconnect"
    incoming: asyncio.Queue[Message] = asyncio.Queue()
    incoming.put_nowait(begins)
    outgoing: asyncio.Queue[Message] = asyncio.Queue()
    task = asyncio.ensure_future(app(scope, incoming.get, outgoing.put))
    try:
        sent = [await asyncio.wait_for(outgoing.get(), LIMIT_SECONDS)]
        if sent[0].get("status", 0) >= 400:
            sent.append(await asyncio.wait_for(outgoing.get(), LIMIT_SECONDS))
            validated(kind, path, sent[0]["status"], json.loads(sent[1]["body"]))
        incoming.put_nowait({"type": ends, "code": 1000})
        return sent
    finally:
        await asyncio.wait([task], timeout=LIMIT_SECONDS)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def assert_refused(hub: Running, headers: Headers, about: str) -> None:
    """On every route the answer is 403, in words that help, and no WebSocket is accepted."""
    for kind, path in hub.routes():
        start, body = await first_answer(hub.guard, kind, path, headers)
        case = (kind, path, headers)
        prefix = "websocket." if kind == "WS" else ""
        assert start["type"] == f"{prefix}http.response.start", case
        assert body["type"] == f"{prefix}http.response.body", case
        assert start["status"] == 403, case
        assert (b"content-type", b"application/json") in start["headers"], case
        content = json.loads(body["body"])
        assert set(content) == {"error"}, case
        assert about in content["error"], case
        assert "TASK_COPILOT_" in content["error"], case
        assert len(content["error"]) < 700, case


async def assert_let_in(hub: Running, headers: Headers) -> None:
    for kind, path in hub.routes():
        [start, *_] = await first_answer(hub.guard, kind, path, headers)
        if kind == "WS":
            assert start["type"] == "websocket.accept", (kind, path, headers)
        else:
            assert start["type"] == "http.response.start", (kind, path, headers)
            assert start["status"] != 403, (kind, path, headers)


# --- Host ---


async def test_every_route_refuses_every_foreign_host(hub: Running) -> None:
    for host in FOREIGN_HOSTS:
        await assert_refused(hub, [(b"host", hub.text(host))], "Host")


async def test_every_route_refuses_a_request_without_a_host(hub: Running) -> None:
    await assert_refused(hub, [], "Host")
    await assert_refused(hub, [(b"origin", hub.text("http://127.0.0.1:{port}"))], "Host")


async def test_every_route_refuses_a_request_with_two_hosts(hub: Running) -> None:
    ours, foreign = hub.text("127.0.0.1:{port}"), b"evil.example"
    for pair in ((ours, foreign), (foreign, ours), (ours, ours)):
        await assert_refused(hub, [(b"host", host) for host in pair], "Host")


async def test_every_route_lets_our_hosts_in(hub: Running) -> None:
    for host in OUR_HOSTS:
        await assert_let_in(hub, [(b"host", hub.text(host))])


async def test_the_name_of_a_header_may_be_in_any_case(hub: Running) -> None:
    await assert_let_in(hub, [(b"Host", hub.text("localhost:{port}"))])
    foreign = [(b"HOST", hub.text("localhost:{port}")), (b"ORIGIN", b"http://evil.example")]
    await assert_refused(hub, foreign, "Origin")


# --- Origin ---


async def test_every_route_refuses_every_foreign_origin(hub: Running) -> None:
    for origin in FOREIGN_ORIGINS:
        await assert_refused(hub, [*hub.ours(), (b"origin", hub.text(origin))], "Origin")


async def test_every_route_refuses_a_foreign_origin_beside_ours(hub: Running) -> None:
    ours, foreign = hub.text("http://127.0.0.1:{port}"), b"http://evil.example"
    for pair in ((ours, foreign), (foreign, ours)):
        await assert_refused(hub, [*hub.ours(), *((b"origin", each) for each in pair)], "Origin")


async def test_every_route_lets_our_origins_in(hub: Running) -> None:
    for origin in OUR_ORIGINS:
        await assert_let_in(hub, [*hub.ours(), (b"origin", hub.text(origin))])


async def test_a_foreign_host_is_refused_also_with_our_origin(hub: Running) -> None:
    origin = (b"origin", hub.text("http://127.0.0.1:{port}"))
    await assert_refused(hub, [(b"host", b"evil.example"), origin], "Host")


async def test_a_refusal_shows_what_came_without_repeating_all_of_it(hub: Running) -> None:
    header = (b"host", b'"><script>\xff' + b"x" * 5_000)
    [_, body] = await first_answer(hub.guard, "GET", "/health", [header])
    assert "<script>" in json.loads(body["body"])["error"]
    assert b"\xff" not in body["body"]
    assert len(body["body"]) < 700


async def test_a_path_that_does_not_exist_is_guarded_too(hub: Running) -> None:
    for kind in ("GET", "POST", "WS"):
        [start, _] = await first_answer(hub.guard, kind, "/nothing", [(b"host", b"evil.example")])
        assert start["status"] == 403


async def nothing(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})


async def test_on_port_80_clients_leave_out_the_port_and_are_let_in() -> None:
    guard = HostAndOriginGuard(nothing, addresses(port=80))
    for headers in (
        [(b"host", b"127.0.0.1:80")],
        [(b"host", b"127.0.0.1")],
        [(b"host", b"localhost"), (b"origin", b"http://localhost")],
        [(b"host", b"[::1]"), (b"origin", b"http://[::1]")],
    ):
        [start, *_] = await first_answer(guard, "GET", "/", headers)
        assert start["status"] == 204, headers
    [start, _] = await first_answer(guard, "GET", "/", [(b"host", b"evil.example")])
    assert start["status"] == 403


# --- the same over real connections ---


async def test_over_a_real_connection_foreign_requests_get_403(hub: Running) -> None:
    port = hub.port
    for headers in (
        "Host: evil.example",
        f"Host: evil.example:{port}",
        "Host: 127.0.0.1",
        f"Host: 127.0.0.1:{port}\r\nOrigin: null",
        f"Host: 127.0.0.1:{port}\r\nOrigin: http://evil.example",
        f"Host: localhost:{port}\r\nOrigin: https://localhost:{port}",
    ):
        request = f"GET /health HTTP/1.1\r\n{headers}\r\nConnection: close\r\n\r\n"
        status, answered, content = parsed(await raw(hub.hub, request.encode()))
        assert status == 403, headers
        assert answered["content-type"] == "application/json"
        assert "TASK_COPILOT_" in content["error"]
        assert "access-control-allow-origin" not in answered


async def test_over_a_real_connection_no_host_and_two_hosts_are_refused(hub: Running) -> None:
    port = hub.port
    for version, headers in (
        ("1.0", "X: y"),
        ("1.1", "X: y"),
        ("1.1", f"Host: 127.0.0.1:{port}\r\nHost: evil.example"),
        ("1.1", f"Host: evil.example\r\nHost: 127.0.0.1:{port}"),
    ):
        for more in ("Connection: close", "Connection: Upgrade\r\nUpgrade: websocket"):
            request = f"GET /ws HTTP/{version}\r\n{headers}\r\n{more}\r\n\r\n"
            status, _, _ = parsed(await raw(hub.hub, request.encode()))
            assert status in {400, 403}, request


async def test_over_a_real_connection_a_foreign_websocket_gets_403_before_it_is_accepted(
    hub: Running,
) -> None:
    port = hub.port
    upgrade = (
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    )
    for path, headers in (
        ("/ws", "Host: evil.example"),
        ("/ws", f"Host: 127.0.0.1:{port}\r\nOrigin: http://evil.example"),
        ("/ws", f"Host: 127.0.0.1:{port}\r\nOrigin: null"),
        ("/nothing", f"Host: 127.0.0.1:{port}\r\nOrigin: null"),
    ):
        request = f"GET {path} HTTP/1.1\r\n{headers}\r\n{upgrade}\r\n"
        answer = await raw(hub.hub, request.encode())
        assert b" 101 " not in answer
        status, _, content = parsed(answer)
        assert status == 403
        assert "TASK_COPILOT_" in content["error"]


async def test_clients_of_this_machine_are_let_in_with_and_without_an_origin(hub: Running) -> None:
    for origin in (None, f"http://127.0.0.1:{hub.port}", f"http://localhost:{hub.port}"):
        opening = connect(
            f"ws://127.0.0.1:{hub.port}/ws",
            additional_headers=None if origin is None else {"Origin": origin},
            proxy=None,
            close_timeout=1,
        )
        async with opening as connection:
            await connection.send('{"type":"ping"}')
            answer = await asyncio.wait_for(connection.recv(), LIMIT_SECONDS)
            assert valid_frame(json.loads(answer))["type"] == "pong"


# --- what does not exist ---


def request(hub: Running, line: str, more: str = "") -> bytes:
    head = f"{line}\r\nHost: 127.0.0.1:{hub.port}\r\nConnection: close\r\n{more}\r\n"
    return head.encode("latin-1")


@pytest.mark.parametrize(
    "target",
    [
        *("/nothing", "//", "//evil.example/x", "/health/x", "/HEALTH", "/%00", "/[x"),
        *(
            "/%E9",
            "/%C3%A9",
            "/..",
            "/../health",
            "/nothing?x=1",
            "/x%3Fy",
            "/x%0d%0ay",
            "/" + "x" * 4_000,
        ),
        *("http://evil.example/", "http://evil.example:x/health", "/<script>", "/%ud800", "/;"),
    ],
    ids=lambda target: target[:30],
)
async def test_what_does_not_exist_is_answered_with_404_in_json(hub: Running, target: str) -> None:
    status, headers, content = parsed(await raw(hub.hub, request(hub, f"GET {target} HTTP/1.1")))
    assert status == 404
    assert headers["content-type"] == "application/json"
    assert content["error"]


async def test_a_method_that_a_route_does_not_take_is_answered_with_405_in_json(
    hub: Running,
) -> None:
    taken: dict[str, set[str]] = {}
    for kind, path in hub.routes():
        if kind != "WS":
            taken.setdefault(path, set()).add(kind)
    for path, methods in taken.items():
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"} - methods:
            answer = await raw(hub.hub, request(hub, f"{method} {path} HTTP/1.1"))
            status, headers, content = parsed(answer)
            assert status == 405, (method, path)
            assert set(headers["allow"].split(", ")) == methods
            assert method in content["error"]


async def test_a_websocket_elsewhere_is_not_accepted(hub: Running) -> None:
    for path in ("/health", "/nothing", "/"):
        [start, *_] = await first_answer(hub.guard, "WS", path, hub.ours())
        assert start["type"] in {"websocket.close", "websocket.http.response.start"}


async def test_a_failure_of_the_program_is_answered_in_json_too(
    hub: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub.hub._bus, "window", None)
    start, body = await first_answer(hub.guard, "GET", "/health", hub.ours())
    assert start["status"] == 500
    assert (b"content-type", b"application/json") in start["headers"]
    assert json.loads(body["body"])["error"]


# --- health ---


async def health(hub: Running) -> dict[str, Any]:
    status, headers, content = parsed(await raw(hub.hub, request(hub, "GET /health HTTP/1.1")))
    assert status == 200
    assert headers["content-type"] == "application/json"
    assert headers["cache-control"] == "no-store"
    assert isinstance(content, dict)
    return content


async def test_health_has_exactly_the_fields_of_the_contract(hub: Running) -> None:
    content = await health(hub)
    state = await hub.database.read(log.state)
    assert set(content) == {
        *("status", "service", "timestamp", "version", "epoch", "seq", "clients"),
    }
    assert content | {"timestamp": ""} == {
        "status": "ok",
        "service": "task-copilot",
        "timestamp": "",
        "version": __version__,
        "epoch": state.epoch,
        "seq": 0,
        "clients": 0,
    }
    assert content["timestamp"].endswith("Z")
    assert abs(datetime.now(UTC) - datetime.fromisoformat(content["timestamp"])) < timedelta(
        seconds=LIMIT_SECONDS
    )


async def test_health_tells_the_newest_seq_and_the_number_of_listeners(hub: Running) -> None:
    workspace = await hub.database.write(lambda t: workspaces.ensure(t, Location("here", None)))
    acting = ActingScope(workspace, "me")
    new = tasks.NewTask(title="a task")
    await hub.database.write(lambda t: tasks.create(t, acting, new))
    async with connect(f"ws://127.0.0.1:{hub.port}/ws", proxy=None, close_timeout=1):
        content = await health(hub)
    assert (content["seq"], content["clients"]) == (1, 1)


async def test_a_head_request_for_health_has_no_body(hub: Running) -> None:
    answer = await raw(hub.hub, request(hub, "HEAD /health HTTP/1.1"))
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"\r\n\r\n")
