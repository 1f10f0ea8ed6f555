"""What is said with the Coinbase Exchange feed on one connection (pure; time is an argument, in seconds).

Messages go in, ticks come out, and what is to be sent stands in the outbox::

    subscribe(products) ->            <- subscriptions, ticker, heartbeat, ticker, ...
                                      <- error: "XYZ-USD is not a valid product", "XYZ-USD is delisted"
    subscribe(all that are not confirmed, without it, and the next candidate) ->
                                      <- error: "not now", which does not say about what
    subscribe(one) ->                 <- subscriptions
    subscribe(another) ->             <- error: so it was about this one
    unsubscribe(gone), subscribe(new) ->      the candidates have changed

So it ends with what the exchange has, however it refuses the rest: in whatever words, with one error for a
request or several, for all of the request or a part, or by saying nothing.
"""

import math
import re
from collections import deque
from enum import StrEnum

from attrs import evolve, frozen

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
from flux.domains.crypto.coinbase.refusals import Refusals
from flux.domains.sources.text import one_line

ANSWER_SECONDS = 10.0
"""Seconds after a request by which a product is confirmed (also by a tick or a heartbeat) or refused."""

MISSHAPEN_LIMIT = 10
"""Misshapen messages without a tick between them after which the connection is given up."""

_PRODUCT = re.compile(r"(?<![A-Z0-9-])[A-Z0-9]{1,16}-[A-Z0-9]{1,16}(?![A-Z0-9-])", re.IGNORECASE)

_CERTAIN = re.compile(r"not a valid product|delisted", re.IGNORECASE)
"""Words of a refusal that is about the product; any others may be about the moment."""


class Kind(StrEnum):
    """What a message was."""

    TICK = "tick"
    HEARTBEAT = "heartbeat"
    ANSWER = "answer"
    """The confirmation of a subscription."""
    REFUSAL = "refusal"
    """The refusal of a subscription."""
    UNWANTED = "unwanted"
    """A tick of a product that is not, or no longer, asked for."""
    MISSHAPEN = "misshapen"
    OTHER = "other"
    """Of a type that is not known."""


@frozen
class Verdict:
    """What follows from an error, or from no answer.

    Args:
        refused: products that are not asked for any more, for a while.
        doubted: products of which any may be refused: each is now asked for alone.
        reason: in the exchange's words, one line.
    """

    refused: tuple[str, ...] = ()
    doubted: tuple[str, ...] = ()
    reason: str = ""


