"""A generator of requests reads the published document and finds nothing that contradicts it."""

import asyncio
import sys
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path

import pytest

from e2e.servers import start_server

SECONDS = 15
COMMAND = (sys.executable, "-m", "schemathesis.cli")

SETTINGS = """
# Of messages: which fields belong to which kind of JSON-RPC message, and what can be printed.
[[operations]]
include-path-regex = "^/mcp$"
checks.positive_data_acceptance.expected-statuses = ["2xx", 400, 404, 422]

# Of an overview: where the log begins and ends.
[[operations]]
include-path-regex = "^/api/overview$"
checks.positive_data_acceptance.expected-statuses = ["2xx", 304, 404, 422]

# Of what is written: how long a text is in UTF-8, what a text may not hold, what the state allows.
[[operations]]
include-name = [
    "POST /api/tasks",
    "PATCH /api/tasks/{taskId}",
    "POST /api/tasks/{taskId}/checkpoints",
    "POST /api/tasks/{taskId}/resume",
]
checks.positive_data_acceptance.expected-statuses = ["2xx", 404, 409, 422]

[checks.positive_data_acceptance]
expected-statuses = ["2xx", 304, 404, 409]

# What a schema cannot say: that a page does not exist, or that of two parameters one is needed.
[[operations]]
include-path-regex = "^/api/(checkpoints|streams|tasks)$"
checks.positive_data_acceptance.expected-statuses = ["2xx", 304, 404, 409, 422]

# Nor where the log ends, that since and replay exclude each other, and what is in a list with
# commas.
[[operations]]
include-path-regex = "^/api/events"
checks.positive_data_acceptance.expected-statuses = ["2xx", 304, 422]
"""


async def examined(folder: Path, address: str, *more: str) -> None:
    """Lets the generator loose on a server; `more` are flags of its own, as a header to send."""
    settings = folder / "schemathesis.toml"
    settings.write_text(SETTINGS, encoding="utf-8")
    process = await asyncio.create_subprocess_exec(
        *(*COMMAND, "--no-color", "--config-file", str(settings), "run"),
        *(f"{address}/openapi.json", "--url", address, "--checks", "all"),
        *("--exclude-path", "/api/events/stream"),  # it has no end
        *("--max-time", str(SECONDS), "--seed", "1", *more),
        cwd=folder,
        stdout=PIPE,
        stderr=STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode(errors="replace")[-20_000:]


@pytest.mark.timeout(180)
async def test_no_request_is_answered_otherwise_than_the_document_says(tmp_path: Path) -> None:
    async with start_server(tmp_path, log_level="info", max_request_rate=1_000_000) as server:
        await server.served()
        for title in ("Types", "Parser", "Printer"):
            await server.ok("task_create", title=title, streamId="Stream-A", assignedAgent="ada")
        created = (await server.ok("task_get", id="TASK-1"))["createdAt"]
        await server.ok("task_create", title="Part", parentId="TASK-1")
        await server.ok("task_update", id="TASK-1", status="in_progress")
        await server.ok("checkpoint_create", taskId="TASK-1", agentContext={"a": [1]})
        await examined(tmp_path, f"http://127.0.0.1:{server.port}")
        assert (await server.ok("task_get", id="TASK-1"))["createdAt"] == created
