"""What an agent pays in bytes."""

import json
import re
from typing import Any

from benchmarks.mcp_process import CLIENT, McpProcess
from benchmarks.measures import Measure, Suite, Target
from benchmarks.sandbox import SERVER, sandbox
from benchmarks.seeding import add_stream, seeding

MODERN = {
    "_meta": {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": CLIENT,
        "io.modelcontextprotocol/clientCapabilities": {},
    }
}
ALL_STATUSES = ("in_progress", "blocked", "pending", "completed", "cancelled")
LONG_TITLES = {
    "ASCII": "long title " * 50,
    "Chinese": "标题" * 250,
    "emoji": "🧭" * 500,
    "quotes": '"\\' * 250,
}
TITLE_CHARACTERS = 500


def run(*, quick: bool) -> list[Measure]:
    """Sizes do not vary: each is taken once."""
    pages = 100 if quick else 1000
    return [*_tools(), *_lines(), _largest_page(pages)]


def _tools() -> list[Measure]:
    sizes = {}
    for version, params in (("2025-11-25", None), ("2026-07-28", MODERN)):
        with sandbox() as box, McpProcess(SERVER, box.environment, box.folder) as server:
            if params is None:
                server.initialize()
            sizes[version] = _size(server.request("tools/list", params))
    note = ", ".join(f"{size} in {version}" for version, size in sizes.items())
    target = Target("<", 8000)
    return [Measure("tools/list", max(sizes.values()), "bytes", "1", target, note)]


def _size(value: Any) -> int:
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())


def _lines() -> list[Measure]:
    found = []
    for how, statuses, target in (
        ("all five statuses", ALL_STATUSES, Target("<=", 24)),
        ("all in_progress, the longest", ("in_progress",), None),
    ):
        text, known = _list_of_100(statuses)
        name = f"task_list of 100 tasks, a task beyond title, stream and agent: {how}"
        value = (len(text.encode()) - known) / 100
        found.append(Measure(name, value, "bytes", "1", target, "the first line included"))
    return found


def _list_of_100(statuses: tuple[str, ...]) -> tuple[str, int]:
    """The list, and the bytes of it that are titles, stream ids and agents."""
    titles = [f"Implement part {number}" for number in range(100)]
    with sandbox() as box:
        with seeding(box) as connection:
            add_stream(connection, "Stream-A", titles, statuses=statuses, agents=("me", "you"))
        with McpProcess(SERVER, box.environment, box.folder) as server:
            server.initialize()
            text = server.text("task_list", {"limit": 100})
    assert text.count("\n") == 100
    return text, sum(map(len, titles)) + 100 * len("Stream-A") + 50 * len("me") + 50 * len("you")


def _largest_page(count: int) -> Measure:
    sizes = {
        (script, layout): _largest_page_of(title, layout, count)
        for script, title in LONG_TITLES.items()
        for layout in ("text", "json")
    }
    (script, layout), size = max(sizes.items(), key=lambda item: item[1])
    return Measure(
        f"largest page of task_list, {count:,} titles of 500 characters",
        size,
        "bytes",
        "1",
        Target("<=", 60_000),
        f"{script} as {layout}; tried {', '.join(LONG_TITLES)} as text and JSON",
    )


def _largest_page_of(title: str, layout: str, count: int) -> int:
    titles = [title[:TITLE_CHARACTERS]] * count
    with sandbox() as box:
        with seeding(box) as connection:
            add_stream(connection, "Stream-A", titles)
        with McpProcess(SERVER, box.environment, box.folder) as server:
            server.initialize()
            return _walk(server, layout, count)


def _walk(server: McpProcess, layout: str, count: int) -> int:
    """The bytes of the largest page; that the pages hold every task once is checked."""
    arguments: dict[str, Any] = {"limit": 1000, "format": layout}
    sizes, seen = [], []
    while True:
        text = server.text("task_list", arguments)
        sizes.append(len(text.encode()))
        seen += re.findall(
            r"^(TASK-\d+) " if layout == "text" else r'"id":"(TASK-\d+)"', text, re.MULTILINE
        )
        cursor = re.search(r'cursor=(\S+)|"nextCursor":"([^"]+)"', text)
        if cursor is None:
            break
        arguments["cursor"] = cursor[1] or cursor[2]
    assert seen == [f"TASK-{number + 1}" for number in range(count)]
    return max(sizes)


SUITE = Suite("sizes", "bytes of what agents read", run)
