"""What is said with the Coinbase Exchange feed on one connection (pure; time is an argument, in seconds).

Messages go in, ticks come out, and what is to be sent stands in the outbox::

    subscribe(products) ->            <- subscriptions, ticker, heartbeat, ticker, ...
                                      <- error: "XYZ-USD is not a valid product"
    subscribe(all that are not confirmed, without it, and the next candidate) ->
    unsubscribe(gone), subscribe(new) ->      the candidates have changed
"""

import math
import re
from collections import deque
from collections.abc import Iterable
from enum import StrEnum

from attrs import define, field, frozen

from flux.domains.crypto.coinbase.gaps import Gap, Gaps
from flux.domains.crypto.coinbase.messages import (
    TITLE,
    FeedError,
    FeedMessage,
    MisshapenError,
    read_message,
    read_tick,
    subscribe,
    unsubscribe,
)

REFUSED_FOR = 3_600.0
"""Seconds for which a product that the exchange does not know is not asked for; it may list it later."""

MISSHAPEN_LIMIT = 10
"""Misshapen messages without a tick between them after which the connection is given up."""

_NOT_VALID = re.compile(r"([A-Z0-9]{1,16}-[A-Z0-9]{1,16}) is not a valid product")


class Kind(StrEnum):
    """What a message was."""

    TICK = "tick"
    HEARTBEAT = "heartbeat"
    ANSWER = "answer"
    """The confirmation of a subscription."""
    REFUSAL = "refusal"
    """The refusal of a product."""
    UNWANTED = "unwanted"
    """A tick of a product that is not, or no longer, asked for."""
    MISSHAPEN = "misshapen"
    OTHER = "other"
    """Of a type that is not known."""


@frozen
class Heard:
    """What a message says.

    Args:
        kind: what it was.
        product: of a tick to be relayed.
        data: of that tick: the exchange's own JSON object.
        gap: what was noticed of the product's order.
        note: for the log: which product is refused and why, or what is misshapen.
    """

    kind: Kind
    product: str = ""
    data: bytes = b""
    gap: Gap | None = None
    note: str = ""


@define
class Refusals:
    """Products that the exchange does not know; outlives a connection."""

    _until: dict[str, float] = field(factory=dict)

    def add(self, product: str, now: float) -> None:
        """Note a refusal."""
        self._until[product] = now + REFUSED_FOR

    def __contains__(self, product: str) -> bool:
        return product in self._until

    def choose(self, candidates: Iterable[str], limit: int, now: float) -> list[str]:
        """Return the first of the candidates that are not refused."""
        chosen = [product for product in candidates if self._until.get(product, -math.inf) <= now]
        return chosen[:limit]


class Conversation:
    """One connection's.

    Args:
        candidates: products, the most wanted first.
        limit: how many of them are asked for at a time.
        refusals: of earlier connections, and to be added to.
        now: when the connection was opened; the feed wants a subscription within 5 s of it.

    Attributes:
        outbox: what is to be sent, in order.

    Raises:
        FeedError: the exchange knows none of the products.
    """

    def __init__(self, candidates: tuple[str, ...], limit: int, refusals: Refusals, now: float) -> None:
        self.outbox: deque[str] = deque()
        self._candidates = candidates
        self._limit = limit
        self._refusals = refusals
        self._asked: list[str] = []
        self._confirmed: frozenset[str] = frozenset()
        self._gaps = Gaps()
        self._misshapen = 0
        self._adjust(now)

    @property
    def products(self) -> tuple[str, ...]:
        """What is asked for now."""
        return tuple(self._asked)

    def want(self, candidates: tuple[str, ...], now: float) -> None:
        """Take over new candidates; the difference is asked for, if the exchange knows any of them."""
        self._candidates = candidates
        if self._refusals.choose(candidates, self._limit, now):
            self._adjust(now)

    def take(self, text: str, now: float) -> Heard:
        """Take a message.

        Raises:
            FeedError: the connection is of no use any more.
        """
        try:
            message = read_message(text)
            if message is None:
                return Heard(Kind.OTHER)
            if message.type == "ticker":
                return self._tick(message, text)
            if message.type == "heartbeat":
                gap = self._gaps.heartbeat(message.product_id or "", message.last_trade_id)
                return Heard(Kind.HEARTBEAT, gap=gap)
        except MisshapenError as error:
            self._misshapen += 1
            if self._misshapen >= MISSHAPEN_LIMIT:
                reason = f"{TITLE} sends messages in another shape than it documents: {error}"
                raise FeedError(reason) from None
            return Heard(Kind.MISSHAPEN, note=str(error))
        if message.type == "error":
            return self._error(message, now)
        channels = message.channels or []
        self._confirmed = frozenset(p for c in channels if c.name == "ticker" for p in c.product_ids)
        return Heard(Kind.ANSWER)

    def _tick(self, message: FeedMessage, text: str) -> Heard:
        product, data = read_tick(message, text)
        if product not in self._asked:
            return Heard(Kind.UNWANTED)
        self._misshapen = 0
        return Heard(Kind.TICK, product, data, self._gaps.tick(product, message.sequence, message.trade_id))

    def _error(self, message: FeedMessage, now: float) -> Heard:
        words = f"{message.message or ''}: {message.reason or ''}".strip(": ")
        found = _NOT_VALID.search(words)
        product = found.group(1) if found else ""
        if product in self._asked:
            # The whole request was refused with it, so what is not confirmed yet is asked for again.
            self._refusals.add(product, now)
            self._asked = [p for p in self._asked if p != product and p in self._confirmed]
            self._gaps.forget(product)
            self._adjust(now)
        elif product not in self._refusals:  # of two requests that named it, the second is refused, too
            raise FeedError(f"{TITLE} refuses: {_plain(words) or 'without a reason'}")
        return Heard(Kind.REFUSAL, note=product)

    def _adjust(self, now: float) -> None:
        """Ask for what is wanted and was not asked for, and give up what is not wanted any more."""
        wanted = self._refusals.choose(self._candidates, self._limit, now)
        if not wanted:
            raise FeedError(f"{TITLE} knows none of the products that are asked for")
        gone = [product for product in self._asked if product not in wanted]
        new = [product for product in wanted if product not in self._asked]
        if gone:
            self.outbox.append(unsubscribe(gone))
        if new:
            self.outbox.append(subscribe(new))
        for product in gone:
            self._gaps.forget(product)
        self._asked = wanted


def _plain(text: str) -> str:
    """Return a text of the exchange's as one line, without control characters, cut at 200."""
    return "".join(sign for sign in " ".join(text.split()) if sign.isprintable())[:200]
