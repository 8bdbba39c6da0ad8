"""Time as the program stores and shows it: UTC, ISO 8601, milliseconds, ending in ``Z``.

Such texts sort by time, so the database compares them as they are.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

Clock = Callable[[], str]
"""Returns the present time as a timestamp text; injected wherever time matters."""


def timestamp(moment: datetime) -> str:
    """The text of an aware datetime: ``2026-01-08T12:00:30.125Z``."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def system_clock() -> str:
    """The present time of this machine."""
    return timestamp(datetime.now(UTC))


def parse(text: str) -> datetime:
    """The aware datetime of a timestamp text; raises ValueError for anything else."""
    return datetime.fromisoformat(text)


def milliseconds_between(start: str, end: str) -> int:
    """Milliseconds from `start` to `end`; 0 where the clock was set back in between."""
    return max(0, (parse(end) - parse(start)) // timedelta(milliseconds=1))


def minutes_after(start: str, minutes: int) -> str:
    """The timestamp text `minutes` after `start`."""
    return timestamp(parse(start) + timedelta(minutes=minutes))
