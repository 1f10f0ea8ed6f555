"""Contract, both documents: from an event on Kafka to the clients: order, cache, staleness, the ticker."""

import json
import shutil
import uuid

import pytest
from driver import Client, Driver
from kafka_watch import COINS, MOVERS, NEWS, STOCK, TICKER, WEATHER, KafkaWatch
from ports import free_port
from program import Program
from scenario import (
    EXAMPLE_SNAPSHOTS,
    EXAMPLE_WEATHER,
    MOVERS_RESPONSE,
    TICKER_RESPONSE,
    failure,
    fence,
    is_error,
    iso,
    new_city,
    settle,
    snapshot_fact,
    speaks_of,
    ticker_fact,
    weather_event,
    weather_fact,
)
from systems import KAFKA, System


async def test_weather_example_of_the_contract(alone: System, client: Client) -> None:
    """The contract's weather event, byte for byte, without key or headers, reaches the city it names."""
    await settle(client, "Delhi")
    place = client.mark()
    await alone.watch.produce(WEATHER, EXAMPLE_WEATHER)
    payload = await client.event("weather.Delhi.update", lambda p: p["status"] == "success", after=place)
    assert payload["data"]["city"] == "Delhi"
    assert payload["data"]["temperature"] == 32
    assert payload["data"]["humidity"] == 60


@pytest.mark.parametrize("event", EXAMPLE_SNAPSHOTS)
async def test_snapshot_examples_of_the_contract(alone: System, client: Client, event: str) -> None:
    """The contract's snapshots, byte for byte, without key or headers, reach the client in its shape."""
    topic, value, expected = EXAMPLE_SNAPSHOTS[event]
    await settle(client, new_city())
    place = client.mark()
    await alone.watch.produce(topic, value)
    payload = await client.event(event, lambda p: p["data"] == expected["data"], after=place)
    assert payload["status"] == "success"
    assert expected.items() <= payload.items()


async def test_events_of_one_city_arrive_in_order(alone: System, client: Client) -> None:
    """A partition's order is the client's order."""
    city = new_city()
    await settle(client, city)
    for degree in range(25):
        await alone.watch.produce(WEATHER, weather_fact(city, float(degree)), key=city)
    await client.event(weather_event(city), lambda p: p.get("data", {}).get("temperature") == 24.0)
    seen = [
        p["data"]["temperature"] for p in client.payloads(weather_event(city)) if p["status"] == "success"
    ]
    assert seen == [float(degree) for degree in range(25)]


async def test_older_event_is_not_delivered(alone: System, driver: Driver) -> None:
    """An event that comes late, with an older timestamp, is shown to nobody: not live, not from the cache."""
    city = new_city()
    client = await driver.open(alone.url, transports=["websocket"])
    await settle(client, city)
    await alone.watch.produce(WEATHER, weather_fact(city, 1.0), key=city)
    await alone.watch.produce(WEATHER, weather_fact(city, 2.0, offset=-30), key=city)
    await alone.watch.produce(WEATHER, failure("late", city=city, offset=-20), key=city)
    later = await driver.open(alone.url, transports=["websocket"])
    await alone.watch.produce(WEATHER, weather_fact(city, 3.0, offset=1), key=city)
    await client.event(weather_event(city), lambda p: p.get("data", {}).get("temperature") == 3.0)
    states = [p for p in client.payloads(weather_event(city)) if p["status"] != "loading"]
    assert [p.get("data", {}).get("temperature") for p in states] == [1.0, 3.0]
    await settle(later, city)
    assert (await later.event(weather_event(city)))["data"]["temperature"] == 3.0


async def test_event_without_timestamps_counts_by_kafkas(alone: System, client: Client) -> None:
    """Without `timestamp` and `ce_time` an event is as old as Kafka says."""
    city = new_city()
    await settle(client, city)
    old = json.dumps({"status": "success", "data": {"city": city, "temperature": 1.0}, "timestamp": iso(-60)})
    bare = json.dumps({"status": "success", "data": {"city": city, "temperature": 2.0}})
    await alone.watch.produce(WEATHER, bare.encode(), key=city)
    await client.event(weather_event(city), lambda p: p.get("data", {}).get("temperature") == 2.0)
    await alone.watch.produce(WEATHER, old.encode(), key=city)
    await alone.watch.produce(WEATHER, weather_fact(city, 3.0, offset=1), key=city)
    await client.event(weather_event(city), lambda p: p.get("data", {}).get("temperature") == 3.0)
    assert not [
        p for p in client.payloads(weather_event(city)) if p.get("data", {}).get("temperature") == 1.0
    ]


async def test_redelivered_event_changes_nothing(alone: System, driver: Driver) -> None:
    """At-least-once: the same event twice leaves clients and cache with the same state."""
    city = new_city()
    client = await driver.open(alone.url, transports=["websocket"])
    await settle(client, city)
    fact, headers = weather_fact(city, 6.0), {"ce_id": str(uuid.uuid4())}
    for _ in range(2):
        await alone.watch.produce(WEATHER, fact, key=city, headers=headers)
    await alone.watch.produce(WEATHER, weather_fact("x" + city), key=city)  # the fence, in the same partition
    later = await driver.open(alone.url, transports=["websocket"])
    await settle(later, city)
    assert (await later.event(weather_event(city)))["data"]["temperature"] == 6.0
    states = [p for p in client.payloads(weather_event(city)) if p["status"] == "success"]
    assert states
    assert all(p == states[0] for p in states)


