"""The restart policy: which children start again after a crash, and how many crashes are too many.

The terms are those of Erlang/OTP's supervisor (OTP Design Principles, "Supervisor Behaviour"). Everything
here is pure: indices in the order of start, times as arguments.
"""

from collections import deque
from enum import Enum

from attrs import define, field, frozen, validators


class Strategy(Enum):
    """Which siblings are restarted with a child that crashed."""

    ONE_FOR_ONE = "one_for_one"
    """Only the child itself; for children that do not depend on each other."""

    REST_FOR_ONE = "rest_for_one"
    """The child and all that were started after it; for a chain of dependents."""

    ONE_FOR_ALL = "one_for_all"
    """All children; for a group that is only meaningful whole."""

    def affected(self, crashed: int, count: int) -> range:
        """Return the indices of the children that restart, the crashed one among them.

        Args:
            crashed: the index of the child that crashed, in the order of start.
            count: how many children there are.
        """
        if self is Strategy.ONE_FOR_ONE:
            return range(crashed, crashed + 1)
        if self is Strategy.REST_FOR_ONE:
            return range(crashed, count)
        return range(count)

    def groups(self, count: int) -> list[range]:
        """Return the indices of the children that share their restarts, group by group."""
        if self is Strategy.ONE_FOR_ONE:
            return [range(index, index + 1) for index in range(count)]
        return [range(count)] if count else []


class Kind(Enum):
    """When a child that ended is started again."""

    PERMANENT = "permanent"
    """Always: returning is a crash too."""

    TRANSIENT = "transient"
    """After an error; returning is its normal end."""

    TEMPORARY = "temporary"
    """Never; neither after an error nor after a sibling's restart stopped it."""

    def is_crash(self, *, failed: bool) -> bool:
        """Return whether an end that nobody asked for is a crash.

        Args:
            failed: it raised an error.
        """
        return failed or self is Kind.PERMANENT

    @property
    def restarts(self) -> bool:
        """Whether a crash is followed by a restart."""
        return self is not Kind.TEMPORARY


@frozen
class Intensity:
    """How many crashes a supervisor answers with a restart before it gives up.

    Args:
        crashes: allowed within the window; one more is too many. None: never give up.
        window: seconds.
    """

    crashes: int | None = field(default=10)
    window: float = field(default=60.0, validator=[validators.gt(0)])

    @crashes.validator
    def _check_crashes(self, _attribute: object, value: int | None) -> None:
        if value is not None and value < 0:
            raise ValueError(f"crashes is {value}, must be None or at least 0")


@define
class CrashWindow:
    """The crashes that lie within the window of an `Intensity`."""

    intensity: Intensity
    _crashes: deque[tuple[float, BaseException]] = field(factory=deque, init=False)

    def add(self, now: float, error: BaseException) -> bool:
        """Count a crash.

        Args:
            now: its time, seconds on a monotonic clock.
            error: what it raised.

        Returns:
            True if it is one too many.
        """
        if self.intensity.crashes is None:
            return False  # keep nothing: an unlimited window would grow without bound
        self._crashes.append((now, error))
        while self._crashes[0][0] <= now - self.intensity.window:
            self._crashes.popleft()
        return len(self._crashes) > self.intensity.crashes

    @property
    def errors(self) -> tuple[BaseException, ...]:
        """The errors within the window at the last `add`, oldest first."""
        return tuple(error for _, error in self._crashes)
