"""The throttle of one client's messages: a token bucket; pure.

A message takes one token; the clock is looked at only when they are used up, so that a message costs a
subtraction. Who overdraws is not read until the debt is paid: nothing is lost, and TCP tells the client.
"""

import math

import trio

MAX_DEBT_SECONDS = 5.0
"""What came in one read is worked off at once, and may be thousands of messages; the pause stays bounded."""


class Throttle:
    """A client's tokens.

    Args:
        rate: tokens per second; `math.inf` is no bound.
        burst: tokens at most.
        now: in seconds, on the clock that `pause` uses.

    Attributes:
        tokens: subtract one for each message, and call `pause` when it is negative.
        relief: set when a pause is over.
    """

    __slots__ = ("_burst", "_rate", "_since", "relief", "tokens")

    def __init__(self, rate: float, burst: int, now: float) -> None:
        self.tokens: float = math.inf if math.isinf(rate) else burst
        self.relief: trio.Event | None = None
        self._rate = rate
        self._burst = burst
        self._since = now

    def pause(self, now: float) -> float:
        """Fill up; return for how many seconds the client must not be read, 0.0 if the tokens suffice."""
        tokens = min(self._burst, self.tokens + (now - self._since) * self._rate)
        self._since = now
        self.tokens = tokens = max(tokens, -self._rate * MAX_DEBT_SECONDS)
        return max(0.0, -tokens / self._rate)

    def relieve(self) -> None:
        """End a pause, if there is one."""
        if self.relief is not None:
            self.relief.set()
            self.relief = None
