"""The simulated stock exchange: sessions of a UTC day each, seven days a week (pure).

A price walks as the crypto market's does (`flux.domains.crypto.market`), but in sessions: the last
price of one is the previous close of the next, which opens with a small gap.
"""

import math
import random
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta

from attrs import define, field

from flux.domains.stock.companies import Company
from flux.domains.stock.contract import Stock
from flux.messages import iso_time

TOP = 10
"""How many are the top performers."""

_DAY = 86_400.0
_STEP = 600.0  # seconds between the steps of the part of a session that nobody watched


@define
class Session:
    """One company's share in the session of one day.

    Args:
        company: whose.
        rng: of its walk.
        day: the UTC date.
        time: of the last step, seconds since the session began.
    """

    company: Company
    rng: random.Random
    day: date
    time: float = 0.0
    price: float = field(init=False)
    previous_close: float = field(init=False)
    open: float = field(init=False)
    high: float = field(init=False)
    low: float = field(init=False)
    volume: float = 0.0
    _deviation: float = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._deviation = self.rng.gauss(0.0, self.company.volatility)
        self.price = self._listed()
        self._begin(self.day)

    def advance(self, now: datetime) -> None:
        """Let the exchange trade up to `now`, for a second at least; a clock set back stands still."""
        now = now.astimezone(UTC)
        if now.date() > self.day:
            self._begin(now.date())
        begin = datetime.combine(self.day, time(), UTC)
        until = (now - begin) / timedelta(seconds=1)
        while until - self.time > _STEP:
            self._trade(_STEP)
            self.time += _STEP
        self._trade(max(1.0, until - self.time))
        self.time = max(self.time, until)

    def listing(self, now: str) -> Stock:
        """Return the session's figures, as of `now` (ISO 8601)."""
        change = round(self.price - self.previous_close, 2)
        return Stock(
            symbol=self.company.symbol,
            name=self.company.name,
            price=self.price,
            change=change,
            changePercent=round(change / self.previous_close * 100, 2),
            open=self.open,
            high=self.high,
            low=self.low,
            previousClose=self.previous_close,
            volume=round(self.volume),
            currency="USD",
            asOf=now,
        )

    def _begin(self, day: date) -> None:
        self.day, self.time, self.volume = day, 0.0, 0.0
        self.previous_close = self.price
        self._walk(_DAY / 16)  # the gap over night
        self.open = self.high = self.low = self.price

    def _trade(self, seconds: float) -> None:
        self._walk(seconds)
        self.high, self.low = max(self.high, self.price), min(self.low, self.price)
        self.volume += self.company.volume * seconds / _DAY * self.rng.uniform(0.5, 1.5)

    def _walk(self, seconds: float) -> None:
        # An Ornstein-Uhlenbeck step whose stationary deviation is the company's volatility.
        keep = math.exp(-0.5 / _DAY * seconds)
        spread = self.company.volatility * math.sqrt(1 - keep * keep)
        self._deviation = self._deviation * keep + self.rng.gauss(0.0, spread)
        self.price = self._listed()

    def _listed(self) -> float:
        return max(0.01, round(self.company.price * math.exp(self._deviation), 2))


class Exchange:
    """All companies.

    Args:
        companies: that are listed.
        seed: the same seed and times give the same prices; None takes one from the operating system.
        now: when it is first looked at; the session up to then is simulated, too.
    """

    def __init__(self, companies: Sequence[Company], *, seed: int | None, now: datetime) -> None:
        rng = random.Random(seed)
        today = now.astimezone(UTC).date()
        self._sessions = [
            Session(company, random.Random(rng.getrandbits(64)), today) for company in companies
        ]

    def top_performers(self, now: datetime) -> tuple[Stock, ...]:
        """Return the ten that rose most since the previous close, the strongest first."""
        for session in self._sessions:
            session.advance(now)
        listings = [session.listing(iso_time(now)) for session in self._sessions]
        return tuple(sorted(listings, key=lambda stock: -(stock.changePercent or 0.0))[:TOP])
