"""The simulated stock source."""

from collections.abc import Callable
from datetime import datetime

import trio

from flux.domains.providers import SIMULATED, SimulationOptions
from flux.domains.stock.companies import COMPANIES
from flux.domains.stock.contract import Stock
from flux.domains.stock.exchange import Exchange


class SimulatedStocks:
    """A `StockProvider`.

    Args:
        options: seed, delay of a fetch.
        now: the wall clock, aware.
    """

    source = SIMULATED

    def __init__(self, options: SimulationOptions, *, now: Callable[[], datetime]) -> None:
        self._delay = options.fetch_delay
        self._now = now
        self._exchange = Exchange(COMPANIES, seed=options.seed, now=now())

    async def top_performers(self) -> tuple[Stock, ...]:
        """Return the top performers, the strongest first."""
        await trio.sleep(self._delay)
        return self._exchange.top_performers(self._now())
