"""Messages of the Coinbase Exchange feed: their documented shape, read in one pass (pure).

https://docs.cdp.coinbase.com/exchange/websocket-feed/channels, and ``.../overview`` for ``subscriptions`` and
``error``. Every message is a JSON object with a ``type``; types that are not known must be ignored.
"""

import json
import math
from collections.abc import Iterable

import msgspec

from flux.domains.crypto.contract import Decimal
from flux.errors import BrokenError

TITLE = "Coinbase Exchange"

CHANNELS = ("ticker", "heartbeat")

TICK_LIMIT = 4_096
"""Bytes of a tick; they have about 500."""

BRACKETS_LIMIT = 8
"""Objects and arrays in a tick, which is flat; so nothing in it can be nested deep."""

KNOWN_TYPES = frozenset({"ticker", "heartbeat", "subscriptions", "error"})


class FeedError(BrokenError):
    """The connection to the feed is of no use any more; the text is fit for people, without addresses.

    Attributes:
        reached: whether it may have been the exchange that failed; False where there was no way to it.
    """

    def __init__(self, message: str, *, reached: bool = True) -> None:
        super().__init__(message)
        self.reached = reached


class MisshapenError(Exception):
    """A message of a known type that is not as documented; the text names what."""


class Channel(msgspec.Struct):
    """A channel of ``subscriptions``."""

    name: str
    product_ids: list[str] = []


class FeedMessage(msgspec.Struct, gc=False):
    """Any message, as far as it is looked at: what `flux.domains.crypto.contract.Ticker` checks, and ids.

    A Struct, as one is made for each of thousands of ticks a second.
    """

    type: str
    product_id: str | None = None
    sequence: int | None = None
    trade_id: int | None = None
    last_trade_id: int | None = None
    price: Decimal = None
    open_24h: Decimal = None
    low_24h: Decimal = None
    high_24h: Decimal = None
    volume_24h: Decimal = None
    volume_30d: Decimal = None
    best_bid: Decimal = None
    best_ask: Decimal = None
    time: str | None = None
    channels: list[Channel] | None = None
    message: str | None = None
    reason: str | None = None


class _Typed(msgspec.Struct):
    type: str


_MESSAGE = msgspec.json.Decoder(FeedMessage)
_TYPED = msgspec.json.Decoder(_Typed)


def read_message(text: str) -> FeedMessage | None:
    """Decode a message; None is one of a type that is not known.

    Raises:
        MisshapenError: the type is known, but the message is not as documented.
        FeedError: it is not JSON, or not an object with a type.
    """
    try:
        message = _MESSAGE.decode(text)
    except msgspec.ValidationError as error:
        if _type(text) not in KNOWN_TYPES:
            return None
        raise MisshapenError(str(error)) from None
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise FeedError(f"{TITLE} sent something that is not JSON") from None
    return message if message.type in KNOWN_TYPES else None


def _type(text: str) -> str:
    try:
        return _TYPED.decode(text).type
    except msgspec.ValidationError:
        raise FeedError(f"{TITLE} sent a message without a type") from None


def read_tick(message: FeedMessage, text: str) -> tuple[str, bytes]:
    """Return a tick's product, and the exchange's own object as it came, UTF-8.

    Raises:
        MisshapenError: it must not be relayed.
    """
    if not message.product_id:
        raise MisshapenError("a ticker without product_id")
    try:
        price = float(message.price or "nan")
    except ValueError:
        price = math.nan
    if not 0 < price < math.inf:
        raise MisshapenError(f"a ticker of {message.product_id} without a price")
    data = text.encode()
    if len(data) > TICK_LIMIT or text.count("{") + text.count("[") > BRACKETS_LIMIT:
        raise MisshapenError(f"a ticker of {message.product_id} that is too large")
    return message.product_id, data


def subscribe(products: Iterable[str]) -> str:
    """Return the request for the ticks of some products; it adds to what was asked for before."""
    return _request("subscribe", products)


def unsubscribe(products: Iterable[str]) -> str:
    """Return the request for no more ticks of some products."""
    return _request("unsubscribe", products)


def _request(kind: str, products: Iterable[str]) -> str:
    return json.dumps({"type": kind, "product_ids": list(products), "channels": list(CHANNELS)})
