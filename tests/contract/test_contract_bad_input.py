"""Contract, bad input of each kind: the defined error, counted and logged, and nobody else disturbed."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from driver import PYTHON, Client, Driver
from kafka_watch import COMMANDS, EVENTS, FETCH, MOVERS, REJECTED, TICKER, WEATHER
from scenario import (
    EXAMPLE_SNAPSHOTS,
    MOVERS_RESPONSE,
    TICKER_RESPONSE,
    fence,
    is_error,
    new_city,
    settle,
    snapshot_fact,
    speaks_of,
    ticker_fact,
    weather_event,
    weather_fact,
)
from systems import System

ANSWERS = {
    "cryptoTopMoversRequest": "cryptoTopMoversResponse",
    "cryptoTopCoinsRequest": "cryptoTopCoinsResponse",
    "stockTopPerformersRequest": "stockTopPerformersResponse",
    "topNewsRequest": "newsUpdate",
}

BAD_REQUESTS, UNKNOWN_EVENTS = "flux_bff_bad_requests_total", "flux_bff_unknown_events_total"

UNKNOWN = "weather.unknown.update"
NOWHERE: dict[str, Any] = {
    "null": None,
    "array": [],
    "nested array": [[["x"]]],
    "text": "Delhi",
    "number": 7,
    "empty object": {},
    "city null": {"city": None},
    "city number": {"city": 5},
    "city object": {"city": {"city": "Delhi"}},
    "city empty": {"city": ""},
    "city blank": {"city": "   "},
    "city too long": {"city": "x" * 101},
    "city of 900 kB": {"city": "x" * 900_000},
    "city with a newline": {"city": "Delhi\nHeader: x"},
    "city with a NUL": {"city": "Del\u0000hi"},
    "city with an escape": {"city": "\u001b[31mDelhi"},
}
BAD_PLACES: dict[str, dict[str, Any]] = {
    "lat NaN": {"lat": "NaN", "lon": "1"},
    "lat infinite": {"lat": "Infinity", "lon": "1"},
    "lat too high": {"lat": "90.01", "lon": "1"},
    "lon too low": {"lat": "1", "lon": -180.5},
    "lat word": {"lat": "north", "lon": "1"},
    "lat object": {"lat": {}, "lon": "1"},
    "lat boolean": {"lat": True, "lon": "1"},
    "lat alone": {"lat": "1"},
    "lat endless": {"lat": "1" * 5000, "lon": "1"},
    "region number": {"region": 5},
    "country too long": {"country": "x" * 101},
}


async def disturbed_nobody(system: System, bystander: Client, city: str) -> None:
    """Assert that another client is still there and served."""
    place = bystander.mark()
    word = new_city()
    await system.watch.produce(WEATHER, weather_fact(city, 1.0), key=city)
    await system.watch.produce(MOVERS, snapshot_fact(MOVERS, word))
    await bystander.event(weather_event(city), lambda p: p["status"] == "success", after=place)
    await bystander.event(MOVERS_RESPONSE, speaks_of(word), after=place)
    assert not [a for a in bystander.log if a.kind == "disconnect"]


async def bystanding(system: System, driver: Driver) -> tuple[Client, str]:
    """Return a client that sits in every room, and its city."""
    city = new_city()
    client = await driver.open(system.url, transports=["websocket"])
    await settle(client, city)
    return client, city


@asynccontextmanager
async def one_complaint(system: System, client: Client, event: str) -> AsyncIterator[None]:
    """Assert that what happens within is counted once, and logged once."""
    before, counted = system.bff.mark(), system.bff.counted(BAD_REQUESTS, event=event)
    yield
    assert system.bff.counted(BAD_REQUESTS, event=event) == counted + 1
    lines = [line for line in system.bff.log(after=before) if client.sid in line.values()]
    assert [line.get("client_event") for line in lines] == [event], lines


async def commands(system: System) -> int:
    """Return how many commands are on Kafka now."""
    await system.watch.caught_up()
    return len([r for r in system.watch.records if r.topic in COMMANDS])


@pytest.mark.parametrize("payload", NOWHERE.values(), ids=NOWHERE)
async def test_location_without_a_valid_city(alone: System, driver: Driver, payload: Any) -> None:
    """It is answered on `weather.unknown.update` and in the acknowledgement; nothing goes to Kafka."""
    bystander, home = await bystanding(alone, driver)
    before = await commands(alone)
    client = await driver.open(alone.url, transports=["websocket"])
    async with one_complaint(alone, client, "userLocationUpdate"):
        (acknowledged,) = await client.call("userLocationUpdate", payload)
    assert is_error(acknowledged)
    assert await client.event(UNKNOWN) == acknowledged
    assert await commands(alone) == before
    await disturbed_nobody(alone, bystander, home)
    assert client.payloads(MOVERS_RESPONSE) == []  # it joined nothing


@pytest.mark.parametrize("fields", BAD_PLACES.values(), ids=BAD_PLACES)
async def test_location_with_a_valid_city_and_bad_fields(
    alone: System, client: Client, fields: dict[str, Any]
) -> None:
    """It is answered on the city's own event and in the acknowledgement; nothing goes to Kafka."""
    city = new_city()
    async with one_complaint(alone, client, "userLocationUpdate"):
        (acknowledged,) = await client.call("userLocationUpdate", {"city": city, **fields})
    assert is_error(acknowledged)
    assert await client.event(weather_event(city)) == acknowledged
    await alone.watch.caught_up()
    assert not alone.watch.seen(FETCH, lambda r: city.encode() in (r.value or b""))
    assert not client.events(UNKNOWN)


