"""Contract, Kafka topics: each command and event topic end to end, over a whole Flux in each shape."""

import json
import re
from typing import Any

import pytest
import trio
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    ConfigResource,
    ResourceType,
)
from driver import Client, Driver
from kafka_watch import (
    COINS,
    COINS_REFRESH,
    COMMANDS,
    EVENTS,
    FETCH,
    MOVERS,
    MOVERS_REFRESH,
    NEWS,
    NEWS_REFRESH,
    REJECTED,
    STOCK,
    STOCK_REFRESH,
    TICKER,
    TOPICS,
    WEATHER,
    Seen,
)
from scenario import (
    COINS_RESPONSE,
    EXAMPLE_COMMAND,
    MOVERS_RESPONSE,
    NEWS_UPDATE,
    STOCK_RESPONSE,
    TICKER_RESPONSE,
    city_key,
    is_error,
    iso,
    new_city,
    settle,
    weather_event,
)
from systems import KAFKA, ROLES, RUN, SERVICES, System

real_kafka = pytest.mark.parametrize("whole", [(KAFKA, RUN), (KAFKA, ROLES)], ids="-".join, indirect=True)
"""For questions that the embedded broker does not answer: consumer groups, topic configuration."""

REFRESHES = {MOVERS_REFRESH: MOVERS, COINS_REFRESH: COINS, NEWS_REFRESH: NEWS, STOCK_REFRESH: STOCK}
SOCKET_EVENTS = {MOVERS: MOVERS_RESPONSE, COINS: COINS_RESPONSE, NEWS: NEWS_UPDATE, STOCK: STOCK_RESPONSE}
REQUESTS = {
    MOVERS: "cryptoTopMoversRequest",
    COINS: "cryptoTopCoinsRequest",
    NEWS: "topNewsRequest",
    STOCK: "stockTopPerformersRequest",
}


def domain_of(topic: str) -> str:
    """Return a topic's domain."""
    return topic.partition(".")[0]


def refresh(reason: str) -> bytes:
    """Return a refresh command as the contract's design has it."""
    return json.dumps({"event": "refresh", "data": {}, "timestamp": iso(), "reason": reason}).encode()


def command_about(city: str) -> bytes:
    """Return a fetch command."""
    data = {"city": city, "lat": "28.61", "lon": "77.20"}
    return json.dumps(
        {"event": "locationUpdate", "userId": "uuid", "data": data, "timestamp": iso()}
    ).encode()


async def test_weather_flows_from_the_location_to_the_client(whole: System, client: Client) -> None:
    """`weather.service.command.fetch`, then `weather.service.event.updated`, then `weather.{city}.update`."""
    city = new_city()
    await client.call("userLocationUpdate", {"city": city, "country": "IN", "lat": "28.61", "lon": "77.20"})
    command = await whole.watch.wait_record(FETCH, lambda r: r.at("data", "city") == city)
    event = await whole.watch.wait_record(WEATHER, lambda r: r.at("data", "city") == city)
    assert event.headers["ce_source"] == b"/flux/weather"
    assert command.key == event.key == city_key(city).encode()
    payload = await client.event(weather_event(city), lambda p: p["status"] == "success")
    assert payload["data"] == event.json["data"]
    assert payload["source"] == "simulated"
    data = payload["data"]
    assert data["city"] == city
    assert -90 <= data["temperature"] <= 60
    assert 0 <= data["humidity"] <= 100
    assert len(data["hourly"]) == 24


async def test_answer_carries_on_the_commands_trace(whole: System, client: Client) -> None:
    """One trace id leads from the client's wish to the event that answers it."""
    city = new_city()
    await settle(client, city)
    command = await whole.watch.wait_record(FETCH, lambda r: r.at("data", "city") == city)
    event = await whole.watch.wait_record(WEATHER, lambda r: r.at("data", "city") == city)
    trace = command.headers["traceparent"].split(b"-")[1]
    assert event.headers["traceparent"].split(b"-")[1] == trace


