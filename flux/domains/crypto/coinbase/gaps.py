"""Whether ticks get lost on the way from the exchange (pure; time is an argument, in seconds).

``sequence`` counts a product's whole order book, of which the ticker channel tells a part, and a cascade of
matches is told by one tick, so neither it nor ``trade_id`` goes up by one from tick to tick. What is known
for certain is the other channel's word: a heartbeat names the product's last trade, and the tick of that
trade must have come before the next heartbeat.
"""

from enum import StrEnum

from attrs import define, field


class Gap(StrEnum):
    """What was noticed of a product's order."""

    MISSED = "missed"
    """A heartbeat named a trade, and its tick did not come."""
    BATCHED = "batched"
    """Trade ids were passed over between two ticks: a cascade in one tick, or ticks that were lost."""
    LATE = "late"
    """A tick is older than the one before it."""


@define
class _Last:
    sequence: int = 0
    trade: int = 0
    told: int = 0  # by the heartbeat before, if no tick had told of it then


@define
class Gaps:
    """The order of every product on one connection."""

    _last: dict[str, _Last] = field(factory=dict)

    def tick(self, product: str, sequence: int | None, trade: int | None) -> Gap | None:
        """Note a tick; return what is wrong with its order, if anything."""
        last = self._last.get(product)
        if last is None:
            self._last[product] = _Last(sequence or 0, trade or 0)
            return None
        gap = None
        if sequence is not None:
            if sequence < last.sequence:
                return Gap.LATE
            last.sequence = sequence
        if trade is not None:
            if last.trade and trade > last.trade + 1:
                gap = Gap.BATCHED
            last.trade = max(last.trade, trade)
        return gap

    def heartbeat(self, product: str, last_trade: int | None) -> Gap | None:
        """Note a heartbeat; return `Gap.MISSED` if the trade that the one before named was never told.

        Args:
            product: whose it is.
            last_trade: its ``last_trade_id``, which is 0 on some products.
        """
        last = self._last.get(product)
        if last is None or not last_trade:
            return None  # the first tick is still to come
        gap = None
        if last.told > last.trade:
            gap = Gap.MISSED
            last.trade = last.told
        last.told = last_trade
        return gap

    def forget(self, product: str) -> None:
        """Note that the product is not asked for any more."""
        self._last.pop(product, None)


@define
class Wholeness:
    """Whether the feed is whole, for the log: a gap makes it not so, and a while without one makes it so.

    Args:
        calm: that while, seconds.
    """

    calm: float = 60.0
    _last_gap: float | None = None

    def gap(self, now: float) -> bool:
        """Note a gap; return whether it is news."""
        news = self._last_gap is None
        self._last_gap = now
        return news

    def mended(self, now: float) -> bool:
        """Return, once, whether the last gap is long enough ago."""
        if self._last_gap is None or now - self._last_gap < self.calm:
            return False
        self._last_gap = None
        return True
