"""Finnhub's quote and what Flux makes of it (pure).

Shape as documented at https://finnhub.io/docs/api/quote. What the documentation leaves out, its users have
met: an unknown symbol is answered with zeros, and null for the changes; a single figure may be zero while
the price is there; a symbol that the key's plan does not hold is refused with 403.
"""

import math
from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec
from attrs import frozen

from flux.domains.sources.failures import SourceError
from flux.domains.sources.http import Answer
from flux.domains.sources.shape import decode
from flux.domains.stock.companies import COMPANIES
from flux.domains.stock.contract import Stock
from flux.domains.stock.exchange import TOP
from flux.messages import iso_time

TITLE = "Finnhub"

KEY_SETTING = "providers.finnhub_key"

NO_ACCESS = 403

_NAMES = {company.symbol: company.name for company in COMPANIES}
_MOST = 1e9  # no share has cost more than about 1e6
_TIMES = (1, 4_102_444_800)  # seconds since 1970; until the year 2100


@frozen
class Quote:
    """A quote; the names are Finnhub's.

    Args:
        c: the current price, in the share's currency.
        d: change since the previous close; dp is the same in %.
        h, l, o: the session's high, low and open.
        pc: the previous close.
        t: of the last trade, seconds since 1970.
    """

    c: float | None
    d: float | None = None
    dp: float | None = None
    h: float | None = None
    l: float | None = None  # noqa: E741 - the wire's own name
    o: float | None = None
    pc: float | None = None
    t: float | None = None


@frozen
class Refusal:
    """What stands in an error's body."""

    error: str


_QUOTE = msgspec.json.Decoder(Quote)
_REFUSAL = msgspec.json.Decoder(Refusal)


def read_quote(answer: Answer, symbol: str) -> tuple[Stock, ...]:
    """Return what an answer says of a share.

    Args:
        answer: 200 or 403, JSON.
        symbol: that was asked for.

    Returns:
        The share, without a volume, which quotes do not have; nothing where Finnhub does not know the symbol,
        or the key's plan does not hold it.

    Raises:
        SourceError: the answer has another shape, or refuses the key.
    """
    if answer.status == NO_ACCESS:
        refusal = decode(_REFUSAL, answer.body, TITLE)
        if "access" in refusal.error:
            return ()
        raise SourceError(
            f"{TITLE} refuses the request ({NO_ACCESS}); check the key in the setting {KEY_SETTING}",
            key_setting=KEY_SETTING,
        )
    quote = decode(_QUOTE, answer.body, TITLE)
    price = _price(quote.c)
    if price is None:
        return ()
    previous = _price(quote.pc)
    change, percent = _finite(quote.d, _MOST), _finite(quote.dp, 1e6)
    if previous is not None:
        change = price - previous if change is None else change
        percent = change / previous * 100 if percent is None else percent
    return (
        Stock(
            symbol=symbol,
            name=_NAMES.get(symbol),
            price=price,
            change=None if change is None else round(change, 4),
            changePercent=None if percent is None else round(percent, 4),
            open=_price(quote.o),
            high=_price(quote.h),
            low=_price(quote.l),
            previousClose=previous,
            currency="USD",  # the quote names none; the free plan has shares of US exchanges alone
            asOf=_time(quote.t),
        ),
    )


def strongest(stocks: Iterable[Stock]) -> tuple[Stock, ...]:
    """Return the ten that rose most since the previous close, the strongest first; the unknown come last."""

    def weakness(stock: Stock) -> float:
        return math.inf if stock.changePercent is None else -stock.changePercent

    return tuple(sorted(stocks, key=weakness)[:TOP])


def _finite(value: float | None, most: float) -> float | None:
    return value if value is not None and math.isfinite(value) and abs(value) <= most else None


def _price(value: float | None) -> float | None:
    """Return a price; zero stands for none."""
    price = _finite(value, _MOST)
    return price if price is not None and price > 0 else None


def _time(seconds: float | None) -> str | None:
    if seconds is None or not _TIMES[0] <= seconds <= _TIMES[1]:
        return None
    return iso_time(datetime.fromtimestamp(seconds, UTC))
