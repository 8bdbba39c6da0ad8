"""What a client may do to a connection that it was given, and to the handshake before."""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from fuzz.frames import Opcode, close, fragments, frame, handshake, text

PROTOCOL_ERROR, INVALID_DATA, TOO_BIG = 1002, 1007, 1009
LIMIT_BYTES = 65_536

Outcome = Literal["lives", "closes", "leaves", "resets"]


@dataclass(frozen=True)
class Script:
    """What is written after the handshake, and what has to come of it.

    ``lives``: the connection goes on answering. ``closes``: the server closes it with one of
    `codes`, which may be lost on the way only where the connection `may_reset`. ``leaves``: the
    client ends its side, and the server has to end the other; ``resets``: it ends both at once.
    """

    name: str
    pieces: tuple[bytes, ...]
    outcome: Outcome
    codes: frozenset[int] = frozenset()
    may_reset: bool = False
    pipelined: bool = False
    """Whether the first piece follows the handshake at once, before its answer."""


def _message(rng: random.Random) -> bytes:
    kind = rng.choice(["ping", "pong", "subscribe", "nothing"])
    payload = {"topics": ["task:*", "\u00e9" * 3]} if kind == "subscribe" else {}
    return json.dumps(
        {"type": kind, "id": rng.randrange(10**6), "payload": payload}, ensure_ascii=False
    ).encode()


def _control(rng: random.Random) -> bytes:
    return frame(rng.choice([Opcode.PING, Opcode.PONG]), rng.randbytes(rng.randrange(126)))


def _harmless(rng: random.Random) -> bytes:
    return rng.choice(
        [
            b"",
            text(_message(rng)),
            _control(rng),
            fragments(rng, _message(rng), between=(_control(rng),)),
        ]
    )


def _junk(rng: random.Random) -> bytes:
    return rng.choice([b"", rng.randbytes(rng.randrange(1, 200)), text(_message(rng)), close()])


# --- what is allowed ---


def _fragmented(rng: random.Random) -> Script:
    data = fragments(rng, _message(rng), between=(_control(rng), _control(rng)))
    return Script("a text in fragments, control frames between", (data,), "lives")


def _many_at_once(rng: random.Random) -> Script:
    data = b"".join(_harmless(rng) for _ in range(rng.randrange(2, 40)))
    return Script("many frames in one segment", (data,), "lives")


def _byte_by_byte(rng: random.Random) -> Script:
    data = text(_message(rng))
    return Script(
        "each byte in a segment of its own",
        tuple(data[place : place + 1] for place in range(len(data))),
        "lives",
    )


def _cut_anywhere(rng: random.Random) -> Script:
    data = b"".join(_harmless(rng) for _ in range(6))
    cuts = sorted(rng.randrange(len(data) + 1) for _ in range(4))
    pieces = zip([0, *cuts], [*cuts, len(data)], strict=True)
    return Script("segments that end within frames", tuple(data[a:b] for a, b in pieces), "lives")


def _binary(rng: random.Random) -> Script:
    data = frame(Opcode.BINARY, rng.randbytes(rng.randrange(300)))
    return Script("a binary frame", (data,), "lives")


def _empty(rng: random.Random) -> Script:
    data = text(b"") + frame(Opcode.TEXT, final=False)
    data += frame(Opcode.CONTINUED, b"", final=False) * rng.randrange(50)
    return Script("empty fragments", (data + frame(Opcode.CONTINUED),), "lives")


def _largest(rng: random.Random) -> Script:
    data = b'{"type":"pong"}'.ljust(LIMIT_BYTES - rng.randrange(3))
    return Script("a message as large as allowed", (text(data),), "lives")


def _behind_the_handshake(rng: random.Random) -> Script:
    """Not allowed before the answer to the handshake, and not worth a refusal either."""
    pieces = (_harmless(rng),)
    return Script("data right behind the handshake", pieces, "leaves", pipelined=True)


# --- what a server has to close ---


def _violation(
    name: str, make: Callable[[random.Random], bytes], *codes: int
) -> Callable[[random.Random], Script]:
    def script(rng: random.Random) -> Script:
        # In one write: the server has read it all when it closes, so its close is not lost.
        data = _harmless(rng) + make(rng) + _junk(rng)
        return Script(name, (data,), "closes", frozenset(codes))

    return script


def _bad_text(rng: random.Random) -> Script:
    """The frames of a segment are looked at before the texts in them: what is wrong with those
    behind may win."""
    data = _harmless(rng) + rng.choice([text(_bad_utf8(rng)), _split_utf8(rng)])
    junk = _junk(rng)
    codes = {INVALID_DATA, *([1000, PROTOCOL_ERROR, TOO_BIG] if junk else [])}
    return Script("invalid UTF-8", (data + junk,), "closes", frozenset(codes))


