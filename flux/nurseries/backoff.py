"""Jittered exponential backoff: how long to wait before the n-th restart in a row."""

from random import Random

from attrs import field, frozen, validators


@frozen
class Backoff:
    """A backoff policy; pure: the caller keeps the attempt number and owns the random numbers.

    The delay is drawn from the upper part of ``initial * factor ** (attempt - 1)``, capped: jitter only ever
    shortens it, so the cap holds, and services that failed together do not come back together.

    Args:
        initial: the delay before the first restart, seconds.
        factor: how much each further attempt lengthens it.
        cap: the longest delay, seconds.
        jitter: the share of the delay that is random, 0 to 1.
        stable: a run of at least this many seconds after readiness counts as healthy: the next crash starts
            from `initial` again.
    """

    initial: float = field(default=0.1, validator=[validators.ge(0)])
    factor: float = field(default=2.0, validator=[validators.ge(1)])
    cap: float = field(default=5.0, validator=[validators.ge(0)])
    jitter: float = field(default=0.5, validator=[validators.ge(0), validators.le(1)])
    stable: float = field(default=30.0, validator=[validators.ge(0)])

    def next_attempt(self, attempt: int, ran_for: float) -> int:
        """Return the number of the next attempt.

        Args:
            attempt: the number of the attempt that crashed now; 0 for a first start.
            ran_for: how long it ran after readiness, seconds; 0 if it never was ready.
        """
        return 1 if ran_for >= self.stable else attempt + 1

    def delay(self, attempt: int, rng: Random) -> float:
        """Return how long to wait before an attempt, seconds.

        Args:
            attempt: 1 for the first restart in a row.
            rng: the source of the jitter; called once.
        """
        full = self.initial
        for _ in range(attempt - 1):
            if full >= self.cap or full == 0:
                break
            full *= self.factor  # stepwise: a power of a large attempt number overflows
        return min(full, self.cap) * (1 - self.jitter * rng.random())
