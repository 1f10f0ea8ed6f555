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
    """Opens after `failures` in a row; `probe_after` seconds later lets one request through, the probe.

    Requests may overlap. What began before it opened still counts: a good answer closes it, a failure keeps
    it open; only while it is half open such a failure is nothing new, and the probe decides.

    Args:
        failures: in a row.
        probe_after: seconds.
    """

    failures: int
    probe_after: float
    state: BreakerState = field(default=BreakerState.CLOSED, init=False)
    failed_in_a_row: int = field(default=0, init=False)
    _until: float = field(default=0.0, init=False)

    def wait(self, now: float) -> float:
        """Return how long the source is left alone, seconds; 0 if a request may go."""
        return 0.0 if self.state is BreakerState.CLOSED else max(0.0, self._until - now)

    def begin(self, now: float) -> bool:
        """Note that a request goes, which `wait` allowed; return whether it is the probe."""
        if self.state is BreakerState.CLOSED:
            return False
        self.state = BreakerState.HALF_OPEN
        self._until = now + self.probe_after
        return True

    def succeeded(self) -> None:
        """Note a good answer."""
        self.state, self.failed_in_a_row = BreakerState.CLOSED, 0

    def failed(self, now: float, *, probe: bool = False) -> None:
        """Note a failed request."""
        self.failed_in_a_row += 1
        half_open = self.state is BreakerState.HALF_OPEN
        if probe if half_open else self.failed_in_a_row >= self.failures:
            self.state, self._until = BreakerState.OPEN, now + self.probe_after

    def abandoned(self, now: float) -> None:
        """Note that the probe ended without a result (it was cancelled): another may be made at once."""
        if self.state is BreakerState.HALF_OPEN:
            self.state, self._until = BreakerState.OPEN, now
