"""Cursors of pages: a position, bound to the filters that it was given for."""

import zlib

from task_copilot.errors import InvalidInput


def cursor_at(position: int, filters: object) -> str:
    """The cursor that `position_of` takes with the same `filters`."""
    return f"{position}.{zlib.crc32(repr(filters).encode(errors='replace')):08x}"


def position_of(cursor: str | None, filters: object) -> int:
    """The position of a cursor, 0 for none; raises InvalidInput for one of another list."""
    if cursor is None:
        return 0
    number = cursor.partition(".")[0]
    known = len(number) < len(str(2**63)) and number.isascii() and number.isdecimal()
    if not known or cursor != cursor_at(int(number), filters):
        raise InvalidInput(
            "cursor: is not one that this list gave with the same filters; "
            "leave it out to start from the beginning."
        )
    return int(number)
