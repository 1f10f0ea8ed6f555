"""A deadline that is moved often: setting it is an assignment, and a shared timer looks at it.

The deadline of a cancel scope is kept in trio's heap, and each move costs two entries there; a polling client
moves its connection's twice with each poll.
"""

import math
from collections.abc import Callable

import trio

from flux.transport.timers import Timers


class Deadline:
    """One deadline, at first none.

    Args:
        timers: call it back; they hold it weakly.
        expire: called once it is past; then there is none until the next `set`.
    """

    __slots__ = ("__weakref__", "_armed", "_due", "_expire", "_timers")

    def __init__(self, timers: Timers, expire: Callable[[], object]) -> None:
        self._timers = timers
        self._expire = expire
        self._due = math.inf
        self._armed = math.inf

    def set(self, seconds: float) -> None:
        """Move it to so many seconds from now."""
        self._due = trio.current_time() + seconds
        if self._due < self._armed:
            self._arm()

    def clear(self) -> None:
        """Have none."""
        self._due = math.inf

    def _arm(self) -> None:
        self._armed = self._due
        self._timers.call_weakly_at(self._due, self, Deadline._look)

    def _look(self) -> None:
        now = trio.current_time()
        if now < self._armed:
            return  # a later timer, left over from before a nearer deadline
        self._armed = math.inf
        if now >= self._due:
            self._due = math.inf
            self._expire()
        elif self._due < math.inf:
            self._arm()
