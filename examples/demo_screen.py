"""What the demo shows: a block that is redrawn in a terminal, plain lines elsewhere."""

import os
import re
import sys
import unicodedata
from collections import deque
from collections.abc import Mapping
from typing import Any, Protocol, TextIO

from examples.demo_listener import Picture, StreamState

EVENTS_SHOWN = 7
WIDTH_OF_A_PAGE = 80
LARGEST_BAR = 40
COLOURS = {"completed": "32", "in progress": "36", "blocked": "31", "waiting": "2", "ready": "33"}
BARS = ("█▓░…", "#=-~")
"""Signs for done, in work, open, and for a text that was cut; the second is plain ASCII."""


class Screen(Protocol):
    """Where the demo's progress goes."""

    @property
    def width(self) -> int:
        """How long a line may be."""

    def say(self, *lines: str) -> None:
        """Prints lines that stay."""

    def show(self, event: dict[str, Any], picture: Picture) -> None:
        """Shows an event and what follows from it."""

    def settle(self) -> None:
        """Leaves what is shown where it is: from now on events come as lines below it."""


def screen_for(out: TextIO, environment: Mapping[str, str]) -> Screen:
    """The block for a terminal that can redraw, else plain lines."""
    if out.isatty() and environment.get("TERM") != "dumb":
        return Block(out, colours=not environment.get("NO_COLOR"))
    return Lines(out)


def sentence(event: Mapping[str, Any]) -> str | None:
    """An event as a person reads it; None for one that says nothing new."""
    data = event["data"]
    task = f"{data.get('taskId')} {data.get('taskTitle')}"
    stream = f"{data.get('streamId')} {data.get('streamName')}"
    texts = {
        "task.created": f"{task} ({data.get('streamId') or 'no stream'})",
        "task.status_changed": f"{task} is {str(data.get('newStatus')).replace('_', ' ')}",
        "task.blocked": f"{task}: {data.get('blockedReason')}",
        "task.completed": f"{task}{_after(data.get('duration'))}",
        "stream.started": f"{stream}",
        "stream.progress": f"{stream}: {data.get('progressPercentage', 0):.0f} %",
        "stream.blocked": f"{stream}: {data.get('blockedReason')}",
        "stream.completed": f"{stream}{_after(data.get('duration'))}",
        "checkpoint.created": f"{data.get('checkpointId')} of {task}",
        "checkpoint.resumed": f"{data.get('checkpointId')} of {task}",
        "checkpoint.expired": f"{data.get('checkpointId')} of {task}",
    }
    said_by_another = data.get("newStatus") in {"blocked", "completed"}
    if event["eventType"] == "task.status_changed" and said_by_another:
        return None
    return texts.get(event["eventType"])


def _after(milliseconds: int | None) -> str:
    return "" if milliseconds is None else f" after {milliseconds / 1000:.1f} s"


def line(event: Mapping[str, Any]) -> str | None:
    """An event as one line: its type, who acted, and what it says."""
    text = sentence(event)
    if text is None:
        return None
    return printable(f"{event['eventType']:<20}{event['actor']:<5} {text}")


def printable(text: str) -> str:
    """`text` without signs that could steer a terminal."""
    return "".join(sign if sign.isprintable() else "?" for sign in text)


def columns(text: str) -> int:
    """How many columns of a terminal `text` takes."""
    return sum(_columns_of(sign) for sign in text)


def _columns_of(sign: str) -> int:
    if unicodedata.combining(sign):
        return 0
    return 2 if unicodedata.east_asian_width(sign) in "WF" else 1


def cut(text: str, width: int, mark: str) -> str:
    """`text` in at most `width` columns, with `mark` where it was cut."""
    if columns(text) <= width:
        return text
    left, kept = width - 1, ""
    for sign in text:
        left -= _columns_of(sign)
        if left < 0:
            break
        kept += sign
    return kept + mark if width > 0 else ""


class Lines:
    """Each telling event as a line, for pipes, files and terminals that cannot redraw."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._shown: dict[str, float] = {}

    @property
    def width(self) -> int:
        """A page's width; nothing here is cut to it."""
        return WIDTH_OF_A_PAGE

    def say(self, *lines: str) -> None:
        """Prints lines that stay."""
        for text in lines:
            print(text, file=self._out)
        self._out.flush()

    def show(self, event: dict[str, Any], _picture: Picture) -> None:
        """Prints an event, and progress only where it moved."""
        if event["eventType"] == "stream.progress" and not self._moved(event["data"]):
            return
        text = line(event)
        if text is not None:
            self.say(text)

    def _moved(self, data: Mapping[str, Any]) -> bool:
        before = self._shown.get(data["streamId"], 0.0)
        self._shown[data["streamId"]] = data["progressPercentage"]
        return bool(before != data["progressPercentage"])

    def settle(self) -> None:
        """Lines stay where they are anyway."""


