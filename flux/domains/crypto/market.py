"""The simulated crypto market: one price per coin, from which ticker, movers and top coins all draw (pure).

The logarithm of a price, relative to the coin's level, is an Ornstein-Uhlenbeck process: a random walk that
returns to its mean, with an exact step for any length of time (Gillespie 1996, "Exact numerical simulation
of the Ornstein-Uhlenbeck process"). So prices neither explode nor die however long a demonstration runs.
"""

import math
import random
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from attrs import define, field, frozen

from flux.domains.crypto.coins import Coin
from flux.domains.crypto.contract import Asset, Movers, TopCoins
from flux.messages import iso_time

SLOT = 300.0
"""Seconds of one slot of the history."""

SLOTS = 288
"""Slots of 24 hours."""

REVERSION = 0.5 / 86_400
"""Per second: half of a deviation is gone after 1.4 days. With one half per day, the standard deviation over
a day (of a walk without return) is that of the stationary state, too; the formulas below rely on it."""

MOVERS = 10
TOP_COINS = 30


@frozen
class _Slot:
    """The prices of five minutes."""

    begin: float
    open: float
    low: float
    high: float


@define
class Quote:
    """One coin's state.

    Args:
        coin: what it is.
        rng: of its walk.
        time: of the last step, seconds since the Unix epoch.
    """

    coin: Coin
    rng: random.Random
    time: float
    sequence: int = 0
    trade: int = 0
    price: float = field(init=False)
    decimals: int = field(init=False)
    volume_24h: float = field(init=False)  # base currency
    _deviation: float = field(init=False)
    _slots: deque[_Slot] = field(init=False)
    _closed_low: float = field(init=False, default=math.inf)
    _closed_high: float = field(init=False, default=0.0)

    def __attrs_post_init__(self) -> None:
        self.decimals = _decimals(self.coin.price)
        self._deviation = self.rng.gauss(0.0, self.coin.volatility)
        self.volume_24h = self.coin.supply * self.coin.turnover
        self.sequence = self.rng.randrange(10**9, 10**10)
        self.trade = self.rng.randrange(10**7, 10**8)
        end = self.time
        self.time = end - SLOT * SLOTS
        self._set_price()
        self._slots = deque(maxlen=SLOTS)
        self._open_slot(_slot_begin(self.time))
        self.advance(end)

    @property
    def step(self) -> float:
        """The smallest step of the price, USD."""
        return float(10**-self.decimals)

    @property
    def open_24h(self) -> float:
        """The price 24 hours ago, to five minutes."""
        return self._slots[0].open

    @property
    def open_1h(self) -> float:
        """The price an hour ago, to five minutes."""
        return self._slots[max(0, len(self._slots) - 12)].open

    @property
    def low_24h(self) -> float:
        """The lowest price of 24 hours."""
        return min(self._closed_low, self._slots[-1].low)

    @property
    def high_24h(self) -> float:
        """The highest price of 24 hours."""
        return max(self._closed_high, self._slots[-1].high)

    @property
    def market_cap(self) -> float:
        """Price times supply, USD."""
        return self.price * self.coin.supply

    def advance(self, now: float) -> None:
        """Let time pass up to `now` (seconds since the Unix epoch); a clock set back stands still."""
        opened = False
        while (begin := self._slots[-1].begin + SLOT) <= now:
            begin = max(
                begin, _slot_begin(now) - SLOT * SLOTS
            )  # of a long absence only 24 hours leave a trace
            self._walk(max(0.0, begin - self.time))
            self.time = max(self.time, begin)
            self._open_slot(begin)
            opened = True
        if opened:
            self._closed_low = min(slot.low for slot in self._slots)
            self._closed_high = max(slot.high for slot in self._slots)
        self._walk(max(0.0, now - self.time))
        self.time = max(self.time, now)
        self._widen()

    def jostle(self, seconds: float) -> None:
        """Move the price as if that much time had passed, without it: two looks never see the same."""
        self._walk(seconds)
        self._widen()

    def _walk(self, seconds: float) -> None:
        keep = math.exp(-REVERSION * seconds)
        spread = self.coin.volatility * math.sqrt(1 - keep * keep)
        self._deviation = self._deviation * keep + self.rng.gauss(0.0, spread)
        share = self.rng.gauss(0.0, 0.02 * math.sqrt(seconds / SLOT)) if seconds else 0.0
        usual = self.coin.supply * self.coin.turnover
        self.volume_24h = min(max(self.volume_24h * math.exp(share), usual / 4), usual * 4)
        self._set_price()

    def _set_price(self) -> None:
        price = self.coin.price * math.exp(self._deviation)
        self.price = max(round(price, self.decimals), self.step)

    def _open_slot(self, begin: float) -> None:
        self._slots.append(_Slot(begin, self.price, self.price, self.price))

    def _widen(self) -> None:
        slot = self._slots[-1]
        if not slot.low <= self.price <= slot.high:
            low, high = min(slot.low, self.price), max(slot.high, self.price)
            self._slots[-1] = _Slot(slot.begin, slot.open, low, high)


