"""The conversation with the Coinbase Exchange feed, message by message, without a connection."""

import json
from typing import Any

import pytest
from fake_coinbase import FakeCoinbase
from hypothesis import given, settings
from hypothesis import strategies as st

from flux.domains.crypto.coinbase.conversation import REFUSED_FOR, Conversation, Kind, Refusals
from flux.domains.crypto.coinbase.gaps import Gap, Gaps, Wholeness
from flux.domains.crypto.coinbase.messages import FeedError
from flux.domains.crypto.views import TICKER

PRODUCTS = ("BTC-USD", "ETH-USD", "SOL-USD", "XRP-USD")


def begun(limit: int = 2, refusals: Refusals | None = None, now: float = 0.0) -> Conversation:
    """Return a conversation that has asked for the first products."""
    return Conversation(PRODUCTS, limit, Refusals() if refusals is None else refusals, now)


def sent(conversation: Conversation) -> list[tuple[str, list[str]]]:
    """Take what is to be sent: kind and products of each request."""
    requests = [json.loads(text) for text in conversation.outbox]
    conversation.outbox.clear()
    return [(request["type"], request["product_ids"]) for request in requests]


def refused(product: str) -> str:
    """Return the exchange's refusal of a product."""
    reason = f"{product} is not a valid product"
    return json.dumps({"type": "error", "message": "Failed to subscribe", "reason": reason})


def confirmed(*products: str) -> str:
    """Return the exchange's confirmation."""
    channels = [{"name": name, "product_ids": products} for name in ("ticker", "heartbeat")]
    return json.dumps({"type": "subscriptions", "channels": channels})


def tick(product: str = "BTC-USD", **other: Any) -> str:
    """Return a tick."""
    return json.dumps(FakeCoinbase(port=1).ticker(product, **other))


def test_the_first_request_stands_ready_at_once() -> None:
    """The feed wants one within five seconds."""
    assert sent(begun()) == [("subscribe", ["BTC-USD", "ETH-USD"])]


def test_a_refusal_asks_again_for_all_that_is_not_confirmed() -> None:
    """The refused product took the whole request with it; the next candidate takes its place."""
    conversation = begun()
    sent(conversation)
    heard = conversation.take(refused("BTC-USD"), 1.0)
    assert (heard.kind, heard.note) == (Kind.REFUSAL, "BTC-USD")
    assert sent(conversation) == [("subscribe", ["ETH-USD", "SOL-USD"])]
    conversation.take(confirmed("ETH-USD", "SOL-USD"), 2.0)
    conversation.want(("DOGE-USD", "ETH-USD", "SOL-USD"), 3.0)
    assert sent(conversation) == [("unsubscribe", ["SOL-USD"]), ("subscribe", ["DOGE-USD"])]
    conversation.take(refused("DOGE-USD"), 4.0)
    assert sent(conversation) == [("subscribe", ["SOL-USD"])]
    assert conversation.products == ("ETH-USD", "SOL-USD")


def test_a_refusal_holds_for_an_hour_and_for_later_connections() -> None:
    """A product that was refused is asked for again when the exchange may list it by now."""
    refusals = Refusals()
    begun(refusals=refusals).take(refused("BTC-USD"), 5.0)
    assert begun(refusals=refusals, now=5.0 + REFUSED_FOR - 1).products == ("ETH-USD", "SOL-USD")
    assert begun(refusals=refusals, now=5.0 + REFUSED_FOR).products == ("BTC-USD", "ETH-USD")


def test_a_second_refusal_of_the_same_product_changes_nothing() -> None:
    """Two requests that named it may be under way."""
    conversation = begun()
    conversation.take(refused("BTC-USD"), 1.0)
    sent(conversation)
    assert conversation.take(refused("BTC-USD"), 1.1).kind is Kind.REFUSAL
    assert sent(conversation) == []