async def test_fetch_is_served_once(whole: System, client: Client) -> None:
    """A command topic is consumed by exactly one service: one command, one event."""
    city = new_city()
    await settle(client, city)
    await whole.watch.wait_record(WEATHER, lambda r: r.at("data", "city") == city)
    await settle(client, new_city())
    await whole.watch.caught_up()
    assert len(whole.watch.seen(FETCH, lambda r: r.at("data", "city") == city)) == 1
    assert len(whole.watch.seen(WEATHER, lambda r: r.at("data", "city") == city)) == 1


async def test_command_example_of_the_contract_is_served(whole: System, client: Client) -> None:
    """The contract's own command, byte for byte, without key or headers, fetches Delhi."""
    await settle(client, "Delhi")
    mark = whole.watch.mark()
    await whole.watch.produce(FETCH, EXAMPLE_COMMAND)
    event = await whole.watch.wait_record(WEATHER, lambda r: r.at("data", "city") == "Delhi", after=mark)
    assert event.json["status"] == "success"


@pytest.mark.parametrize("topic", REFRESHES)
async def test_refresh_command_brings_its_event(whole: System, driver: Driver, topic: str) -> None:
    """Each refresh command has its own service publish its own event, which reaches its room."""
    answer = REFRESHES[topic]
    client = await driver.open(whole.url, transports=["websocket"])
    await client.emit(REQUESTS[answer])
    await client.event(SOCKET_EVENTS[answer], lambda p: p["status"] == "success")
    place = client.mark()
    trace = f"{abs(hash((topic, place, id(client)))) | 1:032x}"
    await whole.watch.produce(
        topic, refresh("test"), headers={"traceparent": f"00-{trace}-00000000000000aa-01"}
    )
    event = await whole.watch.wait_record(answer, lambda r: trace.encode() in r.headers["traceparent"])
    assert event.headers["ce_source"] == f"/flux/{domain_of(topic)}".encode()
    assert event.json["status"] == "success"
    payload = await client.event(
        SOCKET_EVENTS[answer], lambda p: p["timestamp"] == event.json["timestamp"], after=place
    )
    assert payload["data"] == event.json["data"]


async def test_movers_snapshot(whole: System, client: Client) -> None:
    """Top gainers and losers, each strongest first."""
    (data,) = [(await success(client, MOVERS))["data"]]
    gains = [asset["change24h"] for asset in data["topGainers"]]
    losses = [asset["change24h"] for asset in data["topLosers"]]
    assert gains == sorted(gains, reverse=True)
    assert losses == sorted(losses)
    assert gains
    assert losses


async def test_top_coins_snapshot(whole: System, client: Client) -> None:
    """The top coins are ranked by market capitalisation."""
    coins = (await success(client, COINS))["data"]["topCoins"]
    assert len(coins) >= 10
    caps = [coin["marketCap"] for coin in coins]
    assert caps == sorted(caps, reverse=True)


async def test_news_snapshot(whole: System, client: Client) -> None:
    """Global news: articles with a title and a link."""
    payload = await success(client, NEWS)
    assert payload["scope"] == "global"
    assert payload["data"]
    assert all(article["title"] and article["url"].startswith("https://") for article in payload["data"])


async def test_stock_snapshot(whole: System, client: Client) -> None:
    """Top performing stocks, best first, within the day's range."""
    stocks = (await success(client, STOCK))["data"]
    assert stocks
    changes = [stock["changePercent"] for stock in stocks]
    assert changes == sorted(changes, reverse=True)
    assert all(stock["low"] <= stock["price"] <= stock["high"] for stock in stocks)


async def success(client: Client, topic: str) -> dict[str, Any]:
    """Ask for a snapshot until there is one."""
    await client.emit(REQUESTS[topic])
    payload = await client.event(SOCKET_EVENTS[topic], lambda p: p["status"] == "success")
    assert isinstance(payload, dict)
    assert payload["source"] == "simulated"
    return payload