class Market:
    """All coins, moving together with time.

    Args:
        coins: what is traded.
        seed: the same seed and the same times give the same market; None takes one from the operating system.
        now: when it opens; the 24 hours before are simulated, too.
    """

    def __init__(self, coins: Sequence[Coin], *, seed: int | None, now: datetime) -> None:
        self._rng = random.Random(seed)
        # Each coin has its own stream of chance: how often one is asked for does not move the others.
        self.quotes = {
            coin.product: Quote(coin, random.Random(self._rng.getrandbits(64)), now.timestamp())
            for coin in coins
        }

    def movers(self, now: datetime) -> Movers:
        """Return what rose and fell most in 24 hours, up to ten each."""
        assets = self._assets(now)
        changes = [(asset.change24h or 0.0, asset) for asset in assets]
        gainers = sorted((c for c in changes if c[0] > 0), key=lambda c: -c[0])
        losers = sorted((c for c in changes if c[0] < 0), key=lambda c: c[0])
        return Movers(
            topGainers=tuple(asset for _, asset in gainers[:MOVERS]),
            topLosers=tuple(asset for _, asset in losers[:MOVERS]),
        )

    def top_coins(self, now: datetime) -> TopCoins:
        """Return the thirty largest."""
        return TopCoins(topCoins=tuple(self._assets(now)[:TOP_COINS]))

    def tick(self, product: str, now: datetime) -> dict[str, Any]:
        """Let one product trade.

        Args:
            product: one of `quotes`.
            now: the trade's time.

        Returns:
            An object as Coinbase Exchange sends it on its WebSocket channel ``ticker``: numbers are text.
        """
        quote = self.quotes[product]
        quote.advance(now.timestamp())
        quote.jostle(0.05)
        rng = quote.rng
        quote.sequence += rng.randrange(1, 40)
        quote.trade += 1
        side = rng.choice(("buy", "sell"))
        # The side is the taker's: a buyer takes the best ask.
        bid, ask = (
            (quote.price - quote.step, quote.price)
            if side == "buy"
            else (quote.price, quote.price + quote.step)
        )
        lot = 1_000 / quote.price
        text = f"{{:.{quote.decimals}f}}".format
        return {
            "type": "ticker",
            "sequence": quote.sequence,
            "product_id": product,
            "price": text(quote.price),
            "open_24h": text(quote.open_24h),
            "volume_24h": f"{quote.volume_24h:.8f}",
            "low_24h": text(quote.low_24h),
            "high_24h": text(quote.high_24h),
            "volume_30d": f"{quote.coin.supply * quote.coin.turnover * 30:.8f}",
            "best_bid": text(max(bid, 0.0)),
            "best_bid_size": f"{lot * rng.expovariate(1.0):.8f}",
            "best_ask": text(ask),
            "best_ask_size": f"{lot * rng.expovariate(1.0):.8f}",
            "side": side,
            "time": now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "trade_id": quote.trade,
            "last_size": f"{lot * rng.expovariate(1.0):.8f}",
        }

    def _assets(self, now: datetime) -> list[Asset]:
        """Return all coins as they stand now, the largest first."""
        for quote in self.quotes.values():
            quote.advance(now.timestamp())
            quote.jostle(1.0)
        ranked = sorted(self.quotes.values(), key=lambda quote: -quote.market_cap)
        time = iso_time(now)
        return [_asset(quote, rank, time) for rank, quote in enumerate(ranked, 1)]


def _asset(quote: Quote, rank: int, time: str) -> Asset:
    coin = quote.coin
    return Asset(
        id=coin.id,
        symbol=coin.symbol,
        name=coin.name,
        price=quote.price,
        currency="USD",
        change1h=_percent(quote.price, quote.open_1h),
        change24h=_percent(quote.price, quote.open_24h),
        marketCap=round(quote.market_cap, 2),
        rank=rank,
        volume24h=round(quote.volume_24h * quote.price, 2),
        updatedAt=time,
    )


def _percent(price: float, before: float) -> float:
    return round((price / before - 1) * 100, 2)


def _decimals(level: float) -> int:
    """Return how many decimals a price of that level has: about six digits that count, cents at least."""
    return max(2, 5 - math.floor(math.log10(level))) if level < 1_000 else 2


def _slot_begin(time: float) -> float:
    return time - time % SLOT
