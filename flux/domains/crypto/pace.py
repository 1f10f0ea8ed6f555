"""When how many ticks are due, and whether the broker takes them (pure; time is an argument, in seconds)."""

import math
import random

from attrs import define, field

from flux.errors import LocalError

MAX_RATE = 10_000.0

MAX_LAG = 0.25
"""Seconds by which a tick may be late; later, it is skipped."""


@define
class Pace:
    """A schedule that keeps its average rate exactly: each tick has its own time, counted from the start.

    Args:
        rate: ticks per second.
        start: when it began; the first tick is due one interval later.
        gather: the shortest time between two wake-ups; what falls due meanwhile goes out together.
        max_lag: ticks that are later than this are skipped.

    Raises:
        LocalError: the rate is not from above 0 to 10,000.
    """

    rate: float
    start: float
    gather: float = 0.02
    max_lag: float = MAX_LAG
    _count: int = 0

    def __attrs_post_init__(self) -> None:
        if not 0 < self.rate <= MAX_RATE:
            raise LocalError(
                f"ticker rate must be above 0 and at most {MAX_RATE:g} a second, not {self.rate:g}"
            )

    def next_wake(self, now: float) -> float:
        """Return when to ask again what is due."""
        return max(self.start + (self._count + 1) / self.rate, now + self.gather)

    def due(self, now: float) -> tuple[int, int]:
        """Return how many ticks to send now, and how many more are too late."""
        # 1e-6 of a tick: woken exactly in time, rounding must not make it one wake-up late.
        total = math.floor((now - self.start) * self.rate + 1e-6)
        due = max(0, total - self._count)
        self._count += due
        send = min(due, max(1, int(self.max_lag * self.rate)))
        return send, due - send


@define
class Flow:
    """Whether the broker takes what is sent to it, learned from one report a second.

    Sending is not confirmed, and a producer's queue is long: without this a broker that is away or slow
    would get all that fell due meanwhile, much too late.

    Args:
        rng: of the back-off's jitter.
        every: seconds between two probes: ticks whose delivery report is awaited.
        patience: seconds that a probe may be without its report.
        backoff_min, backoff_max: seconds between probes while the broker is away.
    """

    rng: random.Random
    every: float = 1.0
    patience: float = 1.0
    backoff_min: float = 0.2
    backoff_max: float = 2.0
    away: bool = field(default=False, init=False)
    _asked: float | None = field(default=None, init=False)
    _next_probe: float = field(default=-math.inf, init=False)
    _ceiling: float = field(default=0.0, init=False)

    def wants_probe(self, now: float) -> bool:
        """Return whether the next tick should be a probe; while the broker is away only probes are sent."""
        return self._asked is None and now >= self._next_probe

    def asked(self, now: float) -> None:
        """Note that a probe was sent."""
        self._asked = now

    def overdue(self, now: float) -> bool:
        """Note that time passed; return whether the broker is now taken to be away, and was not before."""
        if self.away or self._asked is None or now - self._asked <= self.patience:
            return False
        self.away = True
        return True

    def reported(self, now: float) -> bool:
        """Note the probe's report; return whether the broker had been away."""
        self._asked, self._next_probe, self._ceiling = None, now + self.every, 0.0
        was_away, self.away = self.away, False
        return was_away

    def failed(self, now: float, *, probe: bool) -> bool:
        """Note that a probe (or an unconfirmed tick) failed; return whether that is news."""
        if probe:
            self._asked = None
        self._ceiling = min(max(2 * self._ceiling, self.backoff_min), self.backoff_max)
        self._next_probe = now + self.rng.uniform(self.backoff_min, self._ceiling)
        was_away, self.away = self.away, True
        return not was_away
