"""Token buckets: so much a second for long, and a burst now and then."""


class Bucket:
    """Holds at most `burst` tokens, is full at first, and gains `rate` a second.

    Times are seconds of whatever clock the caller uses, which does not go back.
    """

    __slots__ = ("_burst", "_moment", "_rate", "_tokens")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._moment = now

    def take(self, now: float, count: float = 1) -> bool:
        """Takes `count` tokens; where there are not so many it takes none and says False."""
        self._fill(now)
        if self._tokens < count:
            return False
        self._tokens -= count
        return True

    def wait(self, now: float, count: float = 1) -> float:
        """Seconds until `count` tokens are there; 0 where they are."""
        self._fill(now)
        return max(0.0, (count - self._tokens) / self._rate)

    def _fill(self, now: float) -> None:
        self._tokens = min(self._burst, self._tokens + max(0.0, now - self._moment) * self._rate)
        self._moment = now