async def test_ticker_streams_to_crypto_clients(whole: System, driver: Driver) -> None:
    """The ticker comes without being asked for, product by product, each value as it is on Kafka."""
    client = await driver.open(whole.url, transports=["websocket"], raw=True)
    await client.emit("cryptoTopCoinsRequest")
    products = set()
    with trio.fail_after(15):
        while len(products) < 3:
            arrival = await client.wait(
                "event", TICKER_RESPONSE, lambda a: a.payload["data"]["product_id"] not in products
            )
            products.add(arrival.payload["data"]["product_id"])
            assert arrival.payload["status"] == "success"
            assert arrival.payload["source"] == "simulated"
            assert arrival.payload["data"]["type"] == "ticker"
            assert isinstance(arrival.payload["data"]["price"], str)
    raw = next(a.data for a in client.log if a.kind == "raw" and TICKER_RESPONSE in a.data)
    value = raw.removeprefix(f'2["{TICKER_RESPONSE}",').removesuffix("]").encode()
    # Anywhere in the log: the onlooker may have seen a tick before the client joined, and the BFF after.
    record = await whole.watch.wait_record(TICKER, lambda r: r.value == value)
    assert record.key == record.json["data"]["product_id"].encode()
    assert record.headers["ce_source"] == b"/flux/crypto"


async def test_ticker_keeps_partition_order_per_product(whole: System, client: Client) -> None:
    """Per product, sequence numbers only rise: on Kafka, in one partition, and at the client."""
    mark = whole.watch.mark()
    await client.emit("cryptoTopCoinsRequest")
    with trio.fail_after(15):
        for count in range(1, 30):
            await client.event(TICKER_RESPONSE, lambda _, n=count: len(client.events(TICKER_RESPONSE)) >= n)
    records: dict[str, list[Seen]] = {}
    for record in whole.watch.seen(TICKER, after=mark):
        records.setdefault(record.json["data"]["product_id"], []).append(record)
    heard: dict[str, list[int]] = {}
    for payload in client.payloads(TICKER_RESPONSE):
        heard.setdefault(payload["data"]["product_id"], []).append(payload["data"]["sequence"])
    for of_product in records.values():
        assert len({r.partition for r in of_product}) == 1
        sequences = [r.json["data"]["sequence"] for r in of_product]
        assert sequences == sorted(sequences)
    assert heard
    assert all(sequences == sorted(set(sequences)) for sequences in heard.values())


async def test_unknown_place_is_rejected_to_its_client(whole: System, client: Client) -> None:
    """A command that cannot be served becomes a fact with the reason, and an error for who waits."""
    city = f"{new_city().split()[1]}-404"
    await client.emit("userLocationUpdate", {"city": city})
    fact = await whole.watch.wait_record(
        "weather.service.event.rejected", lambda r: city.encode() in (r.value or b"")
    )
    assert fact.headers["flux_topic"] == FETCH.encode()
    assert fact.headers["ce_source"] == b"/flux/weather"
    assert fact.json["data"]["city"] == city  # the original value
    told = await client.event(weather_event(city), is_error)
    assert fact.headers["flux_reason"].decode() in told["message"] or told["message"]


ROGUE: dict[str, bytes | None] = {
    "tombstone": None,
    "no JSON": b"\x00 not json",
    "array": b"[]",
    "data of a wrong kind": b'{"event": "refresh", "data": 5}',
    "deep": b'{"event":"refresh","data":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "bad UTF-8": b'{"event":"\xff","data":{}}',
}


@pytest.mark.parametrize("topic", COMMANDS)
async def test_rogue_commands_become_rejected_facts(whole: System, client: Client, topic: str) -> None:
    """Whatever is on a command topic, it is rejected as a fact, with its value, and blocks nothing."""
    rejected = f"{domain_of(topic)}.service.event.rejected"
    for value in ROGUE.values():
        rogue = await whole.watch.produce(topic, value, partition=0)
        position = {
            "flux_topic": topic.encode(),
            "flux_partition": b"0",
            "flux_offset": str(rogue.offset).encode(),
        }
        fact = await whole.watch.wait_record(rejected, lambda r, p=position: p.items() <= r.headers.items())
        assert fact.headers["flux_reason"]
        assert fact.value == value or (fact.value or b"x") == (value or b"")[: len(fact.value or b"")]
    if topic == FETCH:
        city = new_city()
        await whole.watch.produce(FETCH, command_about(city), partition=0)
        await whole.watch.wait_record(WEATHER, lambda r: r.at("data", "city") == city)
    else:
        mark = whole.watch.mark()
        await whole.watch.produce(topic, refresh("after rogues"), partition=0)
        await whole.watch.wait_record(REFRESHES[topic], after=mark)
    assert await client.call("getUserId")


