"""The real sources of the crypto domain: CoinGecko for the snapshots, Coinbase Exchange for the ticks."""

from collections.abc import Callable
from datetime import datetime
from random import Random

import trio

from flux.domains.crypto.coinbase.feed import SOURCE, CoinbaseFeed, FeedLimits, FeedListener
from flux.domains.crypto.coingecko import CoinGecko, coingecko_source
from flux.domains.crypto.products import Products
from flux.domains.crypto.provider import CryptoProvider
from flux.domains.providers import ProviderOptions
from flux.domains.sources.board import Board
from flux.domains.sources.failures import SourceError
from flux.domains.sources.real import Real


def real(
    providers: ProviderOptions,
    board: Board,
    now: Callable[[], datetime],  # noqa: ARG001 - every domain's has these three
) -> Real[CryptoProvider]:
    """Return CoinGecko, which needs no key."""
    source = coingecko_source(providers, board)
    return Real(provider=CoinGecko(source), services=(source.run,))


def feed(
    providers: ProviderOptions,
    board: Board,
    products: Products,
    listener: FeedListener,
    *,
    limit: int,
    rng: Random,
) -> CoinbaseFeed:
    """Return the feed of real ticks, which needs no key.

    Args:
        providers: another address, where there is one.
        board: where its health stands.
        products: which the ticks are about, the most wanted first.
        listener: gets the ticks.
        limit: how many products.
        rng: of the back-off's jitter.
    """
    limits = FeedLimits(products=limit)
    return CoinbaseFeed(products, listener, limits=limits, board=board, urls=providers.urls, rng=rng)


class FirstTick:
    """Looks whether the feed works; a `FeedListener`.

    Args:
        reached: whether the feed, when it failed, had been reached at all.
    """

    source = SOURCE

    def __init__(self, reached: Callable[[], bool]) -> None:
        self._reached = reached
        self._heard = trio.Event()
        self._product = ""
        self._failure = ""

    async def tick(self, product: str, data: bytes) -> None:  # noqa: ARG002 - whose tick it is says enough
        """Note that a tick came."""
        await trio.lowlevel.checkpoint()
        if not self._product:
            self._product = product
            self._heard.set()

    def down(self, reason: str) -> None:
        """Note that the feed is down."""
        if reason:
            self._failure = reason
            self._heard.set()

    async def first(self) -> str:
        """Wait for a tick; return its product.

        Raises:
            SourceError: the feed is down.
        """
        await self._heard.wait()
        if not self._product:
            raise SourceError(self._failure, reached=self._reached())
        return self._product


def real_ticks(
    providers: ProviderOptions,
    board: Board,
    now: Callable[[], datetime],  # noqa: ARG001 - as `real`
) -> Real[FirstTick]:
    """Return the feed as ``flux doctor`` asks it: for one tick."""
    first = FirstTick(lambda: listening.reached)
    listening = feed(providers, board, Products(), first, limit=1, rng=Random())
    return Real(provider=first, services=(listening.run,))
