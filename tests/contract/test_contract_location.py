"""Contract, socket events: `userLocationUpdate`, its command on Kafka, its rooms and its deduplication."""

import uuid
from typing import Any

import pytest
import trio
from driver import Client, Driver
from kafka_watch import COINS, EVENTS, FETCH, MOVERS, NEWS, STOCK, TICKER, WEATHER, Seen
from scenario import (
    COINS_RESPONSE,
    EXAMPLE_LOCATION,
    MOVERS_RESPONSE,
    NEWS_UPDATE,
    STOCK_RESPONSE,
    TICKER_RESPONSE,
    city_key,
    fence,
    new_city,
    settle,
    snapshot_fact,
    speaks_of,
    ticker_fact,
    weather_event,
    weather_fact,
)
from systems import System

DEDUPED = "flux_bff_commands_deduped_total"
GLOBAL_EVENTS = {MOVERS_RESPONSE: MOVERS, COINS_RESPONSE: COINS, NEWS_UPDATE: NEWS, STOCK_RESPONSE: STOCK}


def about(city: str) -> Any:
    """Return a test of a command: is it about that city?"""
    return lambda record: record.at("data", "city") == city


async def commands(system: System, city: str) -> list[Seen]:
    """Return every fetch command about a city that is on Kafka now."""
    await system.watch.caught_up()
    return system.watch.seen(FETCH, about(city))


async def test_location_publishes_the_fetch_command(alone: System, client: Client) -> None:
    """The contract's location becomes its command: the fields, texts for lat and lon, never the IP."""
    city = new_city("Delhi")
    (user,) = await client.call("getUserId")
    await client.call("userLocationUpdate", EXAMPLE_LOCATION | {"city": city}, user)
    record = await alone.watch.wait_record(FETCH, about(city))
    command = record.json
    assert command["event"] == "locationUpdate"
    assert command["userId"] == user
    assert command["data"] == {
        "city": city,
        "region": "Delhi",
        "country": "IN",
        "lat": "28.61",
        "lon": "77.20",
    }
    assert command["timestamp"].endswith("Z")
    assert b"x.x.x.x" not in (record.value or b"") + repr(record.headers).encode()
    assert record.key == city_key(city).encode()


async def test_command_carries_cloudevents_headers(alone: System, client: Client) -> None:
    """Metadata travels in headers, in CloudEvents binary mode, and says that the BFF is the source."""
    city = new_city()
    await settle(client, city)
    record = await alone.watch.wait_record(FETCH, about(city))
    headers = {name: value.decode() for name, value in record.headers.items()}
    assert headers["ce_specversion"] == "1.0"
    assert uuid.UUID(headers["ce_id"])
    assert headers["ce_source"] == "/flux/bff"
    assert headers["ce_type"] == FETCH
    assert headers["ce_time"]
    assert headers["content-type"] == "application/json"
    assert headers["traceparent"].startswith("00-")


async def test_numbers_for_lat_and_lon_travel_as_text(alone: System, client: Client) -> None:
    """A client may send numbers; the command has texts."""
    city = new_city()
    await client.call("userLocationUpdate", {"city": city, "lat": -33.25, "lon": 151})
    data = (await alone.watch.wait_record(FETCH, about(city))).json["data"]
    assert isinstance(data["lat"], str)
    assert isinstance(data["lon"], str)
    assert (float(data["lat"]), float(data["lon"])) == (-33.25, 151.0)


async def test_city_alone_is_enough(alone: System, client: Client) -> None:
    """Without coordinates the command has none: the provider finds the city."""
    city = new_city()
    await settle(client, city)
    assert (await alone.watch.wait_record(FETCH, about(city))).json["data"] == {"city": city}


async def test_acknowledgement_comes_after_kafka_took_the_command(alone: System, client: Client) -> None:
    """`accepted` means that the command is on Kafka, not that anything was fetched: fire and forget."""
    city = new_city()
    assert await client.call("userLocationUpdate", {"city": city}) == [{"status": "accepted"}]
    assert len(await commands(alone, city)) == 1
    assert not [p for p in client.payloads(weather_event(city)) if p["status"] == "success"]


@pytest.mark.parametrize(
    "word",
    ["St. John's", "São Paulo", "東京", "{city}", "weather.x.update", "a" * 100, "Łódź/../*", "__proto__"],
)
async def test_city_names_with_any_letters(alone: System, client: Client, word: str) -> None:
    """Dots, spaces, accents, braces and a length of a hundred are a city's own business."""
    city = word if len(word) == 100 else new_city(word)
    await settle(client, city)
    await alone.watch.wait_record(FETCH, about(city))
    await alone.watch.produce(WEATHER, weather_fact(city, 3.0))
    update = await client.event(weather_event(city), lambda p: p["status"] == "success")
    assert update["data"]["city"] == city


