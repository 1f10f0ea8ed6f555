"""A token bucket: how long the next request has to wait (pure; time is an argument, in seconds)."""

from attrs import define, field


@define
class TokenBucket:
    """Lets `burst` requests go at once, and `rate` a second in the long run.

    A request may take its token in advance: the bucket then owes, and says how long to wait.

    Args:
        rate: tokens per second.
        burst: tokens that the bucket holds.
    """

    rate: float
    burst: int
    _tokens: float = field(init=False)
    _at: float = field(default=0.0, init=False)

    def __attrs_post_init__(self) -> None:
        self._tokens = float(self.burst)

    def delay(self, now: float, *, ahead: int = 0) -> float:
        """Return how long a request that came now would wait, seconds.

        Args:
            now: seconds.
            ahead: requests that came before it and have not taken their tokens yet.
        """
        self._fill(now)
        return max(0.0, (1.0 + ahead - self._tokens) / self.rate)

    def take(self, now: float) -> float:
        """Take a token; return how long to wait before it may be used, seconds."""
        delay = self.delay(now)
        self._tokens -= 1.0
        return delay

    def _fill(self, now: float) -> None:
        self._tokens = min(float(self.burst), self._tokens + max(0.0, now - self._at) * self.rate)
        self._at = now