@frozen
class Heard:
    """What a message says.

    Args:
        kind: what it was.
        product: of a tick to be relayed.
        data: of that tick: the exchange's own JSON object.
        gap: what was noticed of the product's order.
        note: for the log: what is misshapen.
        verdict: what follows for the products that are asked for.
    """

    kind: Kind
    product: str = ""
    data: bytes = b""
    gap: Gap | None = None
    note: str = ""
    verdict: Verdict | None = None


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
        self._ever_asked: set[str] = set()
        self._answered = False
        self._confirmed: set[str] = set()
        self._overdue = math.inf  # by then what was asked for is confirmed, or refused
        self._look = math.inf  # by then time alone has changed something
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
        heard = self._hear(text, now)
        if now < self._look:
            return heard
        late = self._unconfirmed() if now >= self._overdue else []
        if not late:
            self._adjust(now)
            return heard
        verdict = self._doubt(late, f"no answer within {ANSWER_SECONDS:g} s", now)
        return evolve(heard, verdict=heard.verdict or verdict)

    def silence(self, now: float) -> None:
        """Note that nothing came for so long that the connection is given up.

        Where the exchange had answered, it may have none of what it did not confirm: so the next connection
        does not ask for just the same.
        """
        waiting = self._unconfirmed() if self._answered else []
        self._refusals.suspect(waiting)
        if len(waiting) == 1:
            self._refusals.add(waiting[0], now, certain=False)

    def _hear(self, text: str, now: float) -> Heard:
        try:
            message = read_message(text)
            if message is None:
                return Heard(Kind.OTHER)
            if message.type == "ticker":
                return self._tick(message, text, now)
            if message.type == "heartbeat":
                product = message.product_id or ""
                self._confirm(product, now)
                return Heard(Kind.HEARTBEAT, gap=self._gaps.heartbeat(product, message.last_trade_id))
        except MisshapenError as error:
            self._misshapen += 1
            if self._misshapen >= MISSHAPEN_LIMIT:
                reason = f"{TITLE} sends messages in another shape than it documents: {error}"
                raise FeedError(reason) from None
            return Heard(Kind.MISSHAPEN, note=str(error))
        if message.type == "error":
            return self._error(message, now)
        channels = message.channels or []
        self._answer({p for c in channels if c.name == "ticker" for p in c.product_ids}, now)
        return Heard(Kind.ANSWER)

    def _tick(self, message: FeedMessage, text: str, now: float) -> Heard:
        product, data = read_tick(message, text)
        if product not in self._asked:
            return Heard(Kind.UNWANTED)
        self._confirm(product, now)
        self._misshapen = 0
        return Heard(Kind.TICK, product, data, self._gaps.tick(product, message.sequence, message.trade_id))

    def _answer(self, listed: set[str], now: float) -> None:
        """Take over what the exchange says that it sends."""
        self._answered, self._confirmed = True, listed
        for product in self._asked:
            if product in listed:
                self._refusals.clear(product)
        if self._overdue == math.inf and self._unconfirmed():  # what it sent before is not listed any more
            self._overdue = now + ANSWER_SECONDS
        self._adjust(now)

    def _confirm(self, product: str, now: float) -> None:
        """Note that the exchange sends of a product."""
        if product not in self._confirmed and product in self._asked:
            self._confirmed.add(product)
            self._refusals.clear(product)
            self._adjust(now)

    def _unconfirmed(self) -> list[str]:
        return [product for product in self._asked if product not in self._confirmed]

    def _error(self, message: FeedMessage, now: float) -> Heard:
        words = one_line(f"{message.message or ''}: {message.reason or ''}".strip(": "), 200) or ""
        named = {name.upper() for name in _PRODUCT.findall(words)} & self._ever_asked
        waiting = self._unconfirmed()
        blamed = named - self._confirmed
        if blamed:
            fresh = [
                product for product in sorted(blamed) if product in waiting or product not in self._refusals
            ]
            if not fresh:  # of two requests that named it, the second is refused, too
                return Heard(Kind.REFUSAL)
            if len(waiting) < 2 or not blamed.issuperset(waiting):  # else it does not say which of them
                certain = _CERTAIN.search(words) is not None
                return Heard(Kind.REFUSAL, verdict=self._refuse(fresh, words, now, certain=certain))
        elif named or not waiting:
            raise FeedError(f"{TITLE} refuses: {words or 'without a reason'}")
        return Heard(Kind.REFUSAL, verdict=self._doubt(waiting, words, now))

    def _doubt(self, waiting: list[str], reason: str, now: float) -> Verdict:
        """Take it that one of these is refused, and find out which."""
        if len(waiting) == 1:
            return self._refuse(waiting, reason, now, certain=False)
        self._refusals.suspect(waiting)
        self._begin_again(now)
        return Verdict(doubted=tuple(waiting), reason=reason)

    def _refuse(self, products: list[str], reason: str, now: float, *, certain: bool) -> Verdict:
        """Do without these."""
        for product in products:
            self._refusals.add(product, now, certain=certain)
            self._gaps.forget(product)
        self._begin_again(now)
        return Verdict(refused=tuple(products), reason=reason)

    def _begin_again(self, now: float) -> None:
        """Ask again for all that is not confirmed: the whole request may have been refused."""
        self._asked = [product for product in self._asked if product in self._confirmed]
        self._adjust(now)

    def _adjust(self, now: float) -> None:
        """Ask for what is wanted and was not asked for, and give up what is not wanted any more."""
        wanted = self._refusals.choose(self._candidates, self._limit, now) or self._asked
        if not wanted:
            self._refusals.forget_guesses()  # what holds for all is not about a product
            raise FeedError(f"{TITLE} knows none of the products that are asked for")
        gone = [product for product in self._asked if product not in wanted]
        asked = [product for product in wanted if product in self._asked]
        new = self._next_request([product for product in wanted if product not in asked], asked)
        if gone:
            self.outbox.append(unsubscribe(gone))
        if new:
            self.outbox.append(subscribe(new))
            self._overdue = now + ANSWER_SECONDS
        for product in gone:
            self._gaps.forget(product)
        self._confirmed.difference_update(gone)
        self._ever_asked.update(new)
        self._asked = [product for product in wanted if product in asked or product in new]
        if not self._unconfirmed():
            self._overdue = math.inf
        self._look = min(self._overdue, self._refusals.next_end(self._candidates, now))

    def _next_request(self, missing: list[str], asked: list[str]) -> list[str]:
        """Return which of the missing products to ask for now: a suspect alone, and when all is answered."""
        clean = [product for product in missing if not self._refusals.suspected(product)]
        if clean or not self._confirmed.issuperset(asked):
            return clean
        return missing[:1]
