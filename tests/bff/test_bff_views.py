"""Views: records become states, ticks and rejections, or poison."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flux.bff.strict_json import PoisonError
from flux.bff.views import MESSAGE_LIMIT, State, people_text, read_rejection, read_state, read_tick
from flux.domains.domain import SnapshotFeed, StreamFeed
from flux.domains.registry import DOMAINS, domain_named
from flux.messages import Headers, Received

NOW = datetime(2026, 2, 1, 12, 0, tzinfo=UTC)
KAFKA = datetime(2026, 2, 1, 11, 0, tzinfo=UTC)
FEEDS = {feed.topic.name: feed for domain in DOMAINS for feed in domain.feeds}
WEATHER, NEWS = "weather.service.event.updated", "news.service.event.updated"
TICKER = FEEDS["crypto.ticker.event.updated"]
COMMANDS = {domain.name: {c.topic.name: c for c in domain.commands} for domain in DOMAINS}
FETCH, MOVERS_REFRESH = "weather.service.command.fetch", "crypto.service.command.topmovers.refresh"


def received(value: bytes | None, *, key: str | None = None, **headers: str) -> Received:
    """A record with that value, key and headers."""
    pairs: Headers = tuple((name, text.encode()) for name, text in headers.items())
    key_bytes = None if key is None else key.encode()
    return Received("t", 2, 5, int(KAFKA.timestamp() * 1000), value, key_bytes, pairs)


def state(topic: str, value: Any, **kwargs: Any) -> State:
    """Read a state."""
    feed = FEEDS[topic]
    assert isinstance(feed, SnapshotFeed)
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return read_state(feed, received(raw, **kwargs), now=NOW, skew=timedelta(minutes=5))


def payload(topic: str, value: Any, **kwargs: Any) -> Any:
    """Read a state's socket payload."""
    return json.loads(state(topic, value, **kwargs).payload)


def test_full_event_goes_out_as_it_came() -> None:
    """Nothing is added to a full event, and its own instant is its version."""
    data = {"city": "Delhi", "temperature": 32}
    value = {"status": "success", "data": data, "source": "s", "timestamp": "2026-02-01T10:00:00Z"}
    assert payload(WEATHER, value) == value
    read = state(WEATHER, value, key="elsewhere")
    assert (read.key, read.status) == ("delhi", "success")
    assert (read.version.time, read.version.offset) == (datetime(2026, 2, 1, 10, tzinfo=UTC), 5)


def test_contract_example_is_filled() -> None:
    """Source and timestamp come from the headers where the payload has none, else from Kafka."""
    value = {"status": "success", "data": {"city": "Delhi", "temperature": 32, "humidity": 60}}
    assert payload(WEATHER, value) == {**value, "source": "unknown", "timestamp": "2026-02-01T11:00:00.000Z"}
    filled = payload(WEATHER, value, ce_source="/flux/weather", ce_time="2026-02-01T10:30:00Z")
    assert (filled["source"], filled["timestamp"]) == ("/flux/weather", "2026-02-01T10:30:00.000Z")


def test_fields_of_a_newer_service_pass() -> None:
    """What a newer service adds to `data` reaches the clients, to the last digit."""
    raw = b'{"status":"success","data":{"city":"Delhi", "uvIndex": 1.50, "moon": null}}'
    assert b'"data":{"city":"Delhi", "uvIndex": 1.50, "moon": null}' in state(WEATHER, raw).payload


def test_news_has_its_scope() -> None:
    """A feed's extras are in the payload, whatever the value says."""
    assert payload(NEWS, {"status": "success", "data": []})["scope"] == "global"
    assert payload(NEWS, {"status": "success", "scope": "x", "data": []})["scope"] == "global"
    assert payload(NEWS, {"status": "error", "message": "m"})["scope"] == "global"


def test_error_event() -> None:
    """An error carries its message and its city, and no data; without a message there is a general one."""
    error = payload(
        WEATHER, {"status": "error", "message": "the source\nis ill", "city": "Delhi", "data": None}
    )
    assert error.pop("timestamp")
    assert error == {"status": "error", "message": "the source is ill", "city": "Delhi", "source": "unknown"}
    assert state(WEATHER, {"status": "error"}, key="delhi").key == "delhi"
    assert payload(NEWS, {"status": "error"})["message"] == "news data could not be refreshed"