async def test_error_reaches_the_room_and_never_overwrites_a_success(alone: System, driver: Driver) -> None:
    """Who is there sees the failure; who comes later sees the last good state, marked stale at once."""
    city = new_city()
    client = await driver.open(alone.url, transports=["websocket"])
    await settle(client, city)
    await alone.watch.produce(WEATHER, weather_fact(city, 5.0), key=city)
    await alone.watch.produce(WEATHER, failure("no weather today", city=city, offset=1), key=city)
    told = await client.event(weather_event(city), is_error)
    assert told["message"] == "no weather today"
    later = await driver.open(alone.url, transports=["websocket"])
    await settle(later, city)
    first = later.payloads(weather_event(city))[0]
    assert first["status"] == "success"
    assert first["data"]["temperature"] == 5.0
    assert first["stale"]["reason"] == "no weather today"


async def test_error_of_a_global_domain_reaches_its_room(alone: System, client: Client) -> None:
    """A failure of a snapshot domain is told on that domain's own event."""
    await settle(client, new_city())
    for event, (topic, _, _) in EXAMPLE_SNAPSHOTS.items():
        text = f"ill {new_city()}"
        await alone.watch.produce(topic, failure(text))
        assert is_error(await client.event(event, speaks_of(text)))


async def test_stale_snapshot_says_since_when_and_why(alone: System, driver: Driver) -> None:
    """Past its time to live a snapshot is still shown, marked with `stale: {since, reason}`."""
    city = new_city()
    client = await driver.open(alone.url, transports=["websocket"])
    await settle(client, city)
    fact = weather_fact(city, 9.0, offset=-7200)
    await alone.watch.produce(WEATHER, fact, key=city)
    await client.event(weather_event(city), lambda p: p["status"] == "success")
    place = client.mark()
    await settle(client, city)
    shown = await client.event(weather_event(city), after=place)
    assert shown["status"] == "success"
    assert shown["data"]["temperature"] == 9.0
    assert shown["stale"]["since"] == fact["timestamp"]
    assert shown["stale"]["reason"]
    await alone.watch.produce(WEATHER, failure("the source is ill", city=city), key=city)
    await client.event(weather_event(city), is_error)
    place = client.mark()
    await settle(client, city)
    shown = await client.event(weather_event(city), after=place)
    assert shown["stale"]["reason"] == "the source is ill"


async def test_hydration_comes_before_later_updates(alone: System, driver: Driver) -> None:
    """A client that joins amid a stream of updates never sees an older state after a newer one."""
    city = new_city()
    witness = await driver.open(alone.url, transports=["websocket"])
    await settle(witness, city)
    client = await driver.open(alone.url, transports=["websocket"])
    for degree in range(40):
        await alone.watch.produce(WEATHER, weather_fact(city, float(degree)), key=city)
        if degree % 4 == 3:
            await client.emit("userLocationUpdate", {"city": city})
    await client.event(weather_event(city), lambda p: p.get("data", {}).get("temperature") == 39.0)
    seen = [
        p["data"]["temperature"] for p in client.payloads(weather_event(city)) if p["status"] == "success"
    ]
    assert seen == sorted(seen)


def relayed(client: Client, product: str) -> list[str]:
    """Return the raw texts of the ticker events of a product."""
    return [a.data for a in client.log if a.kind == "raw" and TICKER_RESPONSE in a.data and product in a.data]


async def test_ticker_is_relayed_byte_for_byte(alone: System, driver: Driver) -> None:
    """The socket payload is Kafka's value, untouched: spaces, field order, digits, unknown fields."""
    product = f"{new_city()}-USD"
    client = await driver.open(alone.url, transports=["websocket"], raw=True)
    await settle(client, new_city())
    value = ticker_fact(product, "67000.10", trade_id=12345678901234567890, extra={"a": [1.0, 1e-9, "é"]})
    value = value.replace(b'"status": "success"', b'"status"  :   "success"')
    await alone.watch.produce(TICKER, value, key=product)
    event = await client.event(TICKER_RESPONSE, lambda p: p["data"]["product_id"] == product)
    assert event["data"]["price"] == "67000.10"
    assert relayed(client, product) == [f'2["{TICKER_RESPONSE}",{value.decode()}]']


async def test_ticker_is_not_cached(alone: System, driver: Driver) -> None:
    """Snapshot semantics do not apply: who comes later gets no ticker until the next one."""
    product = f"{new_city()}-USD"
    witness = await driver.open(alone.url, transports=["websocket"])
    await settle(witness, new_city())
    await alone.watch.produce(TICKER, ticker_fact(product, "1"), key=product)
    await witness.event(TICKER_RESPONSE, lambda p: p["data"]["product_id"] == product)
    client = await driver.open(alone.url, transports=["websocket"])
    await settle(client, new_city())
    await client.call("cryptoTopMoversRequest")
    await fence(client)
    assert not client.events(TICKER_RESPONSE)
    await alone.watch.produce(TICKER, ticker_fact(product, "2"), key=product)
    await client.event(TICKER_RESPONSE, lambda p: p["data"]["product_id"] == product)
    assert [p["data"]["price"] for p in client.payloads(TICKER_RESPONSE)] == ["2"]


