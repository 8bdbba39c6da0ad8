"""How the reading commands print for people: aligned columns, local times."""

import unicodedata
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from task_copilot import clock

GAP = "  "
MINUTE, HOUR, DAY = 60, 60 * 60, 24 * 60 * 60
DAYS_AGO = 7
"""What is older is shown with its date."""


def plain(text: str) -> str:
    """`text` on one line, and nothing in it that a terminal would take for a command."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())


def paragraphs(text: str) -> list[str]:
    """The lines of a longer text, each as `plain` as a terminal needs it."""
    return [
        "".join(sign if sign.isprintable() else " " for sign in line) for line in text.split("\n")
    ]


def columns(rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of aligned columns; the last one is as long as it is."""
    cells = [[plain(cell) or "-" for cell in row] for row in rows]
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
        0 if unicodedata.combining(sign) else 1 + (unicodedata.east_asian_width(sign) in {"W", "F"})
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
