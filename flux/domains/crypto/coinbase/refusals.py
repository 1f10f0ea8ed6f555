"""Which products the exchange refuses, over all connections (pure; time is an argument, in seconds)."""

import math
from collections.abc import Iterable

from attrs import define, field

REFUSED_FOR = 3_600.0
"""Seconds for which a product that the exchange does not know is not asked for; it may list it later."""

GUESSED_FOR = 60.0
"""The same after an error that may be about something else; doubled with each in a row."""

GUESSED_LIMIT = 600.0
"""Up to this."""


@define
class Refusals:
    """Products that the exchange refused, and those that it may have; outlives a connection."""

    _until: dict[str, float] = field(factory=dict)
    _guesses: dict[str, int] = field(factory=dict)
    _suspects: set[str] = field(factory=set)

    def add(self, product: str, now: float, *, certain: bool = True) -> None:
        """Note a refusal.

        Args:
            product: what was refused.
            now: the time.
            certain: whether the exchange said that it does not have the product, or no longer.
        """
        if certain:
            self._until[product] = now + REFUSED_FOR
            self._suspects.discard(product)
            self._guesses.pop(product, None)
            return
        guesses = self._guesses[product] = self._guesses.get(product, 0) + 1
        self._until[product] = now + min(GUESSED_FOR * 2.0 ** min(guesses - 1, 16), GUESSED_LIMIT)
        self._suspects.add(product)

    def suspect(self, products: Iterable[str]) -> None:
        """Note that one of these was refused; until it is known which, each is to be asked for alone."""
        self._suspects.update(products)

    def suspected(self, product: str) -> bool:
        """Return whether the product is to be asked for alone."""
        return product in self._suspects

    def clear(self, product: str) -> None:
        """Note that the exchange took the product."""
        self._suspects.discard(product)
        self._guesses.pop(product, None)
        self._until.pop(product, None)

    def forget_guesses(self) -> None:
        """Let all be asked for again whose refusal is not certain; each still alone."""
        for product in self._guesses:
            self._until.pop(product, None)
        self._guesses.clear()

    def __contains__(self, product: str) -> bool:
        return product in self._until

    def choose(self, candidates: Iterable[str], limit: int, now: float) -> list[str]:
        """Return the first of the candidates that are not refused."""
        chosen = [product for product in candidates if self._until.get(product, -math.inf) <= now]
        return chosen[:limit]

    def next_end(self, candidates: Iterable[str], now: float) -> float:
        """Return when the next refusal of a candidate ends; infinity: there is none."""
        ends = (self._until.get(product, -math.inf) for product in candidates)
        return min((end for end in ends if end > now), default=math.inf)