def test_unreadable_timestamp_is_replaced() -> None:
    """Clients get an instant that they can read."""
    value = {"status": "success", "data": [], "timestamp": "yesterday"}
    assert payload(NEWS, value)["timestamp"] == "2026-02-01T11:00:00.000Z"


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"x",
        b"[]",
        b"null",
        b'{"status":"success"',
        b'{"status":"fine","data":{"city":"Delhi"}}',
        b'{"data":{"city":"Delhi"}}',
        b'{"status":"success"}',
        b'{"status":"success","data":null}',
        b'{"status":"success","data":{"temperature":1}}',
        b'{"status":"success","data":{"city":"Delhi","temperature":"hot"}}',
        b'{"status":"success","data":{"city":"Delhi","x":"\xff"}}',
        b'{"status":"success","data":{"city":"Delhi","x":NaN}}',
        b'{"status":"success","data":{"city":"Delhi","x":' + b"[" * 70 + b"]" * 70 + b"}}",
        b'{"status":"error"}',
    ],
)
def test_poison_states(value: bytes) -> None:
    """What makes no sense is poison and nothing else."""
    with pytest.raises(PoisonError):
        state(WEATHER, value)


def test_tick_is_relayed_whole() -> None:
    """The bytes are those of Kafka; the product is what conflates."""
    assert isinstance(TICKER, StreamFeed)
    raw = b'{ "status":"success","data":{"product_id":"BTC-USD","price":"1.10"} }'
    tick = read_tick(TICKER, raw)
    assert bytes(tick.payload) == raw
    assert tick.key == "BTC-USD"


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"{",
        b'{"status":"success","data":{}}',
        b'{"status":"success","data":{"product_id":"X","z":"\xff"}}',
        b'{"status":"success","data":{"product_id":"X","z":"\x01"}}',
        b'{"status":"success","data":{"product_id":"X","z":' + b"[" * 63 + b"]" * 63 + b"}}",
        b'{"status":"success","data":{"product_id":"X"}} {}',
    ],
)
def test_poison_ticks(value: bytes | None) -> None:
    """What could hurt a browser is not relayed."""
    assert isinstance(TICKER, StreamFeed)
    with pytest.raises(PoisonError):
        read_tick(TICKER, value)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_poison(value: bytes) -> None:
    """Whatever stands in a topic: a reading or `PoisonError`, nothing else."""
    for feed in FEEDS.values():
        try:
            if isinstance(feed, SnapshotFeed):
                read_state(feed, received(value), now=NOW, skew=timedelta(minutes=5))
            elif isinstance(feed, StreamFeed):
                read_tick(feed, value)
        except PoisonError:
            continue


def rejection(domain: str, value: bytes | None, **kwargs: Any) -> tuple[str, str, str]:
    """Read a rejection: topic, key, message."""
    read = read_rejection(COMMANDS[domain], received(value, **kwargs))
    return read.command.topic.name, read.key, read.message


def test_rejection_names_city_and_reason() -> None:
    """The city is that of the original command, else the record's key."""
    value = json.dumps({"data": {"city": " Delhi"}}).encode()
    facts = {"flux_topic": FETCH, "flux_reason": "no such city"}
    assert rejection("weather", value, key="x", **facts) == (FETCH, "delhi", "no such city")
    for broken in (None, b"\xff", b"{", b"[]", b'{"data":7}', b'{"data":{"city":7}}', b"[" * 9999):
        assert rejection("weather", broken, key="paris", **facts) == (FETCH, "paris", "no such city")


def test_rejection_of_a_refresh() -> None:
    """A rejected refresh is told under the domain's key; a missing reason has a general one."""
    topic, key, message = rejection("crypto", None, flux_topic=MOVERS_REFRESH)
    assert (topic, key) == (MOVERS_REFRESH, "crypto")
    assert message


@pytest.mark.parametrize("topic", [None, "", "unknown", MOVERS_REFRESH, "x" * 5000])
def test_rejection_of_a_foreign_command_is_poison(topic: str | None) -> None:
    """A domain rejects its own commands only."""
    headers = {} if topic is None else {"flux_topic": topic}
    with pytest.raises(PoisonError):
        rejection("weather", b"{}", key="delhi", **headers)


def test_rejection_of_no_city_is_poison() -> None:
    """Without a city nobody can be told."""
    with pytest.raises(PoisonError, match="city"):
        rejection("weather", b"{}", flux_topic=FETCH)


@given(st.text())
def test_text_for_people_is_bounded_and_encodable(text: str) -> None:
    """One line, bounded, UTF-8."""
    clean = people_text(text)
    assert len(clean) <= MESSAGE_LIMIT
    assert clean.encode().decode().splitlines() in ([], [clean])


def test_long_text_is_cut_visibly() -> None:
    """A cut is seen as one."""
    assert people_text("x" * 5000) == "x" * (MESSAGE_LIMIT - 1) + "…"
    assert people_text("x" * MESSAGE_LIMIT) == "x" * MESSAGE_LIMIT


def test_domain_names_are_those_of_the_registry() -> None:
    """The parametrised domains exist."""
    assert domain_named("weather").commands[0].topic.name == FETCH
