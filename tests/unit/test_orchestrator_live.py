"""The live summary of a run, at the foot of a terminal."""

import asyncio
import threading
from typing import Any

import pytest

from orchestrating import row
from task_copilot.orchestrator import live
from task_copilot.orchestrator.live import LiveReporter
from task_copilot.orchestrator.machine import Machine
from task_copilot.orchestrator.reporting import rows_of

LIMIT_SECONDS = 20.0


async def test_the_run_is_looked_at_only_in_the_thread_that_changes_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop, looked = asyncio.get_running_loop(), asyncio.Event()
    threads = set()

    def looking(machine: Machine) -> list[dict[str, Any]]:
        threads.add(threading.get_ident())
        loop.call_soon_threadsafe(looked.set)
        return rows_of(machine)

    monkeypatch.setattr(live, "rows_of", looking)
    machine = Machine()
    machine.load([row("A", pending=1), row("B", "A", pending=1)], 0.0)
    reporter = LiveReporter(machine)
    try:
        await asyncio.to_thread(threads.clear)  # what it has looked at is heard of by now
        looked.clear()
        reporter.changed()
        async with asyncio.timeout(LIMIT_SECONDS):
            await looked.wait()
    finally:
        reporter.end()
    assert threads == {threading.get_ident()}