async def test_rapid_duplicate_publishes_no_second_command(alone: System, client: Client) -> None:
    """The same location from the same user within two seconds is one command; later it is a second."""
    city, counted = new_city(), alone.bff.counted(DEDUPED, topic=FETCH)
    answers = [await client.call("userLocationUpdate", {"city": city}) for _ in range(3)]
    assert alone.bff.counted(DEDUPED, topic=FETCH) == counted + 2
    assert answers == [[{"status": "accepted"}]] * 3
    assert len(await commands(alone, city)) == 1
    await trio.sleep(2.05)  # the window, in the program's own time
    await settle(client, city)
    assert len(await commands(alone, city)) == 2


async def test_duplicate_is_hydrated_all_the_same(alone: System, client: Client) -> None:
    """Deduplication spares Kafka a command, never the client its state."""
    city = new_city()
    await settle(client, city)
    await alone.watch.produce(WEATHER, weather_fact(city, 8.0), key=city)
    await client.event(weather_event(city), lambda p: p["status"] == "success")
    for _ in range(2):
        place = client.mark()
        await settle(client, city)
        assert (await client.event(weather_event(city), after=place))["data"]["temperature"] == 8.0


async def test_changed_location_is_no_duplicate(alone: System, client: Client) -> None:
    """The same city with other coordinates is another location."""
    city = new_city()
    await client.call("userLocationUpdate", {"city": city, "lat": "1", "lon": "2"})
    await client.call("userLocationUpdate", {"city": city, "lat": "1", "lon": "3"})
    assert [c.json["data"]["lon"] for c in await commands(alone, city)] == ["2", "3"]


async def test_same_location_of_another_user_is_no_duplicate(alone: System, driver: Driver) -> None:
    """Two users in one city are two commands; the same user in two windows is one."""
    city, user = new_city(), str(uuid.uuid4())
    one, other, same = [await driver.open(alone.url, transports=["websocket"]) for _ in range(3)]
    await one.call("userLocationUpdate", {"city": city}, user)
    await other.call("userLocationUpdate", {"city": city})
    await same.call("userLocationUpdate", {"city": city}, user)
    (other_user,) = await other.call("getUserId")
    assert [c.json["userId"] for c in await commands(alone, city)] == [user, other_user]


async def test_kept_user_id_is_taken_as_the_connections_identity(alone: System, driver: Driver) -> None:
    """A returning client that passes its UUID is known by it, in commands and in `userUniqueId`."""
    city, kept = new_city(), str(uuid.uuid4())
    client = await driver.open(alone.url, transports=["websocket"])
    await client.call("userLocationUpdate", {"city": city}, kept)
    assert (await alone.watch.wait_record(FETCH, about(city))).json["userId"] == kept
    assert await client.call("getUserId") == [kept]


async def test_user_id_of_the_handshake_is_taken(alone: System, driver: Driver) -> None:
    """`auth.userId` says the same at the connection's beginning."""
    kept = str(uuid.uuid4())
    client = await driver.open(alone.url, transports=["websocket"], auth={"userId": kept})
    assert await client.call("getUserId") == [kept]


@pytest.mark.parametrize(
    "claimed", ["no uuid", 7, None, {"$gt": ""}, "{6ba7b810-9dad-11d1-80b4-00c04fd430c8}"]
)
async def test_malformed_user_id_leaves_the_connections_own(
    alone: System, client: Client, claimed: Any
) -> None:
    """What is no UUID is counted, never an error: the connection's own id stands."""
    city, counted = new_city(), alone.bff.counted("flux_bff_identity_ignored_total")
    assert await client.call("userLocationUpdate", {"city": city}, claimed) == [{"status": "accepted"}]
    assert alone.bff.counted("flux_bff_identity_ignored_total") == counted + 1
    command = (await alone.watch.wait_record(FETCH, about(city))).json
    assert [command["userId"]] == await client.call("getUserId")
    assert command["userId"] != claimed


