"""Topics, the patterns that select them, and the one function that matches the two.

    topic    = kind ":" id            kind = "task" / "stream" / "checkpoint"
    pattern  = topic                  exactly this topic
             / [prefix of a topic] "*"   every topic that starts so; "*" alone is everything

``*`` stands only at the end and no other character is special.
"""

import re
from collections.abc import Iterable

KINDS = ("stream", "task", "checkpoint")
MAX_PATTERN_LENGTH = 200

STREAM_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_TOPIC = re.compile(rf"(?:{'|'.join(KINDS)}):[A-Za-z0-9._-]+")
_PREFIX = re.compile(rf"(?:{'|'.join(KINDS)}):[A-Za-z0-9._-]*")

ALLOWED = (
    "a pattern is 'kind:id', a prefix of one that ends in '*' (such as 'stream:*' or "
    "'task:TASK-1*'), or '*'; kinds are " + ", ".join(KINDS)
)


def is_pattern(text: str) -> bool:
    """Whether `text` can be subscribed to."""
    if len(text) > MAX_PATTERN_LENGTH:
        return False
    if not text.endswith("*"):
        return _TOPIC.fullmatch(text) is not None
    prefix = text[:-1]
    # A prefix may end within the kind: "str*" selects what "stream:*" does.
    return _PREFIX.fullmatch(prefix) is not None or any(
        f"{kind}:".startswith(prefix) for kind in KINDS
    )


class PatternSet:
    """Some patterns, with the matching of topics against them."""

    def __init__(self, patterns: Iterable[str]) -> None:
        found = tuple(patterns)
        self._exact = frozenset(item for item in found if not item.endswith("*"))
        self._prefixes = tuple(item[:-1] for item in found if item.endswith("*"))

    def matches(self, topic: str) -> bool:
        """Whether any pattern selects `topic`."""
        return topic in self._exact or topic.startswith(self._prefixes)
