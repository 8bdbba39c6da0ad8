"""The live summary at the foot of a terminal, below the lines of what happened."""

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
    """Lines above, a table of the streams below; drawn anew a few times a second at most."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._console = Console(highlight=False, soft_wrap=True)
        unicode = self._console.encoding.lower().startswith("utf")
        self._signs = UNICODE if unicode else ASCII
        self._live = Live(
            console=self._console,
            get_renderable=self._table,
            refresh_per_second=REFRESHES_A_SECOND,
            transient=True,
        )
        self._live.start()

    def happened(self, kind: str, stream_id: str | None, text: str, **fields: Any) -> None:  # noqa: ARG002
        self._console.print(Text(sentence(stream_id, text)))

    def changed(self) -> None:
        """Drawn by the clock: what changes a hundred times a second is shown four times."""

    def end(self) -> None:
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