def test_when_all_are_refused_the_connection_is_of_no_use() -> None:
    """The text says why, and so does the next connection's beginning."""
    refusals = Refusals()
    conversation = begun(refusals=refusals)
    for product in PRODUCTS[:-1]:
        conversation.take(refused(product), 1.0)
    with pytest.raises(FeedError, match="none of the products"):
        conversation.take(refused(PRODUCTS[-1]), 1.0)
    with pytest.raises(FeedError, match="none of the products"):
        begun(refusals=refusals, now=2.0)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (confirmed("BTC-USD"), Kind.ANSWER),
        ('{"type":"heartbeat","product_id":"BTC-USD","last_trade_id":7,"sequence":1}', Kind.HEARTBEAT),
        ('{"type":"heartbeat"}', Kind.HEARTBEAT),
        ('{"type":"l2update","changes":[["buy","1","2"]]}', Kind.OTHER),
        ('{"type":"status","sequence":"not a number"}', Kind.OTHER),
        (tick("SOL-USD"), Kind.UNWANTED),
        (tick(product_id=None), Kind.MISSHAPEN),
        (tick(price="0"), Kind.MISSHAPEN),
        (tick(price="Infinity"), Kind.MISSHAPEN),
        (tick(price=None), Kind.MISSHAPEN),
        (tick(best_bid={"deep": 1}), Kind.MISSHAPEN),
        (tick(other=[{}] * 8), Kind.MISSHAPEN),
        ('{"type":"subscriptions","channels":"all"}', Kind.MISSHAPEN),
    ],
)  # fmt: skip
def test_every_message_is_of_one_kind_and_only_ticks_are_handed_on(text: str, kind: Kind) -> None:
    """A ticker that must not be relayed is no tick."""
    heard = begun().take(text, 1.0)
    assert heard.kind is kind
    assert not heard.data


@pytest.mark.parametrize(
    "text", ["", "x", "{", "1", "null", "[]", '{"a":1}', '{"type":1}', '{"type":"\\ud800"}']
)
def test_what_is_no_message_ends_the_connection(text: str) -> None:
    """Not JSON, or no object with a type."""
    with pytest.raises(FeedError):
        begun().take(text, 1.0)


FIELDS = ["product_id", "price", "sequence", "trade_id", "last_trade_id", "channels", "time", "reason"]

values = st.none() | st.integers() | st.text(max_size=20) | st.sampled_from(["BTC-USD", "1.5"])

messages = st.dictionaries(st.sampled_from(FIELDS), values | st.lists(values, max_size=2))


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["ticker", "heartbeat", "subscriptions", "error", "new"]), messages))
)
def test_whatever_comes_is_heard_or_ends_the_connection(
    conversation: list[tuple[str, dict[str, Any]]],
) -> None:
    """Nothing else is raised; what is handed on decodes as the topic's payload, and is UTF-8."""
    talk = begun()
    try:
        for now, (kind, fields) in enumerate(conversation):
            heard = talk.take(json.dumps({"type": kind, **fields}), float(now))
            if heard.data:
                value = b'{"status":"success","data":' + heard.data + b"}"
                assert TICKER.conflation_key(TICKER.decode(value)) == heard.product
    except FeedError:
        pass
    assert len(talk.outbox) <= 2 * len(PRODUCTS) + 1


def test_a_trade_that_a_heartbeat_told_of_must_have_come_by_the_next() -> None:
    """The tick may be under way at the first heartbeat; a loss is noticed once."""
    gaps = Gaps()
    assert gaps.heartbeat("BTC-USD", 9) is None  # before the first tick
    assert gaps.tick("BTC-USD", 100, 10) is None
    assert gaps.heartbeat("BTC-USD", 11) is None
    assert gaps.tick("BTC-USD", 120, 11) is None
    assert gaps.heartbeat("BTC-USD", 11) is None
    assert gaps.heartbeat("BTC-USD", 12) is None
    assert gaps.heartbeat("BTC-USD", 12) is Gap.MISSED
    assert gaps.heartbeat("BTC-USD", 12) is None
    assert gaps.heartbeat("BTC-USD", 0) is None
    assert gaps.heartbeat("BTC-USD", None) is None


def test_each_product_has_its_own_order() -> None:
    """Passed over, late, and forgotten."""
    gaps = Gaps()
    assert gaps.tick("BTC-USD", 100, 10) is None
    assert gaps.tick("ETH-USD", 5, 900) is None
    assert gaps.tick("BTC-USD", 150, 13) is Gap.BATCHED
    assert gaps.tick("BTC-USD", 120, 12) is Gap.LATE
    assert gaps.tick("BTC-USD", 151, 14) is None
    assert gaps.tick("BTC-USD", None, None) is None
    gaps.forget("BTC-USD")
    assert gaps.tick("BTC-USD", 1, 1) is None


def test_a_feed_is_whole_again_after_a_calm_minute() -> None:
    """One word at the first gap, one after the last."""
    whole = Wholeness()
    assert not whole.mended(0.0)
    assert whole.gap(1.0)
    assert not whole.gap(50.0)
    assert not whole.mended(109.0)
    assert whole.mended(110.0)
    assert not whole.mended(111.0)
    assert whole.gap(112.0)
