"""Single flight: however many ask for a state that is missing, one refresh is on its way at a time."""

from collections.abc import Hashable


class SingleFlight:
    """The refreshes on their way.

    Args:
        limit: seconds after which a refresh that nothing answered no longer keeps others from starting one.
    """

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._begun: dict[Hashable, float] = {}

    def begin(self, key: Hashable, now: float) -> bool:
        """Return whether the caller shall publish a refresh: none is on its way; from now on its own is.

        Args:
            key: what is refreshed.
            now: seconds, of one clock that never goes back.
        """
        begun = self._begun.get(key)
        if begun is not None and now - begun < self._limit:
            return False
        self._begun[key] = now
        return True

    def end(self, key: Hashable) -> None:
        """Note that an answer came: the event, an error or a rejection."""
        self._begun.pop(key, None)
