"""An episode: the first of a row of like events, which is told, and those that follow it (pure)."""

import math

from attrs import define, field

EPISODE_SECONDS = 900.0
"""Events that are less far apart belong together: longer than the scheduler's longest interval."""


@define
class Episode:
    """Events of one kind; one begins a new episode where none came for a while.

    Args:
        gap: seconds without an event that end an episode.
    """

    gap: float = EPISODE_SECONDS
    _last: float = field(default=-math.inf, init=False)

    def begins(self, now: float) -> bool:
        """Note an event; return whether it is the first of its episode.

        Args:
            now: seconds, of any clock that does not go back.
        """
        first = now - self._last >= self.gap
        self._last = now
        return first
