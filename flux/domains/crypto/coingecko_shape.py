"""CoinGecko's ``/coins/markets``: its documented shape, and what Flux takes of it (pure).

https://docs.coingecko.com/v3.0.1/reference/coins-markets: one object per coin. Many fields may be null, the
changes and the rank of a new coin above all.
"""

import math
from datetime import datetime

import msgspec
from attrs import frozen

from flux.domains.crypto.contract import Asset, Movers, TopCoins
from flux.domains.crypto.market import MOVERS, TOP_COINS
from flux.domains.sources.failures import SourceError
from flux.domains.sources.shape import decode
from flux.domains.sources.text import one_line
from flux.messages import iso_time

TITLE = "CoinGecko"

CURRENCY = "USD"

COINS_LIMIT = 250
"""Coins of one page, as documented; what comes beyond is not read."""

TEXT_LIMIT = 100
SYMBOL_LIMIT = 20
URL_LIMIT = 500


@frozen(kw_only=True)
class MarketCoin:
    """One coin of the answer; the fields' names are CoinGecko's. Changes are in %, money is in dollars."""

    id: str
    symbol: str
    current_price: float
    name: str | None = None
    image: str | None = None
    market_cap: float | None = None
    market_cap_rank: int | None = None
    total_volume: float | None = None
    price_change_percentage_24h: float | None = None
    price_change_percentage_1h_in_currency: float | None = None
    price_change_percentage_24h_in_currency: float | None = None
    last_updated: str | None = None


_PAGE = msgspec.json.Decoder(list[msgspec.Raw])
_COIN = msgspec.json.Decoder(MarketCoin)


def read_markets(body: bytes) -> tuple[Asset, ...]:
    """Return the coins of an answer; those without an id, a symbol or a price, or misshapen, are left out.

    Args:
        body: UTF-8 JSON.

    Raises:
        SourceError: it is not such an answer, or no coin of it is of use.
    """
    assets: list[Asset] = []
    failure: SourceError | None = None
    for raw in decode(_PAGE, body, TITLE)[:COINS_LIMIT]:
        try:
            coin = decode(_COIN, bytes(raw), TITLE)
        except SourceError as error:
            failure = failure or error
            continue
        asset = _asset(coin)
        if asset is not None:
            assets.append(asset)
    if not assets:
        raise failure or SourceError(f"{TITLE} answered without any coin")
    return tuple(assets)


def movers(assets: tuple[Asset, ...]) -> Movers:
    """Return what rose and fell most in 24 hours, the strongest first."""
    changes = [(asset.change24h, asset) for asset in assets if asset.change24h is not None]
    gainers = sorted((c for c in changes if c[0] > 0), key=lambda c: -c[0])
    losers = sorted((c for c in changes if c[0] < 0), key=lambda c: c[0])
    return Movers(
        topGainers=tuple(asset for _, asset in gainers[:MOVERS]),
        topLosers=tuple(asset for _, asset in losers[:MOVERS]),
    )


def top_coins(assets: tuple[Asset, ...]) -> TopCoins:
    """Return the largest by market capitalisation; coins without one come last, in CoinGecko's order."""
    ranked = sorted(assets, key=lambda asset: -(asset.marketCap or 0.0))
    return TopCoins(topCoins=tuple(ranked[:TOP_COINS]))


def _asset(coin: MarketCoin) -> Asset | None:
    """Return the coin in the contract's terms, or None where it lacks what it cannot be shown without."""
    id_, price = one_line(coin.id, TEXT_LIMIT), _amount(coin.current_price)
    symbol = coin.symbol.strip().upper()
    if not id_ or price is None or not symbol.isprintable() or not 0 < len(symbol) <= SYMBOL_LIMIT:
        return None
    day = coin.price_change_percentage_24h_in_currency
    rank = coin.market_cap_rank
    return Asset(
        id=id_,
        symbol=symbol,
        name=one_line(coin.name or "", TEXT_LIMIT) or symbol,
        image=_url(coin.image),
        price=price,
        currency=CURRENCY,
        change1h=_percent(coin.price_change_percentage_1h_in_currency),
        change24h=_percent(coin.price_change_percentage_24h if day is None else day),
        marketCap=_amount(coin.market_cap),
        rank=rank if rank is not None and 0 < rank < 1_000_000 else None,
        volume24h=_amount(coin.total_volume),
        updatedAt=_time(coin.last_updated),
    )


def _url(text: str | None) -> str | None:
    """Return an address of the web as it is, else None: CoinGecko writes ``missing_large.png`` for none."""
    if text is None or len(text) > URL_LIMIT or not text.startswith("https://"):
        return None
    return text if text.isascii() and text.isprintable() and " " not in text else None


def _amount(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) and value >= 0 else None


def _percent(value: float | None) -> float | None:
    """Return a change in %, to a hundredth; nothing falls by more than all of it, or rises a millionfold."""
    return round(value, 2) if value is not None and -100 <= value <= 1e8 else None


def _time(text: str | None) -> str | None:
    try:
        time = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return iso_time(time) if time.tzinfo is not None else None
