"""A circuit breaker: whether a failing source is asked at all (pure; time is an argument, in seconds)."""

from enum import StrEnum

from attrs import define, field


class BreakerState(StrEnum):
    """Closed: asked. Open: not asked. Half open: one request asks whether it is back."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@define
class Breaker:
    """Opens after `failures` in a row; `probe_after` seconds later lets one request through.

    Args:
        failures: in a row.
        probe_after: seconds.
    """

    failures: int
    probe_after: float
    state: BreakerState = field(default=BreakerState.CLOSED, init=False)
    _failed: int = field(default=0, init=False)
    _until: float = field(default=0.0, init=False)

    def wait(self, now: float) -> float:
        """Return how long the source is left alone, seconds; 0 if a request may go."""
        return 0.0 if self.state is BreakerState.CLOSED else max(0.0, self._until - now)

    def begin(self, now: float) -> None:
        """Note that a request goes, which `wait` allowed; of an open breaker it is the probe."""
        if self.state is BreakerState.OPEN:
            self.state = BreakerState.HALF_OPEN
            self._until = now + self.probe_after

    def succeeded(self) -> None:
        """Note a good answer."""
        self.state, self._failed = BreakerState.CLOSED, 0

    def failed(self, now: float) -> None:
        """Note a failed request."""
        self._failed += 1
        if self.state is BreakerState.HALF_OPEN or self._failed >= self.failures:
            self.state, self._until = BreakerState.OPEN, now + self.probe_after

    def abandoned(self, now: float) -> None:
        """Note that a request ended without a result (it was cancelled): a probe may be made anew at once."""
        if self.state is BreakerState.HALF_OPEN:
            self.state, self._until = BreakerState.OPEN, now
