"""Contract, socket events: the four requests, from the cache and without it."""

from typing import Any

import pytest
from attrs import frozen
from driver import Client, Driver
from kafka_watch import (
    COINS,
    COINS_REFRESH,
    COMMANDS,
    MOVERS,
    MOVERS_REFRESH,
    NEWS,
    NEWS_REFRESH,
    STOCK,
    STOCK_REFRESH,
)
from scenario import (
    COINS_RESPONSE,
    MOVERS_RESPONSE,
    NEWS_UPDATE,
    STOCK_RESPONSE,
    failure,
    fence,
    is_error,
    is_loading,
    new_city,
    snapshot_data,
    snapshot_fact,
    speaks_of,
)
from systems import System


@frozen
class Request:
    """A client's request and what belongs to it."""

    event: str
    answer: str
    topic: str
    refresh: str
    on_miss: bool


MOVERS_REQUEST = Request("cryptoTopMoversRequest", MOVERS_RESPONSE, MOVERS, MOVERS_REFRESH, on_miss=True)
COINS_REQUEST = Request("cryptoTopCoinsRequest", COINS_RESPONSE, COINS, COINS_REFRESH, on_miss=False)
STOCK_REQUEST = Request("stockTopPerformersRequest", STOCK_RESPONSE, STOCK, STOCK_REFRESH, on_miss=False)
NEWS_REQUEST = Request("topNewsRequest", NEWS_UPDATE, NEWS, NEWS_REFRESH, on_miss=True)
REQUESTS = [MOVERS_REQUEST, COINS_REQUEST, STOCK_REQUEST, NEWS_REQUEST]

every_request = pytest.mark.parametrize("request_", REQUESTS, ids=lambda r: r.event)
refreshing = pytest.mark.parametrize("request_", [MOVERS_REQUEST, NEWS_REQUEST], ids=lambda r: r.event)
waiting = pytest.mark.parametrize("request_", [COINS_REQUEST, STOCK_REQUEST], ids=lambda r: r.event)


async def commands(system: System) -> list[str]:
    """Return the topics of all commands that are on Kafka now."""
    await system.watch.caught_up()
    return [r.topic for r in system.watch.records if r.topic in COMMANDS]


@refreshing
async def test_miss_publishes_one_refresh_however_many_ask(
    fresh: System, driver: Driver, request_: Request
) -> None:
    """Without a cache all get `loading` and Kafka one refresh; the event that answers it reaches all."""
    clients = [await driver.open(fresh.url, transports=["websocket"]) for _ in range(4)]
    for _ in range(2):
        for client in clients:
            await client.emit(request_.event)
    for client in clients:
        assert is_loading(await client.event(request_.answer))
        await fence(client)
    command = await fresh.watch.wait_record(request_.refresh)
    assert command.json["event"] == "refresh"
    assert command.json["data"] == {}
    assert command.json["timestamp"].endswith("Z")
    assert command.headers["ce_source"] == b"/flux/bff"
    assert await commands(fresh) == [request_.refresh]
    await fresh.watch.produce(request_.topic, snapshot_fact(request_.topic, "answer"))
    for client in clients:
        answered = await client.event(request_.answer, lambda p: p["status"] == "success")
        assert speaks_of("answer")(answered)


@waiting
async def test_miss_waits_for_the_next_event(fresh: System, driver: Driver, request_: Request) -> None:
    """Top coins and stocks trigger nothing on Kafka: `loading`, then whatever event comes next."""
    clients = [await driver.open(fresh.url, transports=["websocket"]) for _ in range(3)]
    for client in clients:
        await client.emit(request_.event)
        assert is_loading(await client.event(request_.answer))
        await fence(client)
    assert await commands(fresh) == []
    await fresh.watch.produce(request_.topic, snapshot_fact(request_.topic, "next"))
    for client in clients:
        await client.event(request_.answer, speaks_of("next"))


@refreshing
async def test_failed_refresh_lets_the_next_request_try_again(
    fresh: System, driver: Driver, request_: Request
) -> None:
    """A provider's failure reaches who waits and ends the flight: who asks again publishes again."""
    client = await driver.open(fresh.url, transports=["websocket"])
    await client.emit(request_.event)
    await fresh.watch.wait_record(request_.refresh)
    await fresh.watch.produce(request_.topic, failure("the source is ill"))
    told = await client.event(request_.answer, is_error)
    assert "the source is ill" in told["message"]
    place, mark = client.mark(), fresh.watch.mark()
    await client.emit(request_.event)
    await client.event(request_.answer, after=place)
    await fresh.watch.wait_record(request_.refresh, after=mark)


