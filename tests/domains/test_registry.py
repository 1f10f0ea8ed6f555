"""The registry: what the contract names is there, and domains that do not fit together are refused."""

from typing import Any

import msgspec
import pytest
from attrs import evolve

from flux.domains.crypto import CRYPTO
from flux.domains.domain import BFF, StreamFeed
from flux.domains.news import NEWS
from flux.domains.registry import ALL_TOPICS, DOMAINS, OWNERS, TOPICS, check, domain_named
from flux.domains.stock import STOCK
from flux.domains.weather import WEATHER
from flux.errors import LocalError

COMMANDS = {
    "weather.service.command.fetch",
    "crypto.service.command.topmovers.refresh",
    "crypto.service.command.topcoins.refresh",
    "news.service.command.refresh",
    "stock.service.command.topperformers.refresh",
}
EVENTS = {
    "weather.service.event.updated",
    "crypto.movers.event.updated",
    "crypto.topcoins.event.updated",
    "crypto.ticker.event.updated",
    "news.service.event.updated",
    "stock.service.event.updated",
}
REJECTED = {f"{name}.service.event.rejected" for name in ("weather", "crypto", "news", "stock")}


def feed_of(topic: str) -> Any:
    """Return the feed of that topic."""
    return next(feed for domain in DOMAINS for feed in domain.feeds if feed.topic.name == topic)


def test_the_topics_are_the_contracts_eleven_and_four_rejected() -> None:
    """No topic is missing, and none is there that nobody asked for."""
    assert {topic.name for topic in ALL_TOPICS} == COMMANDS | EVENTS | REJECTED
    assert len(ALL_TOPICS) == 15


def test_commands_go_from_the_bff_and_events_to_it() -> None:
    """Each topic's owner is the one that the contract names."""
    for name, topic in TOPICS.items():
        service = name.partition(".")[0]
        assert (topic.producer, topic.consumer) == ((BFF, service) if name in COMMANDS else (service, BFF))
        assert OWNERS[name].name == service


def test_topics_that_need_order_per_key_have_four_partitions() -> None:
    """Weather and ticker spread over partitions by key, everything else is one line."""
    spread = {name for name, topic in TOPICS.items() if topic.partitions == 4}
    assert spread == {
        "weather.service.command.fetch",
        "weather.service.event.updated",
        "crypto.ticker.event.updated",
    }
    assert {topic.partitions for topic in ALL_TOPICS} == {1, 4}


def test_rooms_and_events_are_the_contracts() -> None:
    """Every event topic is heard in the room and under the name that the contract gives."""
    heard = {}
    for domain in DOMAINS:
        for feed in domain.feeds:
            seat = feed.seat("New Delhi")
            heard[feed.topic.name] = (seat.room, seat.event)
    assert heard == {
        "weather.service.event.updated": ("weather.New Delhi", "weather.New Delhi.update"),
        "crypto.movers.event.updated": ("crypto.global", "cryptoTopMoversResponse"),
        "crypto.topcoins.event.updated": ("crypto.global", "cryptoTopCoinsResponse"),
        "crypto.ticker.event.updated": ("crypto.global", "cryptoTickerResponse"),
        "news.service.event.updated": ("news.global", "newsUpdate"),
        "stock.service.event.updated": ("stock.global", "stockTopPerformersResponse"),
    }


def test_only_movers_and_news_refresh_on_a_miss() -> None:
    """Top coins and stocks wait for the scheduler, as the contract says."""
    refreshes = {
        request.event: request.refresh.topic.name if request.refresh else None
        for domain in DOMAINS
        for request in domain.requests
    }
    assert refreshes == {
        "cryptoTopMoversRequest": "crypto.service.command.topmovers.refresh",
        "cryptoTopCoinsRequest": None,
        "stockTopPerformersRequest": None,
        "topNewsRequest": "news.service.command.refresh",
    }
    on_miss = {r.refresh.topic.name for d in DOMAINS for r in d.requests if r.refresh is not None}
    assert on_miss == {"crypto.service.command.topmovers.refresh", "news.service.command.refresh"}


def test_only_the_ticker_is_a_stream() -> None:
    """Snapshot semantics hold for all feeds but the ticker."""
    streams = {f.topic.name for d in DOMAINS for f in d.feeds if isinstance(f, StreamFeed)}
    assert streams == {"crypto.ticker.event.updated"}


@pytest.mark.parametrize(
    ("topic", "value"),
    [
        (
            "weather.service.event.updated",
            b'{"status": "success", "data": {"city": "Delhi", "temperature": 32, "humidity": 60}}',
        ),
        ("crypto.movers.event.updated", b'{"status":"success","data":{"topGainers":[],"topLosers":[]}}'),
        ("crypto.topcoins.event.updated", b'{"status":"success","data":{"topCoins":[]}}'),
        ("news.service.event.updated", b'{"status":"success","scope":"global","data":[]}'),
        ("stock.service.event.updated", b'{"status":"success","data":[]}'),
        (
            "crypto.ticker.event.updated",
            b'{"status":"success","data":{"product_id":"BTC-USD","price":"1.5"}}',
        ),
        ("crypto.ticker.event.updated", b'{"status":"success","data":{"product_id":"BTC-USD","price":1.5}}'),
        ("stock.service.event.updated", b'{"status":"error","message":"the source is away"}'),
    ],
)
def test_the_contracts_examples_decode(topic: str, value: bytes) -> None:
    """The contract's payloads are taken byte for byte, without key or headers."""
    payload = feed_of(topic).decode(value)
    assert payload.status in ("success", "error")


