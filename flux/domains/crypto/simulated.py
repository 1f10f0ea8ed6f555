"""The simulated crypto source: one market behind the snapshots and the ticker."""

import random
from collections.abc import Callable
from datetime import datetime
from typing import Any

import trio

from flux.domains.crypto.coins import COINS
from flux.domains.crypto.contract import Movers, TopCoins
from flux.domains.crypto.market import Market
from flux.domains.providers import SIMULATED, SimulationOptions
from flux.errors import LocalError


class SimulatedCrypto:
    """Both a `CryptoProvider` and a `TickSource`.

    Args:
        options: seed, number of the ticker's products (those there are, at most), delay of a fetch.
        now: the wall clock, aware.

    Raises:
        LocalError: fewer than one product.
    """

    source = SIMULATED

    def __init__(self, options: SimulationOptions, *, now: Callable[[], datetime]) -> None:
        if options.products < 1:
            raise LocalError(f"the ticker needs at least one product, not {options.products}")
        self._delay = options.fetch_delay
        self._now = now
        self._market = Market(COINS, seed=options.seed, now=now())
        self._products = [coin.product for coin in COINS[: options.products]]
        self._rng = random.Random(options.seed)

    async def movers(self) -> Movers:
        """Return what rose and fell most."""
        await trio.sleep(self._delay)
        return self._market.movers(self._now())

    async def top_coins(self) -> TopCoins:
        """Return the largest by market capitalisation."""
        await trio.sleep(self._delay)
        return self._market.top_coins(self._now())

    def tick(self) -> dict[str, Any]:
        """Return a trade of one product, taken at random."""
        return self._market.tick(self._rng.choice(self._products), self._now())
