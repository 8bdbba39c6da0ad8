"""WebSocket frames as a client writes them that keeps to no rule, and as it reads them."""

import asyncio
import base64
import random
import struct
from dataclasses import dataclass
from enum import IntEnum

LONGEST_HEAD = 64 * 1024


class Opcode(IntEnum):
    """What a frame is (RFC 6455, section 5.2)."""

    CONTINUED = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


@dataclass(frozen=True)
class Frame:
    """One frame of the server."""

    opcode: int
    data: bytes
    final: bool = True

    @property
    def close_code(self) -> int | None:
        """The code of a close frame, None where it has none."""
        return struct.unpack("!H", self.data[:2])[0] if len(self.data) >= 2 else None


def frame(
    opcode: int,
    data: bytes = b"",
    *,
    final: bool = True,
    masked: bool = True,
    reserved: int = 0,
    size: int | None = None,
) -> bytes:
    """One frame; `size` is what it says of itself, whatever it holds."""
    size = len(data) if size is None else size
    first = (0x80 if final else 0) | reserved << 4 | opcode
    mask_bit = 0x80 if masked else 0
    if size < 126:
        head = struct.pack("!BB", first, mask_bit | size)
    elif size < 1 << 16:
        head = struct.pack("!BBH", first, mask_bit | 126, size)
    else:
        head = struct.pack("!BBQ", first, mask_bit | 127, size)
    if not masked:
        return head + data
    mask = b"\x5a\xa5\x3c\xc3"
    repeated = (mask * (len(data) // 4 + 1))[: len(data)]
    whole = int.from_bytes(data, "big") ^ int.from_bytes(repeated, "big")
    return head + mask + whole.to_bytes(len(data), "big")


def text(content: str | bytes) -> bytes:
    """A whole text message."""
    return frame(Opcode.TEXT, content.encode() if isinstance(content, str) else content)


def close(code: int = 1000, reason: bytes = b"") -> bytes:
    """A close frame."""
    return frame(Opcode.CLOSE, struct.pack("!H", code) + reason)


def fragments(rng: random.Random, data: bytes, *, between: tuple[bytes, ...] = ()) -> bytes:
    """A text message in several frames, with whole frames of their own between them."""
    cuts = sorted(rng.randrange(len(data) + 1) for _ in range(rng.randrange(1, 5)))
    parts = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    written = b""
    for number, part in enumerate(parts):
        opcode = Opcode.CONTINUED if number else Opcode.TEXT
        last = number == len(parts) - 1
        written += frame(opcode, part, final=last)
        if between and not last:
            written += rng.choice(between)
    return written


def handshake(port: int) -> bytes:
    """What a client begins with."""
    key = base64.b64encode(random.randbytes(16)).decode()
    return (
        f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


def _check_nothing(partial: bytes) -> None:
    """The end, which may not come in the middle of something."""
    assert not partial, partial


class Wire:
    """A TCP connection to a server, which reads what a server may send."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, port: int) -> "Wire":
        """Connects, and sends nothing yet."""
        return cls(*await asyncio.open_connection("127.0.0.1", port, limit=1 << 20))

    async def write(self, *pieces: bytes) -> None:
        """Each piece in a segment of its own, as far as the system lets it."""
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()

    async def status(self) -> int | None:
        """The status of an HTTP answer, whose head is read; None where there is none."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            _check_nothing(error.partial)
            return None
        assert head.startswith(b"HTTP/1.1 "), head
        return int(head.split(b" ", 2)[1])

    async def receive(self) -> Frame | None:
        """The next frame; None at the end. A server masks nothing and sets no reserved bit."""
        try:
            first, second = await self.reader.readexactly(2)
            assert not first & 0x70, f"reserved bits in {first:#x}"
            assert not second & 0x80, "a masked frame of the server"
            size = second
            if size == 126:
                (size,) = struct.unpack("!H", await self.reader.readexactly(2))
            elif size == 127:
                (size,) = struct.unpack("!Q", await self.reader.readexactly(8))
            data = await self.reader.readexactly(size)
        except asyncio.IncompleteReadError as error:
            _check_nothing(error.partial)
            return None
        return Frame(first & 0x0F, data, bool(first & 0x80))

    async def ended(self) -> None:
        """Waits for the server's end of the connection, whatever it still sends."""
        try:
            while await self.reader.read(1 << 16):
                pass
        except ConnectionError:
            pass

    def reset(self) -> None:
        """Ends the connection at once, without a word."""
        self.writer.transport.abort()
