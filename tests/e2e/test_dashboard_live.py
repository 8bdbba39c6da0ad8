"""The dashboard stays right: through lost connections, killed hubs, pruned logs and the past."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from httpx2 import AsyncClient
from playwright.async_api import Browser

from e2e.browsers import IN_A_BROWSER
from e2e.dashboard_browser import Dashboard, dashboard
from e2e.servers import Server, free_port, opened, start_server
from e2e.test_replaced_while_running import remove

pytestmark = [*IN_A_BROWSER, pytest.mark.skipif(sys.platform == "win32", reason="signals")]

EVENTS = 2_000
RECONNECTS = 10
STREAMS = 12
CONNECT = "claude mcp add task-copilot -- task-copilot"
AGENTS = ("ada", "grace", "linus", "ken")


@asynccontextmanager
async def hub(tmp_path: Path, port: int, **settings: Any) -> AsyncIterator[Server]:
    given = {"log_level": "info", "workspace": "shop", "durability": "normal"}
    limits = {"max_request_rate": 1_000_000}
    async with start_server(tmp_path, port=port, **(given | limits | settings)) as started:
        yield started


async def work(server: Server, number: int) -> None:
    """One change, of all kinds in turns."""
    stream = f"Stream-{number % STREAMS}"
    agent = AGENTS[number % len(AGENTS)]
    made = await server.ok(
        *("task_create",),
        title=f"Task {number}",
        **({} if number % 7 == 0 else {"streamId": stream}),
        agent=agent,
    )
    changes: list[dict[str, Any]] = [
        {"status": "in_progress", "assignedAgent": agent},
        {"status": "blocked", "blockedReason": f"Reason {number}"},
        {"status": "in_progress", "title": f"Title {number}"},
        {"status": "completed"},
        {"streamId": f"Stream-{(number + 1) % STREAMS}", "streamName": f"Name {number % 5}"},
        {"status": "cancelled"},
    ]
    for change in changes[: number % (len(changes) + 1)]:
        await server.ok("task_update", id=made["id"], **change, agent=agent)


def head_of(server: Server) -> int:
    """The number of the last event."""
    with opened(server.database) as connection:
        head: int = connection.execute("SELECT max(seq) FROM events").fetchone()[0] or 0
    return head


async def back_online(page: Dashboard) -> None:
    """Spares the wait until the page tries again by itself."""
    await page.page.evaluate("() => dispatchEvent(new Event('online'))")


async def is_same_as_a_fresh_load(page: Dashboard, fresh: Dashboard, head: int) -> None:
    await page.is_live(head)
    await fresh.open()
    await fresh.is_live(head)
    try:
        async with asyncio.timeout(10):
            while await page.shown() != await fresh.shown():
                await page.page.evaluate("() => new Promise(requestAnimationFrame)")
    except TimeoutError:
        assert await page.shown() == await fresh.shown()


async def test_after_2000_events_and_ten_reconnects_the_page_is_as_a_fresh_load(
    browser: Browser, tmp_path: Path
) -> None:
    port = free_port()
    async with hub(tmp_path, port) as first, hub(tmp_path, port) as second:
        await first.served()
        async with dashboard(browser, port) as page, dashboard(browser, port) as fresh:
            await page.open()
            number = 0
            for turn in range(RECONNECTS):
                while head_of(second) < EVENTS * (turn + 1) / RECONNECTS:
                    await work(second, number)
                    number += 1
                sockets = await page.page.evaluate("() => window.sockets.length")
                if turn == RECONNECTS // 2:
                    first.signal(signal.SIGKILL)
                    await first.wait_exit()
                else:
                    await page.page.evaluate("() => window.sockets.at(-1).close()")
                await page.until("count => window.sockets.length > count", sockets)
            head = head_of(second)
            assert head >= EVENTS
            await is_same_as_a_fresh_load(page, fresh, head)
            for place in ("#/streams/shop/Stream-1", "#/tasks?status=blocked", "#/?status=blocked"):
                await page.go(place)
                await fresh.go(place)
            await is_same_as_a_fresh_load(page, fresh, head)


async def test_a_page_shows_how_to_begin_says_that_it_is_offline_and_goes_on_with_the_next_hub(
    browser: Browser, tmp_path: Path
) -> None:
    port = free_port()
    async with dashboard(browser, port) as page:
        async with hub(tmp_path, port) as first:
            await first.served()
            await page.open()
            await page.says(".welcome", "No tasks yet", CONNECT)
            await first.ok("task_create", title="Before", streamId="Stream-A")
            await page.lacks(".welcome", "No tasks yet")
            await page.says(".live", "Live", "event 2")
            await page.says("[data-stream=Stream-A]", "0/1")
            first.signal(signal.SIGKILL)
            await first.wait_exit()
        await page.says(".state", "Offline since")
        await page.says(".banner.offline", "What you see is of", "Trying again")
        await page.says("[data-stream=Stream-A]", "0/1")
        await page.go("#/tasks/TASK-1")
        await page.says("[role=alert]", "The server does not answer")
        async with hub(tmp_path, port) as second:
            await second.served()
            await second.ok("task_update", id="TASK-1", status="completed")
            await back_online(page)
            await page.says(".live", "Live")
            await page.says("h1", "Before")
            await page.says(".state-row", "completed")
            await page.go("#/")
            await page.says("[data-stream=Stream-A]", "1/1 completed", "100%")
            await page.lacks(".banner", "Trying again")


async def test_the_past_at_an_event_is_what_was_shown_when_it_was_the_last(
    browser: Browser, tmp_path: Path
) -> None:
    port = free_port()
    async with hub(tmp_path, port) as server, dashboard(browser, port) as page:
        await server.served()
        await page.open()
        shown: dict[int, list[str]] = {}
        for number in (5, 6, 3, 13, 4, 11):
            await work(server, number)
            head = head_of(server)
            await page.is_live(head)
            shown[head] = await page.shown()
        slider = page.page.get_by_label("Event at which the overview is shown")
        for head in sorted(shown, reverse=True)[1:]:
            await slider.fill(str(head))
            await page.says(".banner.past", f"right after event {head}")
            await page.until(
                "head => document.querySelector('.overview').dataset.shows === String(head)", head
            )
            past = [word for word in await page.shown() if word != "Unblock"]
            assert past == [word for word in shown[head] if word != "Unblock"], head
            assert f"at={head}" in page.page.url
        await page.press("Escape")
        await page.lacks(".banner", "This is the past")
        assert await page.shown() == shown[max(shown)]
        await page.go("#/?at=999999")
        await page.says(".banner.past", "cannot be shown")


async def test_a_page_that_missed_pruned_events_or_has_another_database_reads_all_anew(
    browser: Browser, tmp_path: Path
) -> None:
    port = free_port()
    async with dashboard(browser, port) as page:
        async with hub(tmp_path, port) as first:
            await first.served()
            await first.ok("task_create", title="One", streamId="Stream-A")
            await page.open()
            await page.says("[data-stream=Stream-A]", "0/1")
            first.signal(signal.SIGKILL)
            await first.wait_exit()
        async with hub(tmp_path, free_port()) as elsewhere:
            await elsewhere.ok("task_create", title="Two", streamId="Stream-A")
            await elsewhere.ok("task_update", id="TASK-1", status="completed")
            last = head_of(elsewhere)
        with opened(first.database, write=True) as connection:
            connection.execute("DELETE FROM events WHERE seq < ?", (last,))
        async with hub(tmp_path, port) as second:
            await second.served()
            await back_online(page)
            await page.says("[data-stream=Stream-A]", "1/2", "50%")
            await page.is_live(last)
            remove(second.database)
            await page.until("seq => Number(document.body.dataset.seq) < seq", last)
            await second.ok("task_create", title="New", streamId="Stream-B")
            await page.says("[data-stream=Stream-B]", "0/1")
            assert await page.page.locator("[data-stream=Stream-A]").count() == 0


async def test_where_websockets_are_refused_the_page_asks_for_events_and_is_live(
    browser: Browser, tmp_path: Path
) -> None:
    port = free_port()
    async with hub(tmp_path, port, no_websocket="true") as server:
        await server.served()
        await server.ok("task_create", title="One", streamId="Stream-A")
        async with dashboard(browser, port) as page:
            await page.open()
            await page.says("[data-stream=Stream-A]", "0/1")
            await server.ok("task_update", id="TASK-1", status="completed")
            await page.says("[data-stream=Stream-A]", "1/1 completed")


async def test_who_is_signed_out_meanwhile_is_told_how_to_come_back_and_sees_nothing(
    browser: Browser, tmp_path: Path
) -> None:
    port, secret = free_port(), "s" * 40
    token = tmp_path / "token"
    token.touch(mode=0o600)
    token.write_text(secret)
    async with hub(tmp_path, port, auth="required", token_file=token) as server:
        await server.served()
        await server.ok("task_create", title="Secret plans", streamId="Stream-A")
        async with dashboard(browser, port) as page, AsyncClient(base_url=page.origin) as http:
            bearer = {"Authorization": f"Bearer {secret}"}
            answer = await http.post("/api/tickets", json={}, headers=bearer)
            ticket = answer.json()["ticket"]
            await page.page.goto(f"{page.origin}/?ticket={ticket}#/streams/shop/Stream-A")
            await page.says(".task-card", "Secret plans")
            await page.until("() => window.sockets.at(-1)?.readyState === WebSocket.OPEN")
            await page.page.context.clear_cookies()
            await page.page.evaluate("() => window.sockets.at(-1).close()")
            await page.says(".problem", "You are signed out", "task-copilot token --ticket")
            await page.says(".state", "Signed out")
            await page.go("#/")
            await page.until(
                "() => document.querySelector('.overview').checkVisibility() === false"
            )
