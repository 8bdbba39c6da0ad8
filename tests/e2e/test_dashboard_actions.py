"""What people change on the dashboard, and what it says where that is refused."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from e2e.browsers import IN_A_BROWSER
from e2e.dashboard_browser import Dashboard, dashboard
from e2e.servers import Server, events, start_server

pytestmark = IN_A_BROWSER


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    folder: Path = tmp_path_factory.mktemp("dashboard")
    settings: dict[str, Any] = {
        "log_level": "info",
        "workspace": "shop",
        "max_request_rate": 1_000_000,
    }
    async with start_server(folder, **settings) as started:
        await started.served()
        await started.ok("task_create", title="The first")
        yield started


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def page(browser: Browser, server: Server) -> AsyncIterator[Dashboard]:
    async with dashboard(browser, server.port) as found:
        await found.open()
        yield found


async def test_a_task_is_created_and_a_refusal_stands_at_its_field(
    page: Dashboard, server: Server
) -> None:
    await page.go("#/")
    await page.says(".summary", "completed")
    await page.page.get_by_role("button", name="New task").click()
    dialog = page.page.locator("dialog[open]")
    before = len(events(server.database))
    await dialog.get_by_role("button", name="Create task").click()
    await page.says("dialog .field", "Title", "takes a text of 1 to 500 characters")
    assert await dialog.get_by_label("Title").get_attribute("aria-invalid") == "true"
    assert await page.focused() == ""  # the field that is wrong
    assert len(events(server.database)) == before
    await dialog.get_by_label("Title").fill("Pay with a card")
    await dialog.get_by_label("Stream", exact=True).fill("no good id")
    await dialog.get_by_role("button", name="Create task").click()
    await page.says("dialog .field", "Stream", "A-Z a-z 0-9 . _ -")
    await page.lacks("dialog .field", "takes a text of 1 to 500 characters")
    await dialog.get_by_label("Stream", exact=True).fill("payments")
    await dialog.get_by_role("button", name="Create task").click()
    await page.says("h1", "Pay with a card")
    await page.says("aside", "payments")
    made = [event for event in events(server.database) if event["eventType"] == "task.created"]
    assert made[-1]["data"]["taskTitle"] == "Pay with a card"
    assert made[-1]["actor"] == "dashboard"


async def test_a_status_is_changed_and_the_change_arrives_as_an_event(
    page: Dashboard, server: Server
) -> None:
    made = await server.ok("task_create", title="Check it", streamId="qa")
    await page.go(f"#/tasks/{made['id']}")
    await page.says("h1", "Check it")
    await page.page.get_by_role("button", name="Change status").click()
    await page.page.get_by_label("Status", exact=True).select_option("blocked")
    await page.page.get_by_label("Why it is blocked").fill("No account yet")
    await page.page.get_by_role("button", name="Change", exact=True).click()
    await page.says(".blocked-box", "No account yet")
    await page.says(".timeline", "blocked: No account yet", "by dashboard")
    assert await page.focused() == "Change status"


async def test_a_refused_change_says_why_where_it_was_asked_for(
    page: Dashboard, server: Server
) -> None:
    made = await server.ok("task_create", title="Too long a reason")
    await page.go(f"#/tasks/{made['id']}")
    await page.says("h1", "Too long a reason")
    before = len(events(server.database))
    await page.page.get_by_role("button", name="Change status").click()
    await page.page.get_by_label("Status", exact=True).select_option("blocked")
    reason = page.page.get_by_label("Why it is blocked")
    await reason.evaluate("node => { node.maxLength = 9000; node.value = 'why '.repeat(2000); }")
    await page.page.get_by_role("button", name="Change", exact=True).click()
    await page.says(".inline-form .field", "Why it is blocked", "2,000 characters")
    assert len(events(server.database)) == before
    await page.press("Escape")
    await page.lacks(".inline-form", "Why it is blocked")


async def test_a_task_is_unblocked_with_a_note_where_the_overview_shows_it(
    page: Dashboard, server: Server
) -> None:
    made = await server.ok("task_create", title="Waits for a key")
    why = {"status": "blocked", "blockedReason": "No key", "notes": "Asked twice."}
    await server.ok("task_update", id=made["id"], **why)
    await page.go("#/")
    line = page.page.locator(".blocked-list li", has_text="Waits for a key")
    await line.get_by_role("button", name="Unblock").click()
    await line.get_by_label("Note to the agent").fill("It is in the safe.")
    await line.get_by_role("button", name="Unblock").last.click()
    await page.lacks(".blocked", "Waits for a key")
    await page.says(".working", "Waits for a key")
    task = await server.ok("task_get", id=made["id"])
    assert task["status"] == "in_progress"
    assert task["notes"] == "Asked twice.\n\nIt is in the safe."


async def test_a_checkpoint_is_made_and_what_it_keeps_is_shown(
    page: Dashboard, server: Server
) -> None:
    made = await server.ok("task_create", title="Half done")
    await page.go(f"#/tasks/{made['id']}")
    await page.says(".task-main", "A checkpoint keeps the task")
    await page.page.get_by_role("button", name="Make a checkpoint").click()
    await page.page.get_by_label("Phase", exact=True).fill("p" * 200)
    await page.page.get_by_label("What is next").fill("n" * 2001)
    await page.page.get_by_role("button", name="Make checkpoint").click()
    await page.says(".inline-form .complaint", "2,000 characters")
    await page.page.get_by_label("Phase", exact=True).fill("review")
    await page.page.get_by_label("What is next").fill("Read it once more")
    await page.page.get_by_role("button", name="Make checkpoint").click()
    await page.says(".checkpoints", "CP-1", "manual", "review")
    await page.says(".timeline", "CP-1 made (manual): review")
    await page.page.locator("summary", has_text="CP-1").click()
    await page.says(".kept", "Read it once more")


async def test_a_task_moves_between_the_columns_of_its_stream_as_it_moves(
    page: Dashboard, server: Server
) -> None:
    made = await server.ok("task_create", title="Moves", streamId="board", streamName="Board")
    await page.go("#/streams/shop/board")
    await page.says(".column[data-status=pending]", "Moves")
    for status in ("in_progress", "blocked", "completed", "cancelled"):
        await server.ok("task_update", id=made["id"], status=status)
        await page.says(f".column[data-status={status}]", "Moves", "1")
    await page.lacks(".column[data-status=pending]", "Moves")
    await server.ok("task_update", id=made["id"], streamId="")
    await page.lacks(".board", "Moves")
    await page.says(".progress-panel", "0 of 0 tasks completed")


async def test_new_events_come_in_at_the_top_unless_the_log_is_paused(
    page: Dashboard, server: Server
) -> None:
    await page.go("#/events?eventTypes=task.created")
    await page.says(".result-count", "new ones come in at the top")
    await server.ok("task_create", title="While it runs")
    await page.says("[aria-posinset='1']", "While it runs")
    await page.page.get_by_role("button", name="Pause").click()
    await server.ok("task_create", title="While it pauses")
    await page.says(".result-count", "paused, 1 new event")
    await page.lacks(".event-line", "While it pauses")
    await page.page.get_by_role("button", name="Resume").click()
    await page.says("[aria-posinset='1']", "While it pauses")
