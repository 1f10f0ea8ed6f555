"""The simulated news source."""

import random
from collections.abc import Callable
from datetime import datetime

import trio

from flux.domains.news.contract import Article
from flux.domains.news.newsroom import latest_articles
from flux.domains.providers import SIMULATED, SimulationOptions


class SimulatedNews:
    """A `NewsProvider`.

    Args:
        options: seed, delay of a fetch.
        now: the wall clock, aware.
    """

    source = SIMULATED

    def __init__(self, options: SimulationOptions, *, now: Callable[[], datetime]) -> None:
        self._delay = options.fetch_delay
        self._now = now
        self._seed = random.Random(options.seed).getrandbits(32)

    async def latest(self) -> tuple[Article, ...]:
        """Return the latest articles, newest first."""
        await trio.sleep(self._delay)
        return latest_articles(self._seed, self._now())
