"""The stock domain's topics and payload types, as the contract has them."""

from attrs import frozen

from flux.domains.domain import command_topic, event_topic
from flux.messages import Event

NAME = "stock"

REFRESH = command_topic("stock.service.command.topperformers.refresh", NAME)
UPDATED = event_topic("stock.service.event.updated", NAME)
REJECTED = event_topic("stock.service.event.rejected", NAME)


@frozen(kw_only=True)
class Stock:
    """A share with its session's figures.

    Args:
        symbol: ``AAPL``.
        name: the company's.
        price: the last, in `currency`.
        change: since the previous close, in `currency`; changePercent is the same in %.
        open, high, low: of the session, in `currency`.
        previousClose: in `currency`.
        volume: shares traded in the session.
        currency: ISO 4217 code.
        asOf: ISO 8601, UTC.
    """

    symbol: str | None = None
    name: str | None = None
    price: float | None = None
    change: float | None = None
    changePercent: float | None = None
    open: float | None = None
    high: float | None = None
    low: float | None = None
    previousClose: float | None = None
    volume: float | None = None
    currency: str | None = None
    asOf: str | None = None


@frozen
class StocksUpdated(Event[tuple[Stock, ...]]):
    """`stock.service.event.updated`: the top performers, the strongest first."""
