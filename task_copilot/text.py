"""Text that somebody else wrote, made harmless for the terminal or the log that shows it.

Harmful is what a terminal takes for a command, what ends a line, what turns the order of the
signs around it, and what is not seen at all. Letters of every language, also those that are
written from right to left, and emoji made of several signs stay as they are.
"""

import logging
import re

_JOINERS = "\u200c\u200d"
_MARKS = "\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"
_VARIANTS = "\ufe00-\ufe0f"

MARKS_ON_ONE_SIGN = 8
"""More accents on one letter than any language has cover the lines above and below."""

_HARMFUL = re.compile(
    "["
    "\x00-\x1f\x7f-\x9f"  # control characters, with those that begin an escape sequence
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # the direction of what follows
    "\u2028\u2029"  # ends of lines
    "\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u2060-\u2065\u206a-\u206f\u3164\ufeff"
    "\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"  # seen by nobody
    "\U000e0000-\U000e0fff"  # tags and more variants, which carry hidden text
    "\ud800-\udfff"  # halves of signs
    "]"
    # A joiner joins two signs of an emoji, or letters of scripts that have such joints.
    f"|[{_JOINERS}](?![^\x00-\xff\\s{_JOINERS}])|(?<![^\x00-\xff\\s{_JOINERS}])[{_JOINERS}]"
    f"|(?<=[{_VARIANTS}])[{_VARIANTS}]"
    f"|(?<=[{_MARKS}]{{{MARKS_ON_ONE_SIGN}}})[{_MARKS}]"
)


def escaped(text: str) -> str:
    r"""`text` on one line, with harmful signs as they are written in programs: ``\x1b``,
    ``\u202e``."""
    if text.isascii() and text.isprintable():  # most of them: ten times as fast
        return text
    return _HARMFUL.sub(_as_written, text)


def _as_written(found: re.Match[str]) -> str:
    number = ord(found[0])
    if number in _SHORT:
        return _SHORT[number]
    return f"\\x{number:02x}" if number <= _LATIN else _unicode(number)


_SHORT = {ord("\n"): "\\n", ord("\r"): "\\r", ord("\t"): "\\t"}
_LATIN, _SIXTEEN_BITS = 0xFF, 0xFFFF


def _unicode(number: int) -> str:
    return f"\\u{number:04x}" if number <= _SIXTEEN_BITS else f"\\U{number:08x}"


def plain(text: str) -> str:
    """`text` on one line for people, with a space in the place of each harmful sign and of what
    has no shape; no two spaces follow each other."""
    return " ".join(spaced(text).split())


def spaced(text: str) -> str:
    """`text` on one line, with a space in the place of each harmful sign, and all other spaces
    as they are."""
    found = _HARMFUL.sub(" ", text)
    if found.isprintable():
        return found
    return "".join(sign if sign.isprintable() or sign in _JOINERS else " " for sign in found)


def escaped_json(text: str) -> str:
    r"""A JSON text on one line with the same value, whose harmful signs are ``\uXXXX``."""
    if text.isascii() and text.isprintable():
        return text
    return _HARMFUL.sub(_in_json, text)


def _in_json(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


def shortened(text: str, limit: int) -> str:
    """The first signs of `text`, at most `limit`, with an ellipsis where it was cut."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


MAX_LOGGED = 4_000
"""Signs of one message in the log; a longer one is cut."""


class OneLineFormatter(logging.Formatter):
    """Each message on one line, whatever it quotes. A traceback keeps its lines, each of them
    indented, so that none looks like a message."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """The line of a record, cut at `MAX_LOGGED` signs."""
        return shortened(escaped(super().formatMessage(record)), MAX_LOGGED)

    def formatException(self, ei: object) -> str:  # noqa: N802 - logging's name
        """The lines of a traceback."""
        return _indented(super().formatException(ei))  # type: ignore[arg-type] # as it comes

    def formatStack(self, stack_info: str) -> str:  # noqa: N802 - logging's name
        """The lines of a stack."""
        return _indented(super().formatStack(stack_info))


def _indented(text: str) -> str:
    return "\n".join(f"  {escaped(line)}" for line in text.split("\n"))
