"""An orchestrator, a hub and workers that are killed until all is done, and the verdict."""

import asyncio
import os
import random
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from e2e.orchestrating import Orchestrator, Project, until
from e2e.servers import COMMAND, Server, server

NEEDS: Mapping[str, Sequence[str]] = {
    "Stream-A": (),
    "Stream-B": (),
    "Stream-C": ("Stream-A",),
    "Stream-D": ("Stream-B", "Stream-C"),
}
RUNS = 200
"""More than a stream's worker ever has."""

LONGEST_PAUSE_SECONDS = 1.2
SHARE_AT_WORK = 0.7
PACE_SECONDS = 0.1
WORDS = ("--max-parallel", "3", "--retries", "100", "--retry-delay", "0")
TARGETS = ("orchestrator", "hub", "worker", "worker")


@dataclass
class Report:
    """What happened, for whoever reads the output."""

    seed: int
    kills: dict[str, int] = field(default_factory=dict)
    runs: int = 0
    adopted: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        return (
            f"seed {self.seed}: killed {self.kills}; {self.runs} runs of workers, {self.adopted} "
            f"taken over; {self.seconds:.0f} s"
        )


class Storm:
    """One run with so many kills."""

    def __init__(self, project: Project, folder: Path, seed: int, *, kills: int) -> None:
        self.report = Report(seed)
        self._project, self._folder, self._kills = project, folder, kills
        self._chance = random.Random(seed)
        self._orchestrator: Orchestrator | None = None
        self._hub: Server | None = None

    async def run(self) -> Report:
        """Does it, and raises AssertionError for whatever is not as it has to be."""
        began = time.monotonic()
        self._project.streams(NEEDS, count=2 + self._kills // 3)
        self._project.parts({stream: [self._part() for _ in range(RUNS)] for stream in NEEDS})
        tasks = [asyncio.create_task(each()) for each in (self._work, self._serve, self._kill)]
        try:
            await tasks[0]
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        self._project.judge(NEEDS)
        self.report.runs = len(self._project.of("run"))
        self.report.seconds = time.monotonic() - began
        return self.report

    def _part(self) -> dict[str, Any]:
        return self._chance.choice(
            (
                {"pace": PACE_SECONDS},
                {"pace": PACE_SECONDS},
                {"pace": PACE_SECONDS, "backwards": True},
                {"pace": PACE_SECONDS, "after": 1, "does": "exit"},
                {"dies": 3},
            )
        )

    async def _work(self) -> None:
        """One orchestrator after the other, until one completes."""
        while True:
            async with self._project.orchestrated(*WORDS) as running:
                self._orchestrator = running
                code = await running.ends()
                self.report.adopted += len(running.of("adopted"))
                if code != -signal.SIGKILL:
                    assert code == 0, (code, running.rows[-1:], running.complaints)
                    return

    async def _serve(self) -> None:
        """One hub after the other."""
        while True:
            async with server(
                self._folder,
                database=self._project.database,
                port=self._project.port,
                command=(*COMMAND, "serve"),
            ) as hub:
                self._hub = hub
                await hub.process.wait()
                assert "Traceback" not in hub.stderr_text()

    async def _kill(self) -> None:
        await self._project.noted("begin")
        for _ in range(self._kills):
            await asyncio.sleep(self._chance.uniform(0, LONGEST_PAUSE_SECONDS))
            target = self._chance.choice(TARGETS)
            with suppress(ProcessLookupError):
                if target == "worker":
                    await self._kill_a_worker()
                if target == "orchestrator" and self._orchestrator is not None:
                    await self._kill_an_orchestrator(self._orchestrator)
                if target == "hub" and self._hub is not None:
                    self._hub.process.kill()
            self.report.kills[target] = self.report.kills.get(target, 0) + 1

    async def _kill_an_orchestrator(self, running: Orchestrator) -> None:
        """Most of them after they have begun with something."""
        if self._chance.random() < SHARE_AT_WORK:
            process = running.process
            await until(lambda: running.rows or process.returncode is not None, "its work")
        running.process.kill()

    async def _kill_a_worker(self) -> None:
        """With what it has started, or without."""
        await until(self._project.living, "a worker")
        kill = self._chance.choice((os.kill, os.killpg))
        kill(self._chance.choice(self._project.living()), signal.SIGKILL)
