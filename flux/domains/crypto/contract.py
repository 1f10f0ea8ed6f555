"""The crypto domain's topics and payload types, as the contract has them."""

from datetime import timedelta

from attrs import field, frozen

from flux.domains.domain import command_topic, event_topic
from flux.messages import Event

NAME = "crypto"

REFRESH_MOVERS = command_topic("crypto.service.command.topmovers.refresh", NAME)
REFRESH_COINS = command_topic("crypto.service.command.topcoins.refresh", NAME)
MOVERS_UPDATED = event_topic("crypto.movers.event.updated", NAME)
COINS_UPDATED = event_topic("crypto.topcoins.event.updated", NAME)
# 2,000 ticks a second are 100 GB a day; nobody reads yesterday's.
TICKER_UPDATED = event_topic("crypto.ticker.event.updated", NAME, partitions=4, retention=timedelta(hours=1))
REJECTED = event_topic("crypto.service.event.rejected", NAME)

Decimal = str | float | None
"""A number as an exchange writes it: as text, so that no digit is lost; a plain number is taken too."""


@frozen(kw_only=True)
class Asset:
    """A cryptocurrency with its market's figures.

    Args:
        id: a stable name, ``bitcoin``.
        symbol: ``BTC``.
        name: for people.
        image: URL of its sign.
        price: of one unit, in `currency`.
        currency: ISO 4217 code.
        change1h, change24h: %.
        marketCap: in `currency`.
        rank: by market capitalisation, from 1.
        volume24h: in `currency`.
        updatedAt: ISO 8601, UTC.
    """

    id: str | None = None
    symbol: str | None = None
    name: str | None = None
    image: str | None = None
    price: float | None = None
    currency: str | None = None
    change1h: float | None = None
    change24h: float | None = None
    marketCap: float | None = None
    rank: int | None = None
    volume24h: float | None = None
    updatedAt: str | None = None


@frozen(kw_only=True)
class Movers:
    """What rose and what fell most in 24 hours, each with the strongest first."""

    topGainers: tuple[Asset, ...] = field(factory=tuple)
    topLosers: tuple[Asset, ...] = field(factory=tuple)


@frozen(kw_only=True)
class TopCoins:
    """The largest by market capitalisation, in order."""

    topCoins: tuple[Asset, ...] = field(factory=tuple)


@frozen(kw_only=True)
class Ticker:
    """The exchange's own ticker object, as far as it is checked (Coinbase Exchange, channel ``ticker``).

    It is relayed as it came, so fields that are not listed here pass, too.

    Args:
        product_id: ``BTC-USD``.
        type: ``ticker``.
        price: of the last trade, in the quote currency.
        open_24h, low_24h, high_24h: prices of the last 24 hours.
        volume_24h, volume_30d: in the base currency.
        best_bid, best_ask: the best prices in the book.
        time: ISO 8601, UTC, of the last trade.
    """

    product_id: str
    type: str | None = None
    price: Decimal = None
    open_24h: Decimal = None
    low_24h: Decimal = None
    high_24h: Decimal = None
    volume_24h: Decimal = None
    volume_30d: Decimal = None
    best_bid: Decimal = None
    best_ask: Decimal = None
    time: str | None = None


@frozen
class MoversUpdated(Event[Movers]):
    """`crypto.movers.event.updated`."""


@frozen
class TopCoinsUpdated(Event[TopCoins]):
    """`crypto.topcoins.event.updated`."""


@frozen
class TickerUpdated(Event[Ticker]):
    """`crypto.ticker.event.updated`."""
