"""Messages as a WebSocket server puts them on the wire: one unmasked frame each (RFC 6455)."""

import struct

FINAL_TEXT = 0x81
SIZE_IN_16_BITS = 126
SIZE_IN_64_BITS = 127
"""The first byte of a whole text message, and what stands for a longer size in the second."""


def framed(text: str) -> bytes:
    """A text message, ready to be written."""
    data = text.encode()
    size = len(data)
    if size < SIZE_IN_16_BITS:
        return struct.pack("!BB", FINAL_TEXT, size) + data
    if size < 1 << 16:
        return struct.pack("!BBH", FINAL_TEXT, SIZE_IN_16_BITS, size) + data
    return struct.pack("!BBQ", FINAL_TEXT, SIZE_IN_64_BITS, size) + data