def _bad_utf8(rng: random.Random) -> bytes:
    bad = rng.choice([b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80", b"\xc0\x80"])
    return b'{"type":"ping","id":"' + bad + b'"}'


def _split_utf8(rng: random.Random) -> bytes:
    data = _bad_utf8(rng)
    place = data.index(b'id":"') + 5 + rng.randrange(2)
    return frame(Opcode.TEXT, data[:place], final=False) + frame(Opcode.CONTINUED, data[place:])


def _bad_close(rng: random.Random) -> bytes:
    code = rng.choice([0, 1, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535])
    return rng.choice([close(code), frame(Opcode.CLOSE, b"\x03"), close(code, b"reason")])


VIOLATIONS: list[Callable[[random.Random], Script]] = [
    _bad_text,
    _bad_text,
    _violation(
        "a frame without a mask",
        lambda rng: frame(rng.choice([1, 2, 8, 9]), _message(rng)[:100], masked=False),
        PROTOCOL_ERROR,
    ),
    _violation(
        "reserved bits",
        lambda rng: frame(rng.choice([1, 2, 9]), b"abc", reserved=rng.randrange(1, 8)),
        PROTOCOL_ERROR,
    ),
    _violation(
        "a reserved opcode",
        lambda rng: frame(rng.choice([3, 4, 5, 6, 7, 11, 12, 13, 14, 15]), b"abc"),
        PROTOCOL_ERROR,
    ),
    _violation(
        "a control frame that is too long",
        lambda rng: frame(rng.choice([8, 9, 10]), bytes(rng.randrange(126, 3_000))),
        PROTOCOL_ERROR,
    ),
    _violation(
        "a fragmented control frame",
        lambda rng: frame(rng.choice([8, 9, 10]), b"\x03\xe8", final=False),
        PROTOCOL_ERROR,
    ),
    _violation(
        "a continuation of nothing",
        lambda rng: frame(Opcode.CONTINUED, _message(rng), final=rng.random() < 0.5),
        PROTOCOL_ERROR,
    ),
    _violation(
        "a new message within another",
        lambda rng: frame(Opcode.TEXT, b"{", final=False) + text(_message(rng)),
        PROTOCOL_ERROR,
    ),
    _violation(
        "a size beyond all",
        lambda rng: frame(
            rng.choice([1, 2]),
            b"abc",
            size=rng.choice([LIMIT_BYTES + 1, 2**31, 2**32, 2**62, 2**63 - 1, 2**63, 2**64 - 1]),
        ),
        TOO_BIG,
        PROTOCOL_ERROR,
    ),
    _violation(
        "fragments beyond the limit",
        lambda rng: (
            frame(Opcode.TEXT, b" " * 20_000, final=False)
            + frame(Opcode.CONTINUED, b" " * 20_000, final=False)
            + frame(Opcode.CONTINUED, b"abc", size=40_000)
        ),
        TOO_BIG,
    ),
    _violation("a bad close", _bad_close, PROTOCOL_ERROR),
    _violation(
        "a close whose reason is no text",
        lambda rng: close(1000, rng.choice([b"\xff", b"\xc3", b"\xed\xa0\x80"])),
        INVALID_DATA,
    ),
]


def _closed_in_order(rng: random.Random) -> Script:
    code = rng.choice([1000, 1001, 1003, 1011, 3000, 4999])
    data = _harmless(rng) + close(code, "f\u00e9".encode() * rng.randrange(40)) + _junk(rng)
    return Script("a close, and frames behind it", (data,), "closes", frozenset({code}))


def _flooded_while_closing(rng: random.Random) -> Script:
    """Goes on writing where the server closes: its close may be lost with the reset."""
    flood = text(b" " * 60_000)
    pieces = (text(b" " * (LIMIT_BYTES + 1)), *[flood] * rng.randrange(1, 20))
    return Script("frames while the server closes", pieces, "closes", frozenset({TOO_BIG}), True)


# --- clients that leave ---


def _left(rng: random.Random) -> Script:
    whole = _harmless(rng) + text(_message(rng))
    return Script("half a frame and gone", (whole[: rng.randrange(len(whole))],), "leaves")


def _reset(rng: random.Random) -> Script:
    whole = _harmless(rng) + text(_message(rng))
    return Script("half a frame and a reset", (whole[: rng.randrange(len(whole))],), "resets")


Make = Callable[[random.Random], Script]

ALLOWED: list[Make] = [
    _fragmented,
    _many_at_once,
    _byte_by_byte,
    _cut_anywhere,
    _binary,
    _empty,
    _largest,
]
OTHERS: list[Make] = [
    _behind_the_handshake,
    _closed_in_order,
    _flooded_while_closing,
    _left,
    _reset,
]


def script(rng: random.Random) -> Script:
    """One of them; each kind of script is as likely as any other of its sort."""
    return rng.choice(rng.choice([ALLOWED, VIOLATIONS, VIOLATIONS, OTHERS]))(rng)


# --- handshakes ---


def mutated_handshake(rng: random.Random, port: int) -> bytes:
    """A handshake with something wrong, cut off or only unusual."""
    head, *fields = handshake(port).decode().rstrip().split("\r\n")
    for _ in range(rng.randrange(1, 3)):
        head, fields = _changed_handshake(rng, head, fields)
    data = "\r\n".join([head, *fields, "", ""]).encode("latin-1", "replace")
    kind = rng.random()
    if kind < 0.15:
        place = rng.randrange(len(data))
        return data[:place] + rng.randbytes(1) + data[place + 1 :]
    return data[: rng.randrange(len(data))] if kind < 0.25 else data


def _changed_handshake(rng: random.Random, head: str, fields: list[str]) -> tuple[str, list[str]]:
    place = rng.randrange(len(fields))
    name = fields[place].partition(":")[0]
    long_line = "X-Long: " + "x" * rng.choice([100, 9_000, 20_000])
    choices: list[tuple[str, list[str]]] = [
        (head, fields[:place] + fields[place + 1 :]),
        (head, [*fields, fields[place]]),
        (head, [*fields[:place], f"{name}: {rng.choice(ODD_FIELDS)}", *fields[place + 1 :]]),
        (head, [*fields, long_line]),
        (head, [*fields, *(f"X-{number}: y" for number in range(rng.choice([20, 150, 300])))]),
        (head, [*fields, rng.choice(ODD_LINES)]),
        (rng.choice(ODD_HEADS), fields),
        (head.replace("/ws", "/ws?" + rng.choice(ODD_QUERIES)), fields),
        (head.lower(), [field.lower() for field in fields]),
    ]
    return rng.choice(choices)


ODD_FIELDS = (
    "",
    "x",
    "WebSocket, h2c",
    "keep-alive, Upgrade",
    "12",
    "13, 8",
    "AAAA",
    "dGhlIHNhbXBsZSBub25jZQ==",
    "\xff\xfe",
    "evil.example:9090",
    "é" * 200,
    "\t ",
    "permessage-deflate; client_max_window_bits=99",
)
ODD_LINES = (
    "no colon",
    ": no name",
    "Two Words: x",
    "X-Tab\t: x",
    " folded: x",
    "X-Nul: a\x00b",
    "X-Bell: a\x07b",
    "X-High: \xe9\xff",
    "X-H\xe9: name",
    "Content-Length: 5",
    "Content-Length: 99999999999999999999",
    "Content-Length: -1",
    "Transfer-Encoding: chunked",
    "Expect: 100-continue",
    "Origin: http://evil.example",
    "Origin: null",
    "Sec-WebSocket-Protocol: a, a, \xe9",
    "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=99",
    "Sec-WebSocket-Extensions: ;;;,,,",
    "Sec-WebSocket-Key: second",
)
ODD_HEADS = (
    "POST /ws HTTP/1.1",
    "GET /ws HTTP/1.0",
    "GET /ws HTTP/2.0",
    "GET /ws HTTP/1.1 more",
    "GET /ws",
    "GET  /ws HTTP/1.1",
    "GET /ws/ HTTP/1.1",
    "GET /%77s HTTP/1.1",
    "GET /ws%00 HTTP/1.1",
    "GET /%ff%fe HTTP/1.1",
    "GET http://127.0.0.1/ws HTTP/1.1",
    "GET * HTTP/1.1",
    "GET /\xe9 HTTP/1.1",
    "OPTIONS /ws HTTP/1.1",
    "CONNECT 127.0.0.1:80 HTTP/1.1",
    "PRI * HTTP/2.0",
    "\x16\x03\x01\x02\x00\x01\x00",
    "G" * 70_000 + " / HTTP/1.1",
)
ODD_QUERIES = (
    "workspace=",
    "workspace=a&workspace=b",
    "workspace=%ff%fe",
    "workspace=%00",
    "workspace=" + "x" * 5_000,
    "since=0",
    "&&&",
    "workspace=\xe9",
    "%",
)
