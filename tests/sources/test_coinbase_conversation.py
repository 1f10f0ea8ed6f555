"""The conversation with the Coinbase Exchange feed, message by message, without a connection."""

import json
from typing import Any

import pytest
from fake_coinbase import FakeCoinbase
from hypothesis import given, settings
from hypothesis import strategies as st

from flux.domains.crypto.coinbase.conversation import ANSWER_SECONDS, Conversation, Kind, Verdict
from flux.domains.crypto.coinbase.gaps import Gap, Gaps, Wholeness
from flux.domains.crypto.coinbase.messages import FeedError
from flux.domains.crypto.coinbase.refusals import GUESSED_FOR, GUESSED_LIMIT, REFUSED_FOR, Refusals
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


def refused(product: str, words: str = "is not a valid product") -> str:
    """Return the exchange's refusal of a product."""
    return error(f"{product} {words}")


def error(reason: str) -> str:
    """Return an error of the exchange's."""
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
    assert heard.kind is Kind.REFUSAL
    reason = "Failed to subscribe: BTC-USD is not a valid product"
    assert heard.verdict == Verdict(refused=("BTC-USD",), reason=reason)
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


@pytest.mark.parametrize("words", ["is delisted", "is not a valid product", "is in auction, sorry", ": no"])
def test_a_product_is_refused_in_whatever_words(words: str) -> None:
    """Its name in an error is enough; the others are asked for without it."""
    conversation = begun()
    sent(conversation)
    heard = conversation.take(refused("BTC-USD", words), 1.0)
    assert heard.verdict is not None
    assert heard.verdict.refused == ("BTC-USD",)
    assert sent(conversation) == [("subscribe", ["ETH-USD", "SOL-USD"])]


def test_words_that_may_be_about_the_moment_refuse_for_a_minute_and_then_for_longer() -> None:
    """What the exchange delisted is gone for an hour, anything else is tried again soon."""
    refusals = Refusals()
    now, pauses = 0.0, []
    for _ in range(6):
        begun(1, refusals, now).take(refused("BTC-USD", "is in auction"), now)
        pause = refusals.next_end(PRODUCTS, now) - now
        pauses.append(pause)
        now += pause
    assert pauses == [GUESSED_FOR, 120, 240, 480, GUESSED_LIMIT, GUESSED_LIMIT]
    begun(1, refusals, now).take(confirmed("BTC-USD"), now)
    begun(1, refusals, now).take(refused("BTC-USD", "is in auction"), now)
    assert refusals.next_end(PRODUCTS, now) == now + GUESSED_FOR


def test_several_errors_for_one_request_refuse_each_product() -> None:
    """Those that come for the requests between them change nothing."""
    conversation = begun(3)
    sent(conversation)
    conversation.take(refused("BTC-USD", "is delisted"), 1.0)
    conversation.take(refused("SOL-USD", "is delisted"), 1.0)
    assert conversation.take(refused("SOL-USD", "is delisted"), 1.1).verdict is None
    assert sent(conversation) == [
        ("subscribe", ["ETH-USD", "SOL-USD", "XRP-USD"]),
        ("subscribe", ["ETH-USD", "XRP-USD"]),
    ]


def test_one_error_may_name_several_products() -> None:
    """But one that names all that are not confirmed does not say which."""
    conversation = begun(3)
    sent(conversation)
    conversation.take(error("BTC-USD, SOL-USD are delisted"), 1.0)
    assert sent(conversation) == [("subscribe", ["ETH-USD", "XRP-USD"])]
    heard = conversation.take(error("cannot serve ETH-USD, XRP-USD"), 2.0)
    assert heard.verdict is not None
    assert heard.verdict.doubted == ("ETH-USD", "XRP-USD")
    assert sent(conversation) == [("subscribe", ["ETH-USD"])]


def test_an_error_that_names_no_product_has_each_asked_for_alone() -> None:
    """The next one waits for the answer; what is refused alone is refused, and its place is taken."""
    conversation = begun(3)
    sent(conversation)
    heard = conversation.take(error("internal error"), 1.0)
    assert heard.verdict is not None
    assert heard.verdict.doubted == ("BTC-USD", "ETH-USD", "SOL-USD")
    assert sent(conversation) == [("subscribe", ["BTC-USD"])]
    conversation.take(confirmed("BTC-USD"), 2.0)
    assert sent(conversation) == [("subscribe", ["ETH-USD"])]
    heard = conversation.take(error("internal error"), 3.0)
    assert heard.verdict is not None
    assert heard.verdict.refused == ("ETH-USD",)
    assert sent(conversation) == [("subscribe", ["XRP-USD"])]
    conversation.take(confirmed("BTC-USD", "XRP-USD"), 4.0)
    assert sent(conversation) == [("subscribe", ["SOL-USD"])]
    conversation.take(confirmed("BTC-USD", "XRP-USD", "SOL-USD"), 5.0)
    assert conversation.products == ("BTC-USD", "SOL-USD", "XRP-USD")
    assert sent(conversation) == []


