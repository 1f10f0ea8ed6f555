"""Deduplication: what the same user just asked for is found again for a short window, in bounded memory."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Dedupe(Generic[T]):
    """A map that forgets: each entry lives for one window from its first sight, repeats do not prolong it.

    Args:
        window: seconds.
        limit: entries; beyond it the oldest is forgotten early.
    """

    def __init__(self, *, window: float, limit: int) -> None:
        self._window = window
        self._limit = limit
        self._entries: OrderedDict[Hashable, tuple[float, T]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def recent(self, key: Hashable, now: float) -> T | None:
        """Return what was remembered under the key less than a window ago, or None.

        Args:
            key: who asked for what.
            now: seconds, of one clock that never goes back.
        """
        while self._entries:
            oldest = next(iter(self._entries.values()))
            if now - oldest[0] < self._window:
                break
            self._entries.popitem(last=False)
        entry = self._entries.get(key)
        return None if entry is None else entry[1]

    def remember(self, key: Hashable, value: T, now: float) -> None:
        """Remember the value under the key from now on."""
        self._entries.pop(key, None)
        self._entries[key] = (now, value)
        if len(self._entries) > self._limit:
            self._entries.popitem(last=False)

    def forget(self, key: Hashable, value: T) -> None:
        """Forget the key if it still stands for this very value, so that what failed can be tried again."""
        entry = self._entries.get(key)
        if entry is not None and entry[1] is value:
            del self._entries[key]
