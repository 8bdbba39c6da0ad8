"""Connections that wait for an answer for a limited time only.

The network's own limits (`tcp_user_timeout`, keepalives) notice a machine that is gone. They do
not notice a server that stands still, or something between that takes what is sent and passes
nothing on: there the other end of the connection is well.
"""

import time
from collections.abc import Generator
from typing import Any, Final

import psycopg

ANSWER_SECONDS = 12.0
"""Longer than a statement may wait for a lock, of which the server tells in time."""

_LOOK_SECONDS: Final = 0.1
"""psycopg's own: so often it comes back while there is no answer."""


class AnsweringConnection(psycopg.Connection[Any]):
    """One that is given up where the server leaves a statement without any answer."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.answers_within: float | None = ANSWER_SECONDS
        """Seconds; None where a statement may take as long as it takes."""

    def wait(self, gen: Any, interval: float = _LOOK_SECONDS, timeout: float | None = None) -> Any:
        """psycopg's, through which every statement goes."""
        if self.answers_within is not None:
            gen = self._limited(gen, self.answers_within)
        return super().wait(gen, interval, timeout)

    def _limited(self, gen: Any, seconds: float) -> Generator[Any, Any, Any]:
        deadline = time.monotonic() + seconds
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if not ready and time.monotonic() > deadline:
                    self.pgconn.finish()  # an answer that still came would be taken for another's
                    raise psycopg.OperationalError(f"no answer within {seconds:g} seconds")
                wanted = gen.send(ready)
        except StopIteration as end:
            return end.value
