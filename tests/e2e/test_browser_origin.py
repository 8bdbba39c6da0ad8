"""A page of somebody else, in a real browser beside a running hub, reads and writes nothing."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Frame, Page, Response

from e2e.browsers import IN_A_BROWSER
from e2e.servers import Server, row_counts, start_server
from task_copilot.api.routes import EVENT_STREAM, ROUTES

pytestmark = IN_A_BROWSER

HOSTILE = Path(__file__).with_name("hostile.js").read_text("utf-8").partition("\nasync")[2]
HOSTILE = f"async{HOSTILE}".strip().removesuffix(";")
PAGE = b"<!doctype html><title>a page</title><body>A harmless page.</body>"


def _path(template: str) -> str:
    known = {"{taskId}": "TASK-1", "{streamId}": "Stream-A", "{checkpointId}": "CP-1"}
    return re.sub(r"{\w+}", lambda found: known[found[0]], template)


READS = [_path(route.path) for route in ROUTES if route.method == "GET" and route != EVENT_STREAM]
READS = [f"{path}?taskId=TASK-1" if path == "/api/checkpoints" else path for path in READS]
READS += ["/openapi.json", "/asyncapi.json"]
WRITES = [_path(route.path) for route in ROUTES if route.method != "GET"]


async def _serve_page(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Any request gets the page, whatever the name it was sent to."""
    try:
        await reader.readuntil(b"\r\n\r\n")
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n"
        writer.write(head + b"Content-Length: %d\r\n\r\n" % len(PAGE) + PAGE)
        await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass  # browsers open connections that they do not use
    finally:
        writer.close()


@asynccontextmanager
async def _somebody_elses() -> AsyncIterator[int]:
    """The port of a server with a page of its own."""
    served = await asyncio.start_server(_serve_page, "127.0.0.1", 0)
    async with served:
        yield served.sockets[0].getsockname()[1]


@asynccontextmanager
async def _hub_with_tasks(tmp_path: Path) -> AsyncIterator[Server]:
    settings: dict[str, Any] = {"log_level": "info", "max_request_rate": 1_000_000}
    async with start_server(tmp_path, **settings) as server:
        await server.served()
        await server.ok("task_create", title="A secret", streamId="Stream-A")
        await server.ok("checkpoint_create", taskId="TASK-1")
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def hub(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    """One for all that must not leave a trace in it."""
    async with _hub_with_tasks(tmp_path_factory.mktemp("hub")) as server:
        yield server


def _targets(host: str, port: int) -> dict[str, Any]:
    names = [host, "localhost"] if host == "127.0.0.1" else [host]
    return {
        "base": f"http://{host}:{port}",
        "sockets": [f"ws://{name}:{port}/ws" for name in names],
        "reads": READS,
        "writes": WRITES,
    }


async def _opened(browser: Browser, address: str, seen: list[Response]) -> Page:
    """A page in a browser that knows nothing; `seen` gets every answer that comes to it. What a
    page asks its browser to forbid it is allowed: the server's own refusals are tried."""
    context = await browser.new_context(bypass_csp=True)
    context.on("response", lambda answer: seen.append(answer))  # noqa: PLW0108 - it marks the handler
    page = await context.new_page()
    await page.goto(address)
    return page


async def _attempts(where: Page | Frame, host: str, port: int) -> dict[str, str | None]:
    found: dict[str, str | None] = await where.evaluate(HOSTILE, _targets(host, port))
    return found


async def _framed(page: Page, kind: str) -> Frame:
    """A frame in a page: of no origin, from a `data:` address, or from a `blob:`."""
    content = PAGE.decode()
    made = {
        "sandbox": f"frame.sandbox = 'allow-scripts allow-forms'; frame.srcdoc = {content!r}",
        "data": f"frame.src = 'data:text/html,{quote(content)}'",
        "blob": f"frame.src = URL.createObjectURL(new Blob([{content!r}], {{type: 'text/html'}}))",
    }[kind]
    await page.evaluate(
        f"""() => new Promise((done) => {{
            const frame = document.createElement("iframe");
            frame.onload = done;
            {made};
            document.body.append(frame);
        }})"""
    )
    (frame,) = page.main_frame.child_frames
    return frame


def _answered_by(port: int, seen: list[Response]) -> set[tuple[str, int]]:
    """What the hub answered: the path and the status."""
    return {
        (urlsplit(answer.url).path, answer.status)
        for answer in seen
        if urlsplit(answer.url).port == port
    }


@pytest.mark.parametrize(
    ("host", "frame", "name"),
    [
        ("evil.example", None, "127.0.0.1"),
        ("evil.example", None, "localhost"),
        ("127.0.0.1", None, "127.0.0.1"),
        ("localhost", None, "127.0.0.1"),
        ("rebind.example", None, "rebind.example"),
        ("evil.example", "sandbox", "127.0.0.1"),
        ("evil.example", "data", "127.0.0.1"),
        ("127.0.0.1", "blob", "127.0.0.1"),
    ],
)
async def test_a_page_of_somebody_else_reads_and_writes_nothing(
    hub: Server, browser: Browser, host: str, frame: str | None, name: str
) -> None:
    seen: list[Response] = []
    before = row_counts(hub.database)
    async with _somebody_elses() as port:
        page = await _opened(browser, f"http://{host}:{port}/", seen)
        where: Page | Frame = page if frame is None else await _framed(page, frame)
        found = await _attempts(where, name, hub.port)
        await page.context.close()
    assert len(found) > len(READS)
    assert {attempt: text for attempt, text in found.items() if text is not None} == {}
    assert row_counts(hub.database) == before
    answered = _answered_by(hub.port, seen)
    assert answered, "nothing has reached the hub"
    assert {(path, status) for path, status in answered if status != 403} == set()
    assert "A secret" in await hub.text("task_list")


async def test_the_same_attempts_of_the_hubs_own_page_read_and_write(
    tmp_path: Path, browser: Browser
) -> None:
    seen: list[Response] = []
    async with _hub_with_tasks(tmp_path) as server:
        before = row_counts(server.database)
        page = await _opened(browser, f"http://127.0.0.1:{server.port}/health", seen)
        found = await _attempts(page, "127.0.0.1", server.port)
        await page.context.close()
        refused = {name for name, text in found.items() if text is None}
        assert {name for name in refused if name.startswith("fetch")} == set()
        assert not refused & {"EventSource", "POST JSON /api/streams/Stream-A/checkpoint"}
        assert found[f"WebSocket ws://127.0.0.1:{server.port}/ws"]
        assert row_counts(server.database) != before
