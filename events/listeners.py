"""Everyone who listens to this hub, however: how many there may be, and what they got."""

import contextlib
from collections import Counter
from collections.abc import Iterator

from task_copilot.events.reader import Reader


class TooMany(Exception):
    """As many listen as there may be."""

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"This hub serves at most {limit} listeners; TASK_COPILOT_MAX_LISTENERS sets it."
        )


class Listeners:
    """Listeners on all transports; what it counts is since the hub began."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._places = 0
        self._readers: set[Reader] = set()
        self._delivered = 0
        self._gaps = 0
        self.delivered_together = 0
        """Events that went to listeners which share a position, counted for each of them."""
        self.errors: Counter[str] = Counter()
        """Refusals by their code."""

    @property
    def count(self) -> int:
        """How many listen now."""
        return self._places

    @property
    def delivered(self) -> int:
        """Events that went to listeners, counted for each of them."""
        alone = self._delivered + sum(reader.delivered for reader in self._readers)
        return self.delivered_together + alone

    @property
    def gaps(self) -> int:
        """Gaps that listeners were told of."""
        return self._gaps + sum(reader.gaps for reader in self._readers)

    def lag(self, head: int) -> int:
        """How many events the slowest has before it; 0 where nobody listens. Who asked for
        nothing yet has none, and one that reads the log may be ahead of what is known here."""
        behind = (head - reader.position for reader in self._readers if len(reader.subscriptions))
        return max(0, max(behind, default=0))

    @contextlib.contextmanager
    def place(self) -> Iterator[None]:
        """Takes a place for as long as the context lasts; raises TooMany where none is free."""
        if self._places >= self._limit:
            raise TooMany(self._limit)
        self._places += 1
        try:
            yield
        finally:
            self._places -= 1

    @contextlib.contextmanager
    def following(self, reader: Reader) -> Iterator[None]:
        """Counts `reader` among those who listen, with what it got."""
        self._readers.add(reader)
        try:
            yield
        finally:
            self._readers.discard(reader)
            self._delivered += reader.delivered
            self._gaps += reader.gaps
