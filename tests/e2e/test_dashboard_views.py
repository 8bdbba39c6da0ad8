"""Each view of the dashboard in a real browser: what it shows, by mouse and by keyboard."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal

import pytest
import pytest_asyncio
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser

from e2e.browsers import IN_A_BROWSER
from e2e.dashboard_browser import Dashboard, dashboard
from e2e.servers import Server, start_server

pytestmark = IN_A_BROWSER

HOSTILE = (
    "<img src=x onerror=\"document.title='run'\"><script>document.title='run'</script>"
    "\x1b[31m\u202egnp.exe\u2066 {{7*7}} javascript:alert(1) " + "long" * 60
)
SHOWN_OF_IT = (
    "<img src=x onerror=\"document.title='run'\"><script>document.title='run'</script>"
    "\u241b[31m[U+202E]gnp.exe[U+2066] {{7*7}} javascript:alert(1) "
)
VIEWS = ("#/", "#/streams/shop/api", "#/tasks", "#/tasks/TASK-2", "#/events")


async def fill(server: Server) -> None:
    """A small project: TASK-2 in progress with a checkpoint, TASK-3 blocked, TASK-5 hostile."""
    types: dict[str, Any] = {
        "streamId": "types",
        "streamName": "Shared types",
        "streamPhase": "foundation",
    }
    api: dict[str, Any] = {
        "streamId": "api",
        "streamName": "HTTP API",
        "streamDependencies": ["types"],
    }
    await server.ok("task_create", title="Name the events", **types)
    await server.ok(
        *("task_create",),
        **{**api, "title": "Errors with a reason", "description": "Say what was wrong."},
        metadata={"branch": "api-errors"},
        files=["errors.py"],
    )
    await server.ok("task_create", title="Routes for tasks", **api)
    await server.ok("task_create", title="Sentences for 404", parentId="TASK-2", streamId="api")
    await server.ok("task_create", title=HOSTILE, description=HOSTILE, streamId="api", agent="eve")
    await server.ok("task_update", id="TASK-1", status="in_progress", agent="ada")
    await server.ok("task_update", id="TASK-1", status="completed", agent="ada")
    work = {"status": "in_progress", "assignedAgent": "linus", "notes": "404 is done."}
    await server.ok("task_update", id="TASK-2", **work, agent="linus")
    await server.ok(
        *("checkpoint_create",),
        taskId="TASK-2",
        executionPhase="build",
        agentContext={"open": ["409"]},
        draftContent="def refused():",
        agent="linus",
    )
    why = {"status": "blocked", "blockedReason": "Who has the key?", "assignedAgent": "ken"}
    await server.ok("task_update", id="TASK-3", **why, agent="ken")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    """One hub with the small project, which no test of this module changes."""
    folder: Path = tmp_path_factory.mktemp("dashboard")
    settings: dict[str, Any] = {
        "log_level": "info",
        "workspace": "shop",
        "max_request_rate": 1_000_000,
    }
    async with start_server(folder, **settings) as started:
        await started.served()
        await fill(started)
        yield started


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def page(browser: Browser, server: Server) -> AsyncIterator[Dashboard]:
    async with dashboard(browser, server.port) as found:
        yield found


async def test_the_overview_shows_what_is_blocked_and_why_each_stream_and_who_works(
    page: Dashboard,
) -> None:
    await page.open()
    await page.says(".blocked", "1 task", "TASK-3", "Routes for tasks", "Who has the key?", "@ken")
    await page.says(".summary", "20%", "1 of 5 tasks completed", "1 completed", "2 pending")
    await page.says("[data-stream=types]", "Shared types", "100%", "completed")
    await page.says("[data-stream=api]", "HTTP API", "blocked", "0%", "@linus", "Needs types")
    await page.says(".working", "@linus", "TASK-2", "Errors with a reason")
    await page.says(".chart", "last 24 hours", "1")
    bars = await page.page.locator(".chart rect").evaluate_all(
        "nodes => nodes.filter(node => Number(node.getAttribute('height')) > 0).length"
    )
    assert bars == 1
    phases = await page.page.locator(".phase h3").all_inner_texts()
    assert [phase.split()[0].lower() for phase in phases] == ["foundation", "parallel"]
    edges = page.page.locator(".edge")
    assert await edges.count() == 1
    assert await edges.first.get_attribute("data-done") is not None  # what it needs is there
    blocked = await page.page.locator(".blocked").bounding_box()
    streams = await page.page.locator(".graphs").bounding_box()
    assert blocked is not None
    assert streams is not None
    assert blocked["y"] < streams["y"]


async def test_a_stream_shows_its_tasks_by_status(page: Dashboard) -> None:
    await page.open("#/streams/shop/api")
    await page.says("h1", "HTTP API")
    await page.says(".facts", "api", "parallel phase", "needs", "types")
    await page.says(".column[data-status=in_progress]", "1", "Errors with a reason", "@linus")
    await page.says(".column[data-status=blocked]", "1", "Routes for tasks", "Who has the key?")
    await page.says(".column[data-status=pending]", "2", "Sentences for 404")
    await page.says(".column[data-status=completed]", "0")


async def test_a_task_shows_its_fields_its_subtasks_its_checkpoints_and_its_history(
    page: Dashboard,
) -> None:
    await page.open("#/tasks/task-2")
    await page.says("h1", "Errors with a reason")
    await page.says(".state-row", "in progress")
    await page.says(".task-main", "Say what was wrong.", "404 is done.")
    await page.says(".task-main .subtasks", "TASK-4", "Sentences for 404")
    await page.says("aside", "@linus", "api", "shop", "errors.py", '"branch": "api-errors"')
    await page.says(".timeline", "CP-1 made", "pending → in progress", "created", "404 is done.")
    entries = await page.page.locator(".timeline .what").all_inner_texts()
    assert entries == [
        "CP-1 made (manual): build",
        "pending → in progress",
        "changed assignedAgent, notes",
        "created",
    ]
    await page.page.locator("summary", has_text="CP-1").click()
    await page.says(".kept", "Status then", "in progress", "404 is done.", "409", "def refused():")


async def test_the_events_are_shown_newest_first_and_filtered_as_the_protocol_does(
    page: Dashboard,
) -> None:
    await page.open("#/events")
    numbers = page.page.locator(".event-line .number")
    await page.says(".event-line", "stream.blocked", "Who has the key?")
    shown = [int(text) for text in await numbers.all_inner_texts()]
    assert shown == sorted(shown, reverse=True)
    newest = shown[0]
    await page.page.get_by_label("Types").fill("task.completed, checkpoint.*")
    await page.lacks(".event-line", "stream.blocked")
    await page.says(".event-line", "checkpoint.created")
    types = await page.page.locator(".event-line .type").all_inner_texts()
    assert types == ["checkpoint.created", "task.completed"]
    assert "eventTypes=task.completed" in page.page.url
    await page.page.get_by_label("Not by").fill("linus")
    await page.lacks(".event-line", "checkpoint.created")
    await page.page.get_by_label("Types").fill("task.exploded")
    await page.says("[role=alert]", "eventTypes", "task.exploded", "task.completed")
    await page.go("#/events")
    await page.says(".event-line .number", str(newest))
    await page.page.locator(".event-line .raw").first.click()
    await page.says("dialog .json", f'"seq": {newest}', '"workspace": "shop"')
    await page.press("Escape")


async def test_the_log_jumps_to_a_time_and_back_to_live(page: Dashboard) -> None:
    await page.open("#/events")
    await page.page.get_by_label("Jump to", exact=True).fill("2020-01-01T00:00:00")
    await page.press("Enter")
    await page.says(".result-count", "up to event 1")
    assert await page.page.locator(".event-line .number").all_inner_texts() == ["1"]
    await page.page.get_by_role("link", name="Back to live").click()
    await page.says(".result-count", "new ones come in at the top")


async def test_tasks_are_found_by_text_and_by_id(page: Dashboard) -> None:
    await page.open()
    await page.press("/")
    await page.page.keyboard.type("reason")
    await page.says(".task-line", "TASK-2", "Errors with a reason")
    await page.lacks(".task-line", "TASK-1")
    assert page.page.url.endswith("#/tasks?text=reason")
    await page.press("ArrowDown")
    assert (await page.focused()).startswith("in progress")
    await page.press("Enter")
    await page.says("h1", "Errors with a reason")
    await page.press("/")
    await page.page.keyboard.type("task-3")
    await page.press("Enter")
    await page.says("h1", "Routes for tasks")


@pytest.mark.parametrize(
    ("place", "selector", "words", "absent"),
    [
        ("#/?agent=linus&status=blocked", ".graphs", "HTTP API", "Shared types"),
        ("#/?stream=typ&workspace=shop", ".graphs", "Shared types", "HTTP API"),
        (
            "#/streams/shop/api?status=in_progress&agent=linus",
            ".board",
            "Errors with",
            "Routes for tasks",
        ),
        ("#/tasks?agent=linus&status=in_progress", ".task-lines", "TASK-2", "TASK-3"),
        ("#/events?topics=task%3ATASK-1&agents=&at=4", ".event-lines", "TASK-1", "TASK-2"),
    ],
)
async def test_a_shared_address_opens_the_same_view_with_its_filters(
    page: Dashboard, place: str, selector: str, words: str, absent: str
) -> None:
    await page.open(place)
    await page.says(selector, words)
    await page.lacks(selector, absent)


async def test_an_address_that_leads_nowhere_says_what_to_do(page: Dashboard) -> None:
    await page.open("#/tasks/TASK-999")
    await page.says("[role=alert]", "There is no task TASK-999")
    await page.go("#/streams/shop/nothing")
    await page.says("[role=alert]", "nothing")
    await page.go("#/somewhere/else")
    await page.says(".notice", "There is nothing at this address", "#/tasks/TASK-12")
    await page.go("#/?workspace=unknown")
    await page.says(".problem", "unknown")


async def test_what_an_agent_wrote_is_text_and_runs_nothing(page: Dashboard) -> None:
    for place, selector in (
        ("#/tasks/TASK-5", "h1"),
        ("#/tasks", ".task-line"),
        ("#/streams/shop/api", ".task-card"),
        ("#/events", ".event-line"),
    ):
        await page.open(place)
        await page.says(selector, SHOWN_OF_IT)
        assert await page.page.locator("main img, main script, main iframe").count() == 0
        assert not (await page.page.title()).startswith("run")
        beyond = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert await page.page.evaluate(beyond) == 0
    isolated = await page.page.locator(".event-line .title").first.evaluate(
        "node => getComputedStyle(node).unicodeBidi"
    )
    assert isolated == "isolate"


async def test_everything_is_reached_with_the_keyboard(page: Dashboard) -> None:
    await page.open()
    await page.press("?")
    await page.says("dialog[open]", "Keys and help", "search tasks by text or id")
    await page.press("Escape")
    await page.lacks("dialog", "Keys and help")
    await page.page.locator("[data-stream=types]").focus()
    await page.press("ArrowRight")
    assert "HTTP API" in await page.focused()
    ring = await page.page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle")
    assert ring == "solid"
    await page.press("Enter")
    await page.says("h1", "HTTP API")
    await page.press("ArrowDown", "Enter")
    await page.says("h1", "Routes for tasks")
    await page.press("Escape")
    await page.says("h1", "HTTP API")
    await page.press("Escape")
    await page.says(".graphs", "Shared types")
    await page.press("g", "e")
    await page.says(".event-line", "task.created")
    await page.press("p")
    await page.says("button", "Resume")
    await page.press("g", "t")
    await page.says(".task-line", "Routes for tasks")
    await page.press("n")
    await page.says("dialog[open]", "New task")
    await page.press("Escape")
    await page.press("g", "o")
    await page.says(".graphs", "Shared types")
    await page.press("h")
    assert "Event at which" in await page.focused()


@pytest.mark.parametrize(("scheme", "width"), [("light", 360), ("dark", 1280)])
async def test_every_view_is_accessible_and_fits_the_screen(
    browser: Browser, server: Server, scheme: Literal["light", "dark"], width: int
) -> None:
    async with dashboard(browser, server.port, width=width, scheme=scheme) as page:
        await page.open()
        for place in (*VIEWS, "#/?at=4", "#/tasks/TASK-999"):
            await page.go(place)
            await page.until("() => !document.querySelector('main .loading:not([hidden])')")
            await page.until("() => !document.querySelector('[aria-busy]')")
            found = (await Axe().run(page.page)).response["violations"]
            assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found] == []
            beyond = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            assert await page.page.evaluate(beyond) == 0, place


async def test_every_view_fits_a_very_wide_screen(browser: Browser, server: Server) -> None:
    async with dashboard(browser, server.port, width=2560) as page:
        await page.open()
        for place in VIEWS:
            await page.go(place)
            await page.until("() => !document.querySelector('main .loading:not([hidden])')")
            beyond = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            assert await page.page.evaluate(beyond) == 0, place