@pytest.mark.parametrize(
    ("topic", "value"),
    [
        ("weather.service.event.updated", b'{"status":"success","data":{"temperature":"warm","city":"x"}}'),
        ("crypto.movers.event.updated", b'{"status":"success","data":[]}'),
        ("crypto.ticker.event.updated", b'{"status":"success","data":{"price":"1.5"}}'),
        ("news.service.event.updated", b'{"status":"great","data":[]}'),
        ("stock.service.event.updated", b'{"status":"success","data":[{"price":"high"}]}'),
    ],
)
def test_values_of_another_shape_are_refused(topic: str, value: bytes) -> None:
    """A wrong type anywhere in a value is an error, not a surprise for the client."""
    with pytest.raises(msgspec.ValidationError):
        feed_of(topic).decode(value)


@pytest.mark.parametrize("value", [b"", b"x", b'{"status":"success","message":"\xff"}', b"[" * 10**5])
def test_whatever_is_not_json_is_one_kind_of_error(value: bytes) -> None:
    """Broken UTF-8 and endless nesting are decoding errors like any other."""
    for domain in DOMAINS:
        for feed in domain.feeds:
            with pytest.raises(msgspec.DecodeError):
                feed.decode(value)


def test_a_tick_nested_without_end_is_a_decoding_error() -> None:
    """Also in a field that is not looked at."""
    with pytest.raises(msgspec.DecodeError):
        feed_of("crypto.ticker.event.updated").decode(b'{"status":"success","more":' + b"[" * 10**5)


def test_a_weather_value_is_kept_under_its_city() -> None:
    """The data's city names the snapshot; without data the error's city does, then the record's key."""
    feed = feed_of("weather.service.event.updated")
    data = feed.decode(b'{"status":"success","data":{"city":" DELHI "}}')
    assert feed.key(data, "elsewhere") == "delhi"
    assert feed.key(feed.decode(b'{"status":"error","message":"x","city":"Paris"}'), None) == "paris"
    assert feed.key(feed.decode(b'{"status":"error","message":"x"}'), "oslo") == "oslo"
    assert feed.key(feed.decode(b'{"status":"error","message":"x"}'), None) is None


def test_news_has_its_scope_on_the_socket() -> None:
    """The socket payload of news says `scope`, which the Kafka value need not."""
    feed = feed_of("news.service.event.updated")
    assert feed.extras(feed.decode(b'{"status":"success","data":[]}')) == {"scope": "global"}


def test_ticks_are_conflated_per_product() -> None:
    """A later tick supersedes those of its product alone."""
    feed = feed_of("crypto.ticker.event.updated")
    tick = feed.decode(b'{"status":"success","data":{"product_id":"ETH-USD"}}')
    assert feed.conflation_key(tick) == "ETH-USD"
    assert feed.conflation_key(feed.decode(b'{"status":"error","message":"x"}')) == ""


def test_an_unknown_domain_is_an_error_that_lists_the_known() -> None:
    """Who asks for a domain by a wrong name is told the right ones."""
    assert domain_named("news") is NEWS
    with pytest.raises(LocalError, match="weather, crypto, news, stock"):
        domain_named("sports")


def sports(**changes: Any) -> Any:
    """Return the stock domain, made a fifth one that fits, but for the changes."""

    def topic(topic: Any) -> Any:
        renamed = {"name": topic.name.replace("stock", "sports")}
        renamed["producer"] = topic.producer.replace("stock", "sports")
        renamed["consumer"] = topic.consumer.replace("stock", "sports")
        return evolve(topic, **renamed)

    old = STOCK.feeds[0]
    feed = evolve(old, topic=topic(old.topic), room="sports.global", event="sportsResponse")
    feed = evolve(feed, **changes.pop("feed", {}))
    command = evolve(STOCK.commands[0], topic=topic(STOCK.commands[0].topic), answer=feed)
    command = evolve(command, **changes.pop("command", {}))
    request = evolve(STOCK.requests[0], event="sportsRequest", feed=feed)
    request = evolve(request, **changes.pop("request", {}))
    domain = evolve(
        STOCK,
        name="sports",
        feeds=(feed,),
        commands=(command,),
        requests=(request,),
        rejected=topic(STOCK.rejected),
    )
    return evolve(domain, **changes)


def test_a_fifth_domain_that_fits_is_taken() -> None:
    """A new domain needs nothing but its own names."""
    check((*DOMAINS, sports()))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"name": "stock"}, "domain name stock"),
        ({"rejected": STOCK.rejected}, "topic stock.service.event.rejected is declared twice"),
        ({"feed": {"room": "news.global"}}, "room news.global"),
        ({"feed": {"event": "newsUpdate"}}, "event newsUpdate"),
        ({"request": {"event": "newsUpdate"}}, "event newsUpdate"),
        ({"feed": {"room": "weather.global"}}, "could be a city's"),
        ({"feed": {"event": "weather.of.sports"}}, "could be a city's"),
        ({"feed": {"event": "sports.{city}.update"}}, "both be about a city"),
        ({"feed": {"ttl": 1.0}}, "stale before"),
        ({"command": {"answer": NEWS.feeds[0]}}, "not sports's"),
        ({"command": {"topic": evolve(NEWS.commands[0].topic, name="sports.x")}}, "from bff to sports"),
        ({"command": {"located": True}}, "both be about a city"),
        ({"request": {"feed": NEWS.feeds[0]}}, "must ask for a feed of sports"),
        ({"request": {"refresh": CRYPTO.commands[0]}}, "a command that is not sports's"),
        ({"rejected": evolve(WEATHER.rejected, name="sports.y")}, "from sports to bff"),
    ],
)
def test_a_domain_that_does_not_fit_is_refused(changes: dict[str, Any], complaint: str) -> None:
    """Every clash is found at import, with a text that names it."""
    with pytest.raises(LocalError, match=complaint):
        check((*DOMAINS, sports(**changes)))
