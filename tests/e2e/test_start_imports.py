"""What a stdio server has imported by its first answer, and by that of a tool."""

import json
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from e2e.servers import after, start_server

NOTING = """
import asyncio, json, os, sys
from task_copilot.stdio import transport

moments, leave = {}, os._exit

class Noting(asyncio.Event):
    def set(self):
        moments.setdefault("answered", sorted(sys.modules))
        super().set()

class NotingTransport(transport.StdioTransport):
    def __setattr__(self, name, value):
        super().__setattr__(name, Noting() if name == "first_answer" else value)

def note_and_leave(code):
    moments["ended"] = sorted(sys.modules)
    with open(os.environ["NOTES"], "w") as notes:
        json.dump(moments, notes)
    leave(code)

transport.StdioTransport = NotingTransport
transport.serve_stdio.__globals__["StdioTransport"] = NotingTransport
os._exit = note_and_leave
"""

OURS_AT_THE_ANSWER = {
    *("cli", "clock", "errors", "events", "jsontext", "launch", "location", "patience", "schema"),
    *("server", "settings", "stdio", "text", "tools"),
}
"""Modules and packages of the program."""

OF_EVENTS_AND_TOOLS_AT_THE_ANSWER = {
    *("events.topics", "events.types"),
    *("tools.adapter", "tools.arguments", "tools.registry", "tools.values"),
}

PACKAGES_BEFORE_THE_ANSWER = {"click", "platformdirs", "task_copilot"}
"""Beside the standard library and what `import mcp.server` brings."""

PACKAGES_OF_TOOLS_AND_HUB = {"sqlalchemy", "pysqlite3", "greenlet", "h11", "websockets"}

WHEN_USED = (
    *("alembic", "mako", "rich", "pygments", "prometheus_client", "jwt", "psycopg"),
    *("task_copilot.client", "task_copilot_client", "task_copilot.commands"),
    *("task_copilot.dashboard", "task_copilot.description", "task_copilot.testing"),
    *("task_copilot.database.migrate", "task_copilot.metrics", "task_copilot.orchestrator"),
    *("task_copilot.bearer", "task_copilot.access.keys"),
)
"""Imported by what needs it; an ordinary session needs none of it."""


@dataclass(frozen=True)
class Imported:
    """Names of modules."""

    answered: frozenset[str]
    ended: frozenset[str]


def by_the_sdk() -> frozenset[str]:
    """The packages that `import mcp.server` alone brings."""
    code = "import sys, json, mcp.server; print(json.dumps(list(sys.modules)))"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    return packages(json.loads(found.stdout))


def packages(modules: Iterable[str]) -> frozenset[str]:
    """The distributions' top-level packages: no standard library, and no parts of compilers."""
    top = {name.partition(".")[0] for name in modules} - set(sys.stdlib_module_names)
    return frozenset(name for name in top if not name.startswith("_") and name != "cython_runtime")


def below(modules: Iterable[str], name: str) -> set[str]:
    return {module for module in modules if module == name or module.startswith(f"{name}.")}


async def imported_by_a_session(tmp_path: Path) -> Imported:
    """What a server imports that finds its database, is asked for a task, and serves events."""
    async with start_server(tmp_path) as first:
        await first.ok("task_create", title="makes the tables", streamId="Stream-A")
    notes = tmp_path / "notes"
    async with start_server(
        tmp_path,
        folder=first.folder,
        environment={"NOTES": str(notes)},
        command=after(NOTING),
        log_level="info",
    ) as server:
        await server.ok("task_update", id="TASK-1", status="in_progress")
        await server.served()
    return Imported(
        **{name: frozenset(found) for name, found in json.loads(notes.read_text()).items()}
    )


async def test_a_session_imports_what_it_uses_and_the_database_and_hub_after_its_first_answer(
    tmp_path: Path,
) -> None:
    found = await imported_by_a_session(tmp_path)
    assert packages(found.answered) - by_the_sdk() <= PACKAGES_BEFORE_THE_ANSWER
    ours = {name.removeprefix("task_copilot.") for name in below(found.answered, "task_copilot")}
    ours.discard("task_copilot")
    assert {name.partition(".")[0] for name in ours} == OURS_AT_THE_ANSWER
    inner = {name for name in ours if name.startswith(("events.", "tools."))}
    assert inner == OF_EVENTS_AND_TOOLS_AT_THE_ANSWER

    assert packages(found.ended) - packages(found.answered) <= PACKAGES_OF_TOOLS_AND_HUB
    assert below(found.ended, "task_copilot.hub")
    assert {name for heavy in WHEN_USED for name in below(found.ended, heavy)} == set()