async def test_only_the_bff_produces_commands(whole: System, client: Client) -> None:
    """Each command on Kafka names the BFF as its source; each event and rejection, its own service."""
    await settle(client, new_city())
    await whole.watch.wait_record(TICKER)
    await whole.watch.caught_up()
    ours = [r for r in whole.watch.records if "ce_source" in r.headers]
    assert {r.topic for r in ours} >= {FETCH, TICKER, *REFRESHES.values()}
    for record in ours:
        owner = "bff" if record.topic in COMMANDS else domain_of(record.topic)
        assert record.headers["ce_source"] == f"/flux/{owner}".encode()
        assert record.headers["ce_type"] == record.topic.encode()


async def test_every_event_says_status_source_and_time(whole: System, client: Client) -> None:
    """Every fact carries `status`, `source` and `timestamp`, a success its `data`, an error its message."""
    await settle(client, new_city())
    for topic in EVENTS:
        await whole.watch.wait_record(topic, lambda r: "ce_id" in r.headers)
    for record in [r for r in whole.watch.records if r.topic in EVENTS and "ce_id" in r.headers]:
        value = record.json
        assert value["status"] in ("success", "error")
        assert value["source"] == "simulated"
        assert value["timestamp"].endswith("Z")
        assert ("data" in value) == (value["status"] == "success")
        assert ("message" in value) == (value["status"] == "error")


async def test_scheduler_refreshes_in_the_background(whole: System, client: Client) -> None:
    """Stocks and top coins come without anyone asking for them: the scheduler's first round has asked."""
    for topic, answer in REFRESHES.items():
        command = await whole.watch.wait_record(topic, lambda r: r.headers.get("ce_source") == b"/flux/bff")
        assert command.json["event"] == "refresh"
        await whole.watch.wait_record(answer)
    assert await success(client, STOCK)


async def test_commands_are_for_all_clients_and_answers_for_their_room(whole: System, driver: Driver) -> None:
    """Clients never meet Kafka: what one client's location brings, another of the same city hears."""
    city = new_city()
    one = await driver.open(whole.url, transports=["websocket"])
    two = await driver.open(whole.url, transports=["websocket"])
    await settle(one, city)
    await one.event(weather_event(city), lambda p: p["status"] == "success")
    await settle(two, city)
    hydrated = await two.event(weather_event(city), lambda p: p["status"] == "success")
    assert hydrated["data"]["city"] == city


async def test_topics_are_replayable(whole: System, client: Client) -> None:
    """Topics are the audit surface: a reader from the beginning finds the records that were seen live."""
    city = new_city()
    await settle(client, city)
    await whole.watch.wait_record(WEATHER, lambda r: r.at("data", "city") == city)
    await whole.watch.caught_up()
    live = {
        (r.topic, r.partition, r.offset): r.value for r in whole.watch.records if r.topic in (FETCH, WEATHER)
    }
    again = await trio.to_thread.run_sync(replay, whole.watch.bootstrap_servers, [FETCH, WEATHER])
    assert live.items() <= again.items()


def replay(bootstrap_servers: str, topics: list[str]) -> dict[tuple[str, int, int], bytes | None]:
    """Read topics from the beginning to their present end."""
    consumer = Consumer(
        {"bootstrap.servers": bootstrap_servers, "group.id": "auditor", "fetch.wait.max.ms": 10}
    )
    found: dict[tuple[str, int, int], bytes | None] = {}
    try:
        metadata = consumer.list_topics(timeout=10).topics
        places = [TopicPartition(t, p, 0) for t in topics for p in metadata[t].partitions]
        left = {
            (p.topic, p.partition): end
            for p in places
            if (end := consumer.get_watermark_offsets(p, timeout=10, cached=False)[1]) > 0
        }
        consumer.assign(places)
        for _ in range(100_000):
            if not left:
                break
            message = consumer.poll(5)
            assert message is not None, f"Kafka keeps back {left}"
            assert message.error() is None, message.error()
            at = (message.topic(), message.partition())
            found[(*at, message.offset())] = message.value()
            if at in left and message.offset() + 1 >= left[at]:
                del left[at]
    finally:
        consumer.close()
    return found