@pytest.mark.parametrize("args", [(), ({"city": "Nowhere"}, "id", "more")], ids=["none", "three"])
async def test_location_with_a_wrong_count_of_arguments(
    alone: System, client: Client, args: tuple[Any, ...]
) -> None:
    """Too few or too many arguments are an error, and publish nothing."""
    before = await commands(alone)
    async with one_complaint(alone, client, "userLocationUpdate"):
        (acknowledged,) = await client.call("userLocationUpdate", *args)
    assert is_error(acknowledged)
    assert await commands(alone) == before


@pytest.mark.parametrize("event", ANSWERS)
async def test_request_with_arguments(alone: System, driver: Driver, event: str) -> None:
    """A request takes none: the error comes on its event and in the acknowledgement, nothing is joined."""
    bystander, home = await bystanding(alone, driver)
    before = await commands(alone)
    client = await driver.open(alone.url, transports=["websocket"])
    async with one_complaint(alone, client, event):
        (acknowledged,) = await client.call(event, {"limit": 5})
    assert is_error(acknowledged)
    assert client.payloads(ANSWERS[event]) == [acknowledged]
    assert await commands(alone) == before
    await disturbed_nobody(alone, bystander, home)
    await fence(client)
    assert client.payloads(ANSWERS[event]) == [acknowledged]


async def test_get_user_id_with_arguments(alone: System, client: Client) -> None:
    """`getUserId` takes none either."""
    async with one_complaint(alone, client, "getUserId"):
        (acknowledged,) = await client.call("getUserId", "x")
    assert is_error(acknowledged)


@pytest.mark.parametrize(
    "event", ["noSuchEvent", "weather.Delhi.update", "cryptoTickerResponse", "x" * 2000, "💥"]
)
async def test_unknown_event(alone: System, driver: Driver, event: str) -> None:
    """What the contract does not know is answered by an error in the acknowledgement, and ends nothing."""
    bystander, home = await bystanding(alone, driver)
    client = await driver.open(alone.url, transports=["websocket"])
    counted = alone.bff.counted(UNKNOWN_EVENTS)
    for _ in range(2):
        (acknowledged,) = await client.call(event, {"a": 1})
        assert is_error(acknowledged)
    assert alone.bff.counted(UNKNOWN_EVENTS) == counted + 2
    logged = [line for line in alone.bff.log() if str(line.get("client_event", "-"))[:30] == event[:30]]
    assert len(logged) == 1, logged
    await disturbed_nobody(alone, bystander, home)
    assert await client.call("getUserId")


async def test_message_beyond_the_limit_costs_its_own_connection_alone(alone: System, driver: Driver) -> None:
    """A city of more than a megabyte closes the connection that sent it; nobody else is disturbed."""
    bystander, home = await bystanding(alone, driver)
    before = await commands(alone)
    client = await driver.open(alone.url, transports=["websocket"], reconnection=False)
    counted = alone.bff.counted("flux_websocket_failures_total", code="1009")
    await client.emit("userLocationUpdate", {"city": "x" * 1_100_000})
    await client.wait("disconnect")
    assert alone.bff.counted("flux_websocket_failures_total", code="1009") == counted + 1
    assert await commands(alone) == before
    await disturbed_nobody(alone, bystander, home)


@pytest.mark.parametrize(
    "client_kind", [PYTHON], indirect=True
)  # JavaScript's JSON has no NaN; it sends null
async def test_nan_on_the_wire_costs_its_own_connection_at_most(alone: System, driver: Driver) -> None:
    """`NaN` is no JSON: python-socketio sends it all the same, and only its sender can be hurt."""
    bystander, home = await bystanding(alone, driver)
    client = await driver.open(alone.url, transports=["websocket"], reconnection=False)
    await client.emit("userLocationUpdate", {"city": new_city(), "lat": float("nan"), "lon": 1})
    await client.wait("disconnect")
    await disturbed_nobody(alone, bystander, home)


