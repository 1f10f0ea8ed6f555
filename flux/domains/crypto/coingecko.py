"""CoinGecko: movers and top coins from one request, without a key or with a demo key."""

from attrs import evolve

from flux.domains.crypto.coingecko_shape import TITLE, movers, read_markets, top_coins
from flux.domains.crypto.contract import NAME, Asset, Movers, TopCoins
from flux.domains.providers import ProviderOptions
from flux.domains.sources.board import Board
from flux.domains.sources.policy import SourcePolicy
from flux.domains.sources.source import Query, Source

POLICY = SourcePolicy(
    name="coingecko",
    title=TITLE,
    url="https://api.coingecko.com/api/v3",
    rate=5 / 60,  # 5 to 15 calls a minute without a key, as CoinGecko's FAQ has it, by how busy it is
    burst=3,
    ttl=50.0,  # the answer is renewed about once a minute, and so are movers and top coins
)

KEYED = evolve(
    POLICY,
    rate=30 / 60,  # https://docs.coingecko.com: a demo key has 30 calls a minute ...
    burst=5,
    ttl=270.0,  # ... and 10,000 a month: one every 260 s; once a minute, they would be gone in a week
)

MARKETS = Query(
    path="/coins/markets",
    params={
        "vs_currency": "usd",
        "order": "market_cap_desc",
        "per_page": "100",
        "page": "1",
        "price_change_percentage": "1h,24h",
    },
)


def coingecko_source(providers: ProviderOptions, board: Board) -> Source:
    """Return CoinGecko as a source; with the demo key, if there is one."""
    key = providers.coingecko_key
    return Source(
        KEYED if key else POLICY,
        domain=NAME,
        board=board,
        urls=providers.urls,
        headers={"x-cg-demo-api-key": key} if key else {},
        key_setting="providers.coingecko_key" if key else "",
    )


class CoinGecko:
    """A `CryptoProvider`; what both methods need is asked for once.

    Args:
        source: running while it is asked.
    """

    def __init__(self, source: Source) -> None:
        self._source = source

    @property
    def source(self) -> str:
        """Its name, as it stands in events."""
        return self._source.name

    async def movers(self) -> Movers:
        """Return what rose and fell most in 24 hours among the hundred largest.

        Raises:
            SourceError: it failed.
        """
        return movers(await self._markets())

    async def top_coins(self) -> TopCoins:
        """Return the largest by market capitalisation.

        Raises:
            SourceError: it failed.
        """
        return top_coins(await self._markets())

    async def _markets(self) -> tuple[Asset, ...]:
        return await self._source.get(MARKETS, lambda answer: read_markets(answer.body))