async def test_topic_names_follow_the_convention(whole: System, client: Client) -> None:
    """`<domain>.<service>.command|event.<word>`, and no other topic but Kafka's own."""
    admin = AdminClient({"bootstrap.servers": whole.watch.bootstrap_servers, "log_level": 0})
    names = {t for t in admin.list_topics(timeout=10).topics if not t.startswith("__")}
    assert names == set(TOPICS)
    assert len(names) == 11 + len(SERVICES)
    for name in names:
        assert re.fullmatch(r"(weather|crypto|news|stock)\.[a-z]+\.(command|event)(\.[a-z]+){1,2}", name)


@real_kafka
async def test_services_consume_in_their_own_groups(whole: System, client: Client) -> None:
    """Groups are `flux.<domain>`; each holds its own domain's command topics only; the BFF has none."""
    await settle(client, new_city())
    admin = AdminClient({"bootstrap.servers": whole.watch.bootstrap_servers, "log_level": 0})
    groups = [f"flux.{name}" for name in SERVICES]
    listed = {g.group_id for g in admin.list_consumer_groups().result(10).valid}
    assert {g for g in listed if g.startswith("flux.")} == set(groups)
    for name, future in admin.describe_consumer_groups(groups).items():
        domain = name.partition(".")[2]
        held = {p.topic for m in future.result(10).members for p in m.assignment.topic_partitions}
        assert held == {topic for topic in COMMANDS if domain_of(topic) == domain}


@real_kafka
async def test_topics_are_kept_by_time_and_never_compacted(whole: System, client: Client) -> None:
    """Retention is by time (delete), so that the audit surface has no holes."""
    admin = AdminClient({"bootstrap.servers": whole.watch.bootstrap_servers, "log_level": 0})
    asked = [ConfigResource(ResourceType.TOPIC, name) for name in TOPICS]
    for future in admin.describe_configs(asked).values():
        config = future.result(10)
        assert config["cleanup.policy"].value == "delete"
        assert int(config["retention.ms"].value) > 0


async def test_per_city_order_is_a_partitions_order(whole: System, client: Client) -> None:
    """Everything about a city is in one partition of each topic, so its order holds."""
    city = new_city()
    for n in range(4):
        await client.call("userLocationUpdate", {"city": city, "lat": str(n), "lon": "1"})
    await whole.watch.wait_record(
        WEATHER, lambda r: r.at("data", "city") == city and r.at("data", "lat") == 3.0
    )
    fetches = whole.watch.seen(FETCH, lambda r: r.at("data", "city") == city)
    events = whole.watch.seen(WEATHER, lambda r: r.at("data", "city") == city)
    assert len({r.partition for r in fetches}) == 1
    assert len({r.partition for r in events}) == 1
    assert [r.json["data"]["lat"] for r in fetches] == ["0", "1", "2", "3"]
    latitudes = [r.json["data"]["lat"] for r in events]
    assert latitudes == sorted(latitudes)


async def test_nothing_was_rejected_that_flux_itself_sent(whole: System, client: Client) -> None:
    """Flux's own commands are all servable: a rejection answers a rogue, or a place that does not exist."""
    await settle(client, new_city())
    await whole.watch.caught_up()
    own = {
        (r.topic.encode(), str(r.partition).encode(), str(r.offset).encode())
        for r in whole.watch.records
        if r.topic in COMMANDS and "ce_id" in r.headers and b"-404" not in (r.value or b"")
    }
    rejected = {
        (r.headers["flux_topic"], r.headers["flux_partition"], r.headers["flux_offset"])
        for r in whole.watch.records
        if r.topic in REJECTED
    }
    assert not own & rejected