DEEP = b'{"status":"success","data":' + b"[" * 5000 + b"]" * 5000 + b"}"
POISON: dict[str, bytes | None] = {
    "tombstone": None,
    "empty": b"",
    "no JSON": b"\x00\x01 not json",
    "half": b'{"status": "success", "data": {',
    "bad UTF-8": b'{"status": "success", "source": "\xff\xfe", "data": []}',
    "array": b"[]",
    "text": b'"success"',
    "no status": b'{"data": {}}',
    "unknown status": b'{"status": "splendid", "data": {}}',
    "data of a wrong kind": b'{"status": "success", "data": 5}',
    "deep": DEEP,
    "NaN": b'{"status": "success", "data": NaN}',
}
AWAITED = {WEATHER: None, TICKER: TICKER_RESPONSE} | {
    topic: e for e, (topic, _, _) in EXAMPLE_SNAPSHOTS.items()
}


@pytest.mark.parametrize("topic", EVENTS)
async def test_poison_on_an_event_topic(alone: System, driver: Driver, topic: str) -> None:
    """Poison is skipped, counted, and logged once with its position; the next good event arrives."""
    client, city = await bystanding(alone, driver)
    await fence(client)
    place, before = client.mark(), alone.bff.mark()
    counted = poison_count(alone, topic)
    poison = [await alone.watch.produce(topic, value, key=city, partition=0) for value in POISON.values()]
    good = ticker_fact(city, "1") if topic == TICKER else snapshot_fact(topic, city)
    await alone.watch.produce(topic, good, key=city, partition=0)
    await client.event(AWAITED[topic] or weather_event(city), speaks_of(city), after=place)
    arrived = [a for a in client.log[place:] if a.kind == "event"]
    assert len(arrived) == 1, arrived
    for record in poison:
        position = {"topic": topic, "partition": 0, "offset": record.offset}
        lines = [line for line in alone.bff.log(after=before) if position.items() <= line.items()]
        # A topic's log lines are bounded, 20 at once; the second client's turn may find them used up.
        assert len(lines) == 1 or (driver.process.kind == PYTHON and not lines), lines
    assert poison_count(alone, topic) == counted + len(POISON)
    assert not [line for line in alone.bff.log(after=before) if "exception" in line]


def poison_count(system: System, topic: str) -> float:
    """Return how many poisonous records of a topic the BFF has counted."""
    return system.bff.counted("flux_bff_poison_events_total", topic=topic)


@pytest.mark.parametrize("topic", REJECTED)
async def test_poison_on_a_rejected_topic(alone: System, driver: Driver, topic: str) -> None:
    """A rejection of no known command, or of another domain's, is skipped and disturbs nobody."""
    bystander, home = await bystanding(alone, driver)
    await fence(bystander)
    place = bystander.mark()
    foreign = "news.service.command.refresh" if not topic.startswith("news") else FETCH
    counted = poison_count(alone, topic)
    for value, headers in [
        (None, {}),
        (b"\xff\xfe", {}),
        (b"{}", {"flux_topic": "no.such.topic", "flux_reason": "x"}),
        (b"{}", {"flux_topic": foreign, "flux_reason": "x"}),
        (b"\xff", {"flux_topic": b"\xff\xfe", "flux_reason": b"\xff"}),
    ]:
        await alone.watch.produce(topic, value, headers=headers)
    await disturbed_nobody(alone, bystander, home)
    assert not [a for a in bystander.log[place:] if a.kind == "event" and is_error(a.payload)]
    await alone.bff.reaches(counted + 5, "flux_bff_poison_events_total", topic=topic)
    assert poison_count(alone, topic) == counted + 5


async def test_events_of_unknown_extra_fields_are_taken(alone: System, client: Client) -> None:
    """Extra fields are no poison: what a later version adds does not hurt this one."""
    city = new_city()
    await settle(client, city)
    fact = weather_fact(city, 2.0) | {"version": 9, "more": {"a": [1]}}
    fact["data"] |= {"uvIndex": 3}
    await alone.watch.produce(WEATHER, json.dumps(fact).encode(), key=city)
    assert (await client.event(weather_event(city), lambda p: p["status"] == "success"))["data"][
        "city"
    ] == city


async def test_weather_event_without_city_falls_back_to_its_key(alone: System, client: Client) -> None:
    """An error that names no city is the key's; one with neither is skipped."""
    city = new_city()
    await settle(client, city)
    await alone.watch.produce(WEATHER, {"status": "error", "message": "whose?"}, partition=0)
    await alone.watch.produce(WEATHER, {"status": "error", "message": "yours"}, key=city)
    assert (await client.event(weather_event(city), is_error))["message"] == "yours"
