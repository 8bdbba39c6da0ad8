"""The dashboard on a large database, measured in the browser."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from statistics import median

from playwright.sync_api import Browser, Page, sync_playwright
from sqlalchemy import Connection, update

from benchmarks.cluster import start_cluster
from benchmarks.mcp_process import McpProcess, call_line
from benchmarks.measures import Measure, Suite, Target, percentile, spread
from benchmarks.pacing import paced
from benchmarks.sandbox import Sandbox, sandbox
from benchmarks.seeding import STATUSES, add_stream, seeding
from task_copilot import jsontext
from task_copilot.database.tables import streams

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
CALLS_PER_SECOND = 60
"""A change of status is three or four events: some 200 a second."""

NEXT = dict(zip(STATUSES, ("in_progress", "completed", "in_progress", "pending"), strict=True))
EVERY_TENTH = 10
"""A tenth of the streams comes before the others, and a tenth after them."""

WAIT_MS = 30_000

OPENED = """streams => document.body.dataset.mode === "live"
    && document.querySelectorAll(".stream-card").length >= streams && performance.now()"""

RECORD = """() => {
  window.frames_taken = [];
  let last = performance.now();
  const frame = () => {
    const now = performance.now();
    window.frames_taken.push(now - last);
    last = now;
    window.frame_asked = requestAnimationFrame(frame);
  };
  window.frame_asked = requestAnimationFrame(frame);
}"""
RECORDED = "() => { cancelAnimationFrame(window.frame_asked); return window.frames_taken; }"


def run(*, quick: bool) -> list[Measure]:
    """Opened anew each time, without a cache; then frames while agents work."""
    count, tasks, opens, seconds = (20, 20, 2, 2) if quick else (200, 100, 7, 10)
    with ExitStack() as stack:
        box = stack.enter_context(sandbox())
        with seeding(box) as connection:
            _seed(connection, count, tasks)
        [hub] = start_cluster(stack, box, 1)
        browser = stack.enter_context(_browser())
        shown = f"{count} streams, {count * tasks:,} tasks"
        taken = [_open(browser, box, count) for _ in range(opens)]
        return [
            Measure(
                f"the overview is there and live, {shown}",
                median(taken),
                "ms",
                f"{opens} times",
                Target("<", 2000),
                spread(taken),
            ),
            *_frames(browser, box, hub, count * tasks, seconds),
        ]


def _seed(connection: Connection, count: int, tasks: int) -> None:
    for number in range(count):
        titles = [f"Task {place} of stream {number}" for place in range(tasks)]
        add_stream(connection, f"Stream-{number}", titles, agents=("ada", "grace", None))
    for number in range(0, count, EVERY_TENTH):
        first, last = f"Stream-{number}", f"Stream-{number + EVERY_TENTH - 1}"
        needed = jsontext.encode([f"Stream-{number + 1}", f"Stream-{number + 2}"])
        _change(connection, first, phase="foundation")
        _change(connection, last, phase="integration", dependencies=needed)


def _change(connection: Connection, stream_id: str, **values: str) -> None:
    connection.execute(update(streams).where(streams.c.stream_id == stream_id).values(**values))


@contextmanager
def _browser() -> Iterator[Browser]:
    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None:
        raise RuntimeError("there is no Chromium or Chrome on the PATH")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        yield browser
        browser.close()


@contextmanager
def _page(browser: Browser, box: Sandbox, place: str) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.goto(f"http://127.0.0.1:{box.port}/{place}")
    yield page
    context.close()


def _open(browser: Browser, box: Sandbox, count: int) -> float:
    """Milliseconds from the start of the navigation."""
    with _page(browser, box, "#/") as page:
        found: float = page.wait_for_function(OPENED, arg=count, timeout=WAIT_MS).json_value()
        return found


def _frames(
    browser: Browser, box: Sandbox, hub: McpProcess, tasks: int, seconds: int
) -> Iterator[Measure]:
    views = {
        "overview": "#/",
        "stream": "#/streams/bench/Stream-1",
        "tasks": "#/tasks",
        "events": "#/events",
    }
    changed = 0
    for name, place in views.items():
        calls = [_call(number, changed, tasks) for number in range(CALLS_PER_SECOND * seconds)]
        changed += len(calls)
        with _page(browser, box, place) as page:
            page.wait_for_selector("body[data-mode=live]", timeout=WAIT_MS)
            before = _seq(page)
            page.evaluate(RECORD)
            paced([hub], calls, CALLS_PER_SECOND)
            taken: list[float] = page.evaluate(RECORDED)
            rate = (_seq(page) - before) / seconds
        yield Measure(
            f"frames of the {name} view at {CALLS_PER_SECOND} changes/s, p95",
            percentile(taken, 95),
            "ms",
            f"{len(taken)} frames",
            Target("<", 50),
            f"{rate:.0f} events/s, longest {max(taken):.0f} ms",
        )


def _seq(page: Page) -> int:
    found: str = page.evaluate("() => document.body.dataset.seq")
    return int(found)


def _call(number: int, changed: int, tasks: int) -> bytes:
    """A task moves on to its next status; tasks of all streams take turns."""
    place = (changed + number) * 101 % tasks
    status = NEXT[STATUSES[place % len(STATUSES)]]
    return call_line(number, "task_update", {"id": f"TASK-{place + 1}", "status": status})


SUITE = Suite("dashboard", "the dashboard in a browser", run)