async def test_location_joins_the_weather_room_of_its_city(alone: System, driver: Driver) -> None:
    """Room `weather.{city}`: who is in the city hears of it, who is elsewhere does not."""
    here, elsewhere = new_city(), new_city()
    resident = await driver.open(alone.url, transports=["websocket"])
    stranger = await driver.open(alone.url, transports=["websocket"])
    await settle(resident, here)
    await settle(stranger, elsewhere)
    await alone.watch.produce(WEATHER, weather_fact(here), key=here)
    await alone.watch.produce(WEATHER, weather_fact(elsewhere), key=elsewhere)
    await resident.event(weather_event(here), lambda p: p["status"] == "success")
    await stranger.event(weather_event(elsewhere), lambda p: p["status"] == "success")
    assert not stranger.events(weather_event(here))
    assert not resident.events(weather_event(elsewhere))


async def test_each_client_hears_its_own_spelling(alone: System, driver: Driver) -> None:
    """Spellings of one city share a fetch and a cache, and each client has the event under its own."""
    city = new_city("Springfield")
    spellings = [city, city.upper(), f" {city} "]
    clients = [await driver.open(alone.url, transports=["websocket"]) for _ in spellings]
    for client, spelling in zip(clients, spellings, strict=True):
        await settle(client, spelling)
    await alone.watch.produce(WEATHER, weather_fact(city, 4.0), key=city_key(city))
    for client, spelling in zip(clients, spellings, strict=True):
        update = await client.event(weather_event(spelling), lambda p: p["status"] == "success")
        assert update["data"]["temperature"] == 4.0
        others = [s for s in spellings if s != spelling]
        assert not [a for s in others for a in client.events(weather_event(s))]


async def test_new_city_leaves_the_old_weather_room(alone: System, driver: Driver) -> None:
    """A client that moves hears of its new city alone."""
    old, new = new_city(), new_city()
    mover = await driver.open(alone.url, transports=["websocket"])
    witness = await driver.open(alone.url, transports=["websocket"])
    await settle(witness, old)
    await settle(mover, old)
    await settle(mover, new)
    place = mover.mark()
    await alone.watch.produce(WEATHER, weather_fact(old), key=old)
    await witness.event(weather_event(old), lambda p: p["status"] == "success")
    await alone.watch.produce(WEATHER, weather_fact(new), key=new)
    await mover.event(weather_event(new), lambda p: p["status"] == "success")
    await fence(mover)
    assert not mover.events(weather_event(old), after=place)


async def test_location_joins_the_global_rooms(alone: System, client: Client) -> None:
    """Rooms `crypto.global`, `news.global` and `stock.global`: one location is enough to hear everything."""
    city = new_city()
    await settle(client, city)
    for event, topic in GLOBAL_EVENTS.items():
        await alone.watch.produce(topic, snapshot_fact(topic, city))
        assert (await client.event(event, speaks_of(city)))["status"] == "success"
    await alone.watch.produce(TICKER, ticker_fact(city, "1.00"))
    await client.event(TICKER_RESPONSE, lambda p: p["data"]["product_id"] == city)


async def test_client_without_a_location_hears_nothing(alone: System, driver: Driver) -> None:
    """Rooms are for selective fan-out: a client that asked for nothing gets nothing."""
    city = new_city()
    idle = await driver.open(alone.url, transports=["websocket"])
    witness = await driver.open(alone.url, transports=["websocket"])
    await settle(witness, city)
    for topic in EVENTS:
        fact = ticker_fact(city, "1") if topic == TICKER else snapshot_fact(topic, city)
        await alone.watch.produce(topic, fact)
    await witness.event(TICKER_RESPONSE, lambda p: p["data"]["product_id"] == city)
    for event in (*GLOBAL_EVENTS, weather_event(city)):
        await witness.event(event, speaks_of(city))
    await fence(idle)
    assert [a.name for a in idle.log if a.kind == "event"] == ["userUniqueId"]


async def test_location_hydrates_every_room_from_the_cache(alone: System, driver: Driver) -> None:
    """On joining, the cached state of every snapshot domain comes at once, without a command's answer."""
    city = new_city()
    witness = await driver.open(alone.url, transports=["websocket"])
    await settle(witness, city)
    for topic in (WEATHER, *GLOBAL_EVENTS.values()):
        await alone.watch.produce(topic, snapshot_fact(topic, city))
    for event in (weather_event(city), *GLOBAL_EVENTS):
        await witness.event(event, speaks_of(city))
    client = await driver.open(alone.url, transports=["websocket"])
    await settle(client, city)
    for event in (weather_event(city), *GLOBAL_EVENTS):
        (payload,) = client.payloads(event)  # there already, and once
        assert payload["status"] == "success"
        assert speaks_of(city)(payload)
