"""How the reading commands print for people: aligned columns, local times."""

import unicodedata
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from task_copilot import clock
from task_copilot.text import plain, shortened, spaced

GAP = "  "
MINUTE, HOUR, DAY = 60, 60 * 60, 24 * 60 * 60
DAYS_AGO = 7
"""What is older is shown with its date."""

WIDEST_CELL = 64
"""As long as an id of a stream can be."""

LONGEST_CELL = 500
"""As long as a title can be."""

_NO_WIDTH = {"Mn", "Me", "Cf"}


def paragraphs(text: str) -> list[str]:
    """The lines of a longer text, with nothing in them that a terminal would obey."""
    return [spaced(line) for line in text.split("\n")]


def columns(rows: Iterable[Sequence[str]], longest: int = LONGEST_CELL) -> list[str]:
    """Lines of aligned columns, harmless for a terminal. The last one may have `longest` signs,
    the others `WIDEST_CELL`; what is cut ends in an ellipsis."""
    cells = [
        [
            shortened(plain(cell) or "-", longest if place == len(row) - 1 else WIDEST_CELL)
            for place, cell in enumerate(row)
        ]
        for row in rows
    ]
    if not cells:
        return []
    widths = [max(width(row[place]) for row in cells) for place in range(len(cells[0]) - 1)]
    return [
        GAP.join(
            [cell + " " * (wide - width(cell)) for cell, wide in zip(row, widths, strict=False)]
            + [row[-1]]
        )
        for row in cells
    ]


def width(text: str) -> int:
    """How many columns of a terminal `text` takes."""
    return sum(
        0
        if unicodedata.category(sign) in _NO_WIDTH
        else 1 + (unicodedata.east_asian_width(sign) in {"W", "F"})
        for sign in text
    )


def local(moment: str) -> str:
    """``2026-11-22 14:03``, by the clock on the wall."""
    return clock.parse(moment).astimezone().strftime("%Y-%m-%d %H:%M")


def ago(moment: str, now: datetime | None = None) -> str:
    """``3 min ago``; the date where that is long past or still to come."""
    seconds = ((now or datetime.now(UTC)) - clock.parse(moment)).total_seconds()
    if 0 <= seconds < MINUTE:
        return "just now"
    if MINUTE <= seconds < HOUR:
        return f"{seconds // MINUTE:.0f} min ago"
    if HOUR <= seconds < DAY:
        return f"{seconds // HOUR:.0f} h ago"
    if DAY <= seconds < DAYS_AGO * DAY:
        days = int(seconds // DAY)
        return f"{days} day{'' if days == 1 else 's'} ago"
    return local(moment)