async def test_ticker_older_than_another_is_relayed_all_the_same(alone: System, client: Client) -> None:
    """The stream is relayed as it comes: the newer rule is for snapshots."""
    product = f"{new_city()}-USD"
    await settle(client, new_city())
    first = {
        "status": "success",
        "data": {"type": "ticker", "product_id": product, "price": "1"},
        "timestamp": iso(),
    }
    second = first | {"data": {"type": "ticker", "product_id": product, "price": "2"}, "timestamp": iso(-60)}
    for fact in (first, second):
        await alone.watch.produce(TICKER, fact, key=product)
    await client.event(
        TICKER_RESPONSE, lambda p: p["data"].get("price") == "2" and p["data"]["product_id"] == product
    )


async def test_burst_of_tickers_keeps_the_latest_of_each_product(alone: System, client: Client) -> None:
    """A burst loses at most superseded prices: each product's last always arrives, and none goes back."""
    word = new_city()
    await settle(client, word)
    products = [f"{word}-{n}" for n in range(5)]
    for price in range(40):
        for product in products:
            await alone.watch.produce(TICKER, ticker_fact(product, str(price)), key=product)
    for product in products:
        await client.event(
            TICKER_RESPONSE,
            lambda p, product=product: p["data"]["product_id"] == product and p["data"]["price"] == "39",
        )
        prices = [
            int(p["data"]["price"])
            for p in client.payloads(TICKER_RESPONSE)
            if p["data"]["product_id"] == product
        ]
        assert prices == sorted(prices)


async def test_rejected_location_reaches_the_city(alone: System, client: Client) -> None:
    """A rejected fetch becomes an error on the city's own event, with the service's reason."""
    city = new_city()
    await settle(client, city)
    value = json.dumps({"event": "locationUpdate", "data": {"city": city}, "timestamp": iso()}).encode()
    headers = {"flux_reason": "no such place", "flux_topic": "weather.service.command.fetch"}
    await alone.watch.produce("weather.service.event.rejected", value, key=city, headers=headers)
    told = await client.event(weather_event(city), is_error)
    assert "no such place" in told["message"]


# The embedded broker ends with its BFF: there is nothing left to hydrate from.
@pytest.mark.parametrize("broker", [KAFKA], indirect=True)
async def test_restarted_bff_hydrates_at_once_from_kafka(fresh: System, driver: Driver) -> None:
    """Events are replayable: a new BFF has the snapshots of all domains before any service speaks."""
    city = new_city()
    client = await driver.open(fresh.url, transports=["websocket"])
    await settle(client, city)
    for topic in (WEATHER, MOVERS, COINS, NEWS, STOCK):
        await fresh.watch.produce(topic, snapshot_fact(topic, city))
    await fresh.watch.produce(TICKER, ticker_fact(city, "1"))
    await client.event(weather_event(city), lambda p: p["status"] == "success")
    await client.event(TICKER_RESPONSE)
    fresh.bff.stop()
    before = fresh.bff.process
    fresh.bff.start().wait_open().wait_ready()
    assert fresh.bff.process is not before
    again = await driver.open(fresh.url, transports=["websocket"])
    await settle(again, city)
    await fence(again)
    for event in (weather_event(city), *EXAMPLE_SNAPSHOTS):
        (payload,) = again.payloads(event)
        assert payload["status"] == "success"
        assert speaks_of(city)(payload)
    assert not again.events(TICKER_RESPONSE)


async def test_two_bffs_deliver_the_same_events(alone: System, driver: Driver) -> None:
    """Every replica reads every partition: clients of two BFFs over one Kafka hear the same."""
    city = new_city()
    directory = alone.bff.directory / f"replica-{uuid.uuid4().hex}"
    directory.mkdir()
    # By the first one's runtime file the second finds the embedded broker, too.
    shutil.copy(alone.bff.directory / "flux.json", directory)
    port = free_port()
    second = Program(("bff", "--port", str(port)), directory, alone.bff.settings)
    try:
        second.start().wait_at(f"http://127.0.0.1:{port}").wait_ready()
        one = await driver.open(alone.url, transports=["websocket"])
        two = await driver.open(second.url, transports=["websocket"])
        await settle(one, city)
        await settle(two, city)
        watch: KafkaWatch = alone.watch
        await watch.produce(WEATHER, weather_fact(city, 1.0), key=city)
        await watch.produce(MOVERS, snapshot_fact(MOVERS, city))
        for client in (one, two):
            await client.event(weather_event(city), lambda p: p["status"] == "success")
            await client.event(MOVERS_RESPONSE, speaks_of(city))
    finally:
        second.kill()
