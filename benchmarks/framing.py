"""What comes over a connection, cut into whole messages: enough of each protocol to check it.

`take` gives the bytes of the messages that are complete, the frames around them included, and
keeps the rest. Nothing is unpacked: whoever reads them looks for events in the bytes.
"""

from typing import Protocol

TEXT, PING = 0x81, 0x89
SIZE_IN_16_BITS, SIZE_IN_64_BITS = 126, 127
MASKED = 0x80
END_OF_LINE = b"\r\n"


class Broken(Exception):
    """A server sent what it must not send here."""


class Framing(Protocol):
    """The messages of one connection."""

    def take(self, chunk: bytes) -> bytes:
        """Adds what has come; raises Broken."""


class WebSocketFraming:
    """Whole text messages, not compressed; pings of the protocol are passed over."""

    def __init__(self) -> None:
        self._rest = b""

    def take(self, chunk: bytes) -> bytes:
        data = self._rest + chunk if self._rest else chunk
        place, end = 0, len(data)
        while place + 2 <= end:
            size, start = data[place + 1], place + 2
            if size >= SIZE_IN_16_BITS:
                size, start = _long_size(data, size, start)
            if start + size > end:
                break
            if data[place] != TEXT and data[place] != PING:
                raise Broken(f"a frame begins with {data[place]:#x}: {data[start : start + 80]!r}")
            place = start + size
        self._rest = data[place:]
        return data[:place]


def _long_size(data: bytes, size: int, start: int) -> tuple[int, int]:
    """The size of a payload and where it begins; beyond the end while not all of it is there."""
    if size & MASKED:
        raise Broken("a frame of a server is masked")
    width = 2 if size == SIZE_IN_16_BITS else 8
    if start + width > len(data):
        return len(data), start
    return int.from_bytes(data[start : start + width], "big"), start + width


class ChunkedFraming:
    """An answer of HTTP that is sent in chunks."""

    def __init__(self) -> None:
        self._rest = b""

    def take(self, chunk: bytes) -> bytes:
        data = self._rest + chunk if self._rest else chunk
        place = 0
        while (line := data.find(END_OF_LINE, place)) >= 0:
            end = line + 2 + int(data[place:line], 16) + 2
            if end > len(data):
                break
            if data[end - 2 : end] != END_OF_LINE:
                raise Broken("a chunk is longer than it says")
            place = end
        self._rest = data[place:]
        return data[:place]


def text_frame(text: str) -> bytes:
    """A client's message, with a mask of zeros."""
    payload = text.encode()
    size = len(payload)
    head = bytes([size]) if size < SIZE_IN_16_BITS else b"\x7e" + size.to_bytes(2, "big")
    return bytes([TEXT, head[0] | MASKED]) + head[1:] + bytes(4) + payload
