"""Which products the ticker is about: those of the top coins, the largest first."""

import re
from collections.abc import Iterable

import trio

from flux.domains.crypto.coins import COINS

_SYMBOL = re.compile(r"[A-Z0-9]{1,16}")

KNOWN = tuple(coin.product for coin in COINS)
"""Until the top coins are known, and after them."""


class Products:
    """The candidates, in order; who wants the first few of them takes the next where one is refused.

    Attributes:
        candidates: product ids, ``BTC-USD``, the most wanted first.
        changed: set when they change; a new one stands there then.
    """

    def __init__(self) -> None:
        self.candidates: tuple[str, ...] = KNOWN
        self.changed = trio.Event()

    def follow(self, symbols: Iterable[str | None]) -> None:
        """Take over the symbols of the top coins, in order."""
        products = (f"{symbol}-USD" for symbol in symbols if symbol and _SYMBOL.fullmatch(symbol))
        candidates = tuple(dict.fromkeys((*products, *KNOWN)))
        if candidates != self.candidates:
            self.candidates = candidates
            changed, self.changed = self.changed, trio.Event()
            changed.set()