@refreshing
async def test_rejected_refresh_reaches_who_waits(fresh: System, driver: Driver, request_: Request) -> None:
    """A command that its service rejected becomes an error on the awaited event, and ends the flight."""
    client = await driver.open(fresh.url, transports=["websocket"])
    await client.emit(request_.event)
    command = await fresh.watch.wait_record(request_.refresh)
    headers = {"flux_reason": "made up by a test", "flux_topic": request_.refresh}
    domain = request_.topic.partition(".")[0]
    await fresh.watch.produce(f"{domain}.service.event.rejected", command.value, headers=headers)
    told = await client.event(request_.answer, is_error)
    assert "made up by a test" in told["message"]
    mark = fresh.watch.mark()
    await client.emit(request_.event)
    await fresh.watch.wait_record(request_.refresh, after=mark)


async def put_into_cache(system: System, driver: Driver, request_: Request, word: str) -> None:
    """Publish a snapshot and wait until the BFF has it."""
    witness = await driver.open(system.url, transports=["websocket"])
    await witness.emit(request_.event)
    await system.watch.produce(request_.topic, snapshot_fact(request_.topic, word))
    await witness.event(request_.answer, speaks_of(word))


@every_request
async def test_cached_snapshot_answers_at_once(alone: System, driver: Driver, request_: Request) -> None:
    """With a cache the answer is the snapshot, once, and nothing goes to Kafka."""
    word = new_city()
    await put_into_cache(alone, driver, request_, word)
    before = len(await commands(alone))
    client = await driver.open(alone.url, transports=["websocket"])
    acknowledged = await client.call(request_.event)
    await fence(client)
    (answer,) = client.payloads(request_.answer)
    assert answer["status"] == "success"
    assert answer["data"] is not None
    assert speaks_of(word)(answer)
    assert acknowledged == [answer]
    assert len(await commands(alone)) == before


@every_request
async def test_payload_has_the_contracts_shape(alone: System, driver: Driver, request_: Request) -> None:
    """`status` and `data` as the contract shows them (news with its `scope`), plus source and timestamp."""
    word = new_city()
    await put_into_cache(alone, driver, request_, word)
    client = await driver.open(alone.url, transports=["websocket"])
    (payload,) = await client.call(request_.event)
    fields = {"status", "data", "source", "timestamp"} | ({"scope"} if request_ is NEWS_REQUEST else set())
    assert set(payload) == fields
    assert payload.get("scope") == ("global" if request_ is NEWS_REQUEST else None)
    assert contains(payload["data"], snapshot_data(request_.topic, word))
    assert payload["source"] == "test"


def contains(found: Any, expected: Any) -> bool:
    """Whether everything expected is found; objects may have more fields."""
    if isinstance(expected, dict):
        return isinstance(found, dict) and all(contains(found.get(k), v) for k, v in expected.items())
    if isinstance(expected, list):
        return (
            isinstance(found, list)
            and len(found) == len(expected)
            and all(contains(f, e) for f, e in zip(found, expected, strict=True))
        )
    return bool(found == expected)


@every_request
async def test_request_joins_its_room(alone: System, driver: Driver, request_: Request) -> None:
    """Who has asked hears every later update of that domain, and of no other domain."""
    word = new_city()
    await put_into_cache(alone, driver, request_, new_city())
    client = await driver.open(alone.url, transports=["websocket"])
    await client.emit(request_.event)
    await client.event(request_.answer)
    others = [r for r in REQUESTS if r.topic.partition(".")[0] != request_.topic.partition(".")[0]]
    witness = await driver.open(alone.url, transports=["websocket"])
    for other in others:
        await witness.emit(other.event)
        await alone.watch.produce(other.topic, snapshot_fact(other.topic, word))
        await witness.event(other.answer, speaks_of(word))
    await alone.watch.produce(request_.topic, snapshot_fact(request_.topic, word))
    await client.event(request_.answer, speaks_of(word))
    assert not [a for other in others for a in client.events(other.answer)]


async def test_answer_goes_to_who_asked(alone: System, driver: Driver) -> None:
    """A request is answered to its client alone; others of the room are not disturbed."""
    await put_into_cache(alone, driver, MOVERS_REQUEST, new_city())
    quiet: Client = await driver.open(alone.url, transports=["websocket"])
    await quiet.call(MOVERS_REQUEST.event)
    place = quiet.mark()
    asking = await driver.open(alone.url, transports=["websocket"])
    for _ in range(3):
        await asking.call(MOVERS_REQUEST.event)
    await fence(quiet)
    assert not quiet.events(MOVERS_RESPONSE, after=place)
