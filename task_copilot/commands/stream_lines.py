"""The streams on the screen of `watch`: grouped by phase, with bars."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from task_copilot.commands.board import Picture, Stream
from task_copilot.commands.sentences import percent
from task_copilot.text import plain

STYLES = {"completed": "green", "in_progress": "cyan", "blocked": "bold red", "pending": "dim"}
MOST_TELLING = ("blocked", "in_progress", "pending", "completed")
LARGEST_BAR, SMALLEST_BAR = 40, 6
PERCENT_WIDTH = len("100 %")
STATUS_WIDTH = len("in progress")
BAR_SHARE, ID_SHARE, NAME_SHARE = 6, 5, 5
"""Columns take at most one in so many of the screen's."""


@dataclass(frozen=True, slots=True)
class Signs:
    """Signs for done, in work and open, for a text that was cut, and for lines."""

    done: str
    work: str
    open: str
    cut: str
    rule: str


UNICODE = Signs("█", "▓", "░", "…", "─")
ASCII = Signs("#", "=", "-", "~", "-")


def cut(text: Text, width: int, signs: Signs) -> Text:
    """`text` in at most `width` columns, with a sign where it was cut."""
    if text.cell_len <= width:
        return text
    found = text.copy()
    found.truncate(max(0, width - cell_len(signs.cut)))
    return found.append(signs.cut) if width > 0 else Text()


def group(stream: Stream) -> tuple[str, str]:
    """What stands under one heading: the streams of one phase in one workspace."""
    return stream.workspace, stream.phase


def stream_section(
    picture: Picture, streams: Sequence[Stream], room: int, width: int, signs: Signs
) -> list[Text]:
    """At most `room` lines: a heading for each group, a line for each stream, and how many are
    not shown. `streams` are in order."""
    shown = _that_fit(streams, room)
    if not shown:
        return [Text(f"{len(streams)} streams, and no room to show them", style="bold")][:room]
    columns = _Columns(picture, shown, width, signs)
    lines: list[Text] = []
    for place, stream in enumerate(shown):
        if place == 0 or group(shown[place - 1]) != group(stream):
            names = group(stream) if picture.everywhere else (stream.phase,)
            lines.append(Text(plain(": ".join(names)), style="underline"))
        lines.append(columns.line(stream))
    hidden = len(streams) - len(shown)
    if hidden:
        plural = "stream is" if hidden == 1 else "streams are"
        lines.append(Text(f"{hidden} more {plural} not shown", style="bold"))
    return lines


def _that_fit(streams: Sequence[Stream], room: int) -> list[Stream]:
    """Those that say most, in order, so that they fit with their headings."""
    by_weight = sorted(streams, key=lambda stream: MOST_TELLING.index(stream.status))
    for number in range(min(len(streams), room), 0, -1):
        chosen = {(stream.workspace, stream.id) for stream in by_weight[:number]}
        shown = [stream for stream in streams if (stream.workspace, stream.id) in chosen]
        headings = len(set(map(group, shown)))
        if number + headings + (number < len(streams)) <= room:
            return shown
    return []


class _Columns:
    """The widths of the columns, and a stream as a line of them."""

    def __init__(self, picture: Picture, shown: Sequence[Stream], width: int, signs: Signs) -> None:
        self._picture, self._signs, self._width_of_all = picture, signs, width
        self._of_ids = self._width((stream.id for stream in shown), width // ID_SHARE)
        self._of_names = self._width((self._name(stream) for stream in shown), width // NAME_SHARE)
        self._of_counts = max(len(_count(stream)) for stream in shown)
        self._of_bars = min(LARGEST_BAR, max(SMALLEST_BAR, width // BAR_SHARE))

    @staticmethod
    def _width(texts: Iterable[str], most: int) -> int:
        return min(most, max(cell_len(text) for text in texts))

    def line(self, stream: Stream) -> Text:
        """The line of a stream."""
        style = STYLES.get(stream.status, "")
        line = Text("  ").append(self._cell(stream.id, self._of_ids), style="bold")
        if self._of_names:
            line.append(" ").append(self._cell(self._name(stream), self._of_names))
        line.append(" ").append(_bar(stream, self._of_bars, self._signs), style=style)
        line.append(f" {percent(stream.percentage):>{PERCENT_WIDTH}}")
        line.append(f" {_count(stream):>{self._of_counts}} ")
        line.append(f"{plain(stream.status.replace('_', ' ')):<{STATUS_WIDTH}} ", style=style)
        return line.append(plain(self._detail(stream, self._width_of_all - line.cell_len)))

    def _cell(self, text: str, width: int) -> str:
        return set_cell_size(cut(Text(text), width, self._signs).plain, width)

    @staticmethod
    def _name(stream: Stream) -> str:
        return "" if stream.name == stream.id else plain(stream.name)

    def _detail(self, stream: Stream, room: int) -> str:
        """Who works on what, or who works where there is no room for more, or what the stream
        waits for."""
        found = [
            (task.agent or "(no agent)", task.title)
            for task in self._picture.board.tasks.values()
            if task.status == "in_progress"
            and (task.workspace, task.stream_id) == (stream.workspace, stream.id)
        ]
        if found or stream.status != "pending":
            whole = "; ".join(f"{agent}: {title}" for agent, title in found)
            names = ", ".join(dict.fromkeys(agent for agent, _ in found))
            return whole if cell_len(plain(whole)) <= room else names
        board = self._picture.board.streams
        needed = [board.get((stream.workspace, name)) for name in stream.dependencies]
        waits = [each.id for each in needed if each is not None and each.status != "completed"]
        return f"needs {', '.join(waits)}" if waits else ""


def _count(stream: Stream) -> str:
    return f"{stream.completed} of {stream.total}"


def _bar(stream: Stream, size: int, signs: Signs) -> str:
    if not stream.total:
        return signs.open * size
    done = size * stream.completed // stream.total
    work = size * (stream.completed + stream.in_progress) // stream.total - done
    return signs.done * done + signs.work * work + signs.open * (size - done - work)
