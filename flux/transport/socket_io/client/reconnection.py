"""How long to wait before the next attempt to connect; pure. The defaults are the JavaScript client's."""

import math
from random import Random

from attrs import field, frozen, validators


@frozen
class Reconnection:
    """The pauses between attempts: exponential, with jitter, bounded.

    Args:
        attempts: without success, then the client gives up.
        delay: seconds before the first attempt.
        delay_max: seconds, the longest pause.
        randomization: the share by which a pause is made longer or shorter, 0 to 1.
        factor: from one pause to the next.
    """

    attempts: float = field(default=math.inf, validator=validators.ge(0))
    delay: float = field(default=1.0, validator=validators.ge(0))
    delay_max: float = field(default=5.0, validator=validators.ge(0))
    randomization: float = field(default=0.5, validator=[validators.ge(0), validators.le(1)])
    factor: float = field(default=2.0, validator=validators.ge(1))

    def pause(self, attempt: int, rng: Random) -> float:
        """Return the seconds to wait before an attempt.

        Args:
            attempt: 0 for the first after a loss.
            rng: one number is drawn.
        """
        # The exponent is bounded because a float overflows after some thousand attempts.
        delay = self.delay * self.factor ** min(attempt, 64)
        delay *= 1 + self.randomization * (2 * rng.random() - 1)
        return min(delay, self.delay_max)
