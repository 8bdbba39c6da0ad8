"""Topics, the patterns that select them, and the one function that matches the two.

    topic    = kind ":" id            kind = "task" / "stream" / "checkpoint"
    pattern  = topic                  exactly this topic
             / [prefix of a topic] "*"   every topic that starts so; "*" alone is everything

``*`` stands only at the end and no other character is special.
"""

import re

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
    """The patterns of one listener, with the matching of topics against them."""

    def __init__(self) -> None:
        self._patterns: dict[str, None] = {}
        self._exact: frozenset[str] = frozenset()
        self._prefixes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self._patterns)

    def __contains__(self, pattern: str) -> bool:
        return pattern in self._patterns

    def add(self, patterns: list[str]) -> None:
        """Holds `patterns` too; one that is held already counts once."""
        self._patterns.update(dict.fromkeys(patterns))
        self._index()

    def remove(self, patterns: list[str]) -> None:
        """Lets go of `patterns`; raises KeyError for one that is not held."""
        for pattern in dict.fromkeys(patterns):
            del self._patterns[pattern]
        self._index()

    def _index(self) -> None:
        self._exact = frozenset(item for item in self._patterns if not item.endswith("*"))
        self._prefixes = tuple(item[:-1] for item in self._patterns if item.endswith("*"))

    def matches(self, topic: str) -> bool:
        """Whether any pattern selects `topic`."""
        return topic in self._exact or topic.startswith(self._prefixes)
