"""The live summary at the foot of a terminal, below the lines of what happened."""

import asyncio
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from task_copilot.commands.stream_lines import ASCII, UNICODE
from task_copilot.orchestrator.machine import Machine
from task_copilot.orchestrator.reporting import last_words, rows_of, sentence
from task_copilot.text import plain

REFRESHES_A_SECOND = 4
BAR = 10
SHOWN_ROWS = 20
"""More streams than that are counted in a last line: a screen has no more room."""

STYLES = {
    "running": "cyan",
    "completed": "green",
    "blocked": "bold yellow",
    "needs help": "bold red",
    "retrying": "yellow",
}
ORDER = ("needs help", "blocked", "running", "ending", "retrying", "ready", "waiting", "completed")


class LiveReporter:
    """Lines above, a table of the streams below; drawn anew a few times a second at most.

    The machine is read in the thread of the event loop, which changes it; another one draws.
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._loop = asyncio.get_running_loop()
        self._look_soon: asyncio.TimerHandle | None = None
        self._console = Console(highlight=False, soft_wrap=True)
        unicode = self._console.encoding.lower().startswith("utf")
        self._signs = UNICODE if unicode else ASCII
        self._shown = Table.grid()
        self._live = Live(
            console=self._console,
            get_renderable=lambda: self._shown,
            refresh_per_second=REFRESHES_A_SECOND,
            transient=True,
        )
        self._live.start()

    def happened(self, kind: str, stream_id: str | None, text: str, **fields: Any) -> None:  # noqa: ARG002
        self._console.print(Text(sentence(stream_id, text)))

    def changed(self) -> None:
        """Looks soon: what changes a hundred times a second is shown four times."""
        if self._look_soon is None:
            self._look_soon = self._loop.call_later(1 / REFRESHES_A_SECOND, self._look)

    def _look(self) -> None:
        self._look_soon = None
        self._shown = self._table()

    def end(self) -> None:
        if self._look_soon is not None:
            self._look_soon.cancel()
        self._live.stop()
        for line in last_words(self._machine):
            self._console.print(Text(line))

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 1))
        table.add_column(no_wrap=True, max_width=24)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column()  # the one that gives way; what does not fit is cut, not wrapped
        rows = sorted(rows_of(self._machine), key=lambda row: ORDER.index(row["state"]))
        for row in rows[:SHOWN_ROWS]:
            state = row["state"]
            table.add_row(
                Text(plain(row["streamId"])),
                Text(self._bar(row["progressPercentage"])),
                Text(state, style=STYLES.get(state, "")),
                Text(plain(self._detail(row)), no_wrap=True, overflow="ellipsis"),
            )
        if len(rows) > SHOWN_ROWS:
            table.add_row(Text(f"and {len(rows) - SHOWN_ROWS} more"))
        return table

    def _bar(self, percentage: float) -> str:
        full = int(percentage / 100 * BAR)
        return self._signs.done * full + self._signs.open * (BAR - full)

    @staticmethod
    def _detail(row: dict[str, Any]) -> str:
        counts = f"{row['completedTasks']} of {row['totalTasks']}"
        if row["state"] == "waiting":
            return f"{counts}, for {', '.join(row['waitsFor'])}"
        if row["state"] == "running" and row["pid"]:
            return f"{counts}, process {row['pid']}"
        return f"{counts} {row['help'] or row['blockedReason'] or ''}"