def test_doubts_outlive_the_connection() -> None:
    """An exchange that closes behind an error does not get the same request again."""
    refusals = Refusals()
    begun(refusals=refusals).take(error("no"), 1.0)
    second = begun(refusals=refusals, now=2.0)
    assert sent(second) == [("subscribe", ["BTC-USD"])]
    second.take(error("no"), 2.0)
    third = begun(refusals=refusals, now=3.0)
    assert sent(third) == [("subscribe", ["SOL-USD"])]
    third.take(confirmed("SOL-USD"), 3.0)
    assert sent(third) == [("subscribe", ["ETH-USD"])]


def test_a_trouble_of_the_exchange_is_not_held_against_the_products() -> None:
    """Where all are refused without a word about why, all are asked for again with the next connection."""
    refusals = Refusals()
    conversation = begun(refusals=refusals)
    for _ in PRODUCTS:  # the first error is about two of them
        conversation.take(error("internal error"), 1.0)
    with pytest.raises(FeedError, match="none of the products"):
        conversation.take(error("internal error"), 1.0)
    after = begun(refusals=refusals, now=2.0)
    for products in (("BTC-USD",), ("BTC-USD", "ETH-USD")):
        after.take(confirmed(*products), 2.0)
    assert after.products == ("BTC-USD", "ETH-USD")


def test_an_error_about_what_is_confirmed_ends_the_connection() -> None:
    """A coin that is delisted while it is listened to is refused on the next one."""
    refusals = Refusals()
    for text in (refused("BTC-USD", "is delisted"), error("slow down")):
        conversation = begun(refusals=refusals)
        conversation.take(confirmed("BTC-USD", "ETH-USD"), 1.0)
        with pytest.raises(FeedError, match="refuses: Failed to subscribe: "):
            conversation.take(text, 2.0)
    begun(refusals=refusals, now=3.0).take(refused("BTC-USD", "is delisted"), 3.0)
    assert begun(refusals=refusals, now=4.0).products == ("ETH-USD", "SOL-USD")


def test_a_product_that_is_neither_confirmed_nor_refused_is_refused_in_the_end() -> None:
    """It is asked for alone after ten seconds, and ten seconds later another takes its place."""
    conversation = begun()
    conversation.take(confirmed("ETH-USD"), 1.0)
    sent(conversation)
    heard = conversation.take(tick("ETH-USD"), ANSWER_SECONDS)
    assert heard.product == "ETH-USD"
    assert heard.verdict == Verdict(refused=("BTC-USD",), reason="no answer within 10 s")
    assert sent(conversation) == [("subscribe", ["SOL-USD"])]
    conversation.take(tick("SOL-USD"), ANSWER_SECONDS + 1)
    assert conversation.take(tick("SOL-USD"), 3 * ANSWER_SECONDS).verdict is None


def test_a_silence_behind_an_empty_answer_is_not_asked_for_again() -> None:
    """The exchange confirms none of what it was asked for; one that never answered is asked the same."""
    refusals = Refusals()
    begun(refusals=refusals).silence(30.0)
    first = begun(refusals=refusals, now=30.0)
    assert sent(first) == [("subscribe", ["BTC-USD", "ETH-USD"])]
    first.take(confirmed(), 30.1)
    first.silence(60.0)
    second = begun(refusals=refusals, now=60.0)
    assert sent(second) == [("subscribe", ["BTC-USD"])]
    second.take(confirmed(), 60.1)
    second.silence(90.0)
    assert begun(refusals=refusals, now=90.0).products == ("SOL-USD",)


def test_a_refusal_that_is_over_is_tried_again_on_the_same_connection() -> None:
    """The product that stood in for it makes room; refused again, it comes back."""
    conversation = begun()
    conversation.take(refused("BTC-USD", "is in auction"), 0.0)
    conversation.take(confirmed("ETH-USD", "SOL-USD"), 1.0)
    sent(conversation)
    conversation.take(tick("ETH-USD"), GUESSED_FOR - 1)
    assert sent(conversation) == []
    conversation.take(tick("ETH-USD"), GUESSED_FOR)
    assert sent(conversation) == [("unsubscribe", ["SOL-USD"]), ("subscribe", ["BTC-USD"])]
    conversation.take(confirmed("ETH-USD"), GUESSED_FOR)
    conversation.take(refused("BTC-USD", "is in auction"), GUESSED_FOR)
    assert sent(conversation) == [("subscribe", ["SOL-USD"])]


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
    assert len(talk.outbox) <= 6 * len(PRODUCTS)


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