class Block:
    """One bar for each stream and the last events, redrawn in place."""

    def __init__(self, out: TextIO, *, colours: bool) -> None:
        self._out = out
        self._colours = colours
        self._drawn: list[str] = []
        self._events: deque[str] = deque(maxlen=EVENTS_SHOWN)
        self._settled = False
        self._signs = BARS[0] if _can_print(out, BARS[0]) else BARS[1]

    @property
    def width(self) -> int:
        """The width that the terminal has at this moment."""
        return _size(self._out).columns

    def say(self, *lines: str) -> None:
        """Prints lines that stay, cut to the width of the terminal."""
        width = self.width
        text = "".join(f"{cut(each, width, self._signs[3])}\n" for each in lines)
        self._out.write(text)
        self._out.flush()

    def settle(self) -> None:
        """Leaves the block where it is."""
        self._settled = True

    def show(self, event: dict[str, Any], picture: Picture) -> None:
        """Redraws the block with the new picture."""
        text = None if event["eventType"] == "stream.progress" else line(event)
        if self._settled:
            self.say(*([] if text is None else [text]))
            return
        if text is not None:
            self._events.append(text)
        self._draw(picture)

    def _draw(self, picture: Picture) -> None:
        width, height = _size(self._out)
        lines = [row for stream in _sorted(picture) for row in self._rows(stream, picture, width)]
        room = max(0, height - len(lines) - 3)
        events = list(self._events)[-room:] if room else []
        lines += ["", *(cut(text, width, self._signs[3]) for text in events)]
        lines = lines[: max(1, height - 1)]
        self._out.write(self._back(width) + "".join(f"{text}\n" for text in lines))
        self._out.flush()
        self._drawn = lines

    def _back(self, width: int) -> str:
        """To the start of the drawn block, wrapped as it may be if the terminal got narrower."""
        rows = sum(max(1, -(-columns(_plain(text)) // width)) for text in self._drawn)
        return f"\x1b[{rows}F\x1b[J" if rows else ""

    def _rows(self, stream: StreamState, picture: Picture, width: int) -> list[str]:
        state = _state(stream, picture)
        head = cut(f"{stream.stream_id}  {stream.name}", 22, self._signs[3]).ljust(22)
        tail = f"{stream.percentage:>4.0f} %  {stream.completed} of {stream.total}  {state}"
        room = width - columns(head) - len(f"{'':>4} %  00 of 00  in progress") - 2
        bar = _bar(stream, max(0, min(LARGEST_BAR, room)), self._signs)
        first = cut(f"{printable(head)} {bar} {tail}", width, self._signs[3])
        if first.endswith(state):
            first = first.removesuffix(state) + self._coloured(state, COLOURS[state])
        detail = cut(f"          {printable(_detail(stream, picture))}", width, self._signs[3])
        return [first, self._coloured(detail.rstrip(), COLOURS["waiting"])]

    def _coloured(self, text: str, colour: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._colours and text else text


def _size(out: TextIO) -> os.terminal_size:
    try:
        found = os.get_terminal_size(out.fileno())
    except (OSError, ValueError):
        found = os.terminal_size((0, 0))
    return os.terminal_size((found.columns or WIDTH_OF_A_PAGE, found.lines or 24))


def _can_print(out: TextIO, text: str) -> bool:
    try:
        text.encode(out.encoding or "ascii")
    except (LookupError, UnicodeEncodeError):
        return False
    return True


def _plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def _sorted(picture: Picture) -> list[StreamState]:
    return sorted(picture.streams.values(), key=lambda stream: stream.stream_id)


def _state(stream: StreamState, picture: Picture) -> str:
    if stream.status == "pending":
        return "waiting" if picture.waits_for(stream) else "ready"
    return stream.status.replace("_", " ")


def _bar(stream: StreamState, size: int, signs: str) -> str:
    if not stream.total:
        return signs[2] * size
    done = size * stream.completed // stream.total
    started = size * (stream.completed + stream.in_progress) // stream.total - done
    return signs[0] * done + signs[1] * started + signs[2] * (size - done - started)


def _detail(stream: StreamState, picture: Picture) -> str:
    """Who works on what, what is blocked and why, or what the stream waits for."""
    parts = [
        f"{task.agent or 'nobody'} blocked on {task.title}: {task.blocked_reason}"
        for task in picture.tasks_of(stream.stream_id, "blocked")
    ]
    parts += [
        f"{task.agent or 'somebody'}: {task.title}"
        for task in picture.tasks_of(stream.stream_id, "in_progress")
    ]
    if not parts and stream.status == "pending" and (waits := picture.waits_for(stream)):
        parts = [f"needs {' and '.join(waits)}"]
    return ", ".join(parts)


def standard_output() -> TextIO:
    """stdout, which shows a question mark where its encoding lacks a sign."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="replace")
    return sys.stdout
