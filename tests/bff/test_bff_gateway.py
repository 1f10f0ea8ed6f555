"""The gateway: client events, their answers, rooms, commands and acks."""

import json
import random
from typing import Any
from uuid import UUID

import pytest
import trio
from bff_doubles import (
    ACCEPTED,
    COINS,
    COINS_REFRESH,
    CRYPTO_REJECTED,
    FETCH,
    MOVERS,
    MOVERS_REFRESH,
    NEWS,
    NEWS_REFRESH,
    STOCK,
    STOCK_REFRESH,
    WEATHER,
    Stage,
    failure,
    movers,
    weather,
)
from structlog.typing import EventDict
from trio.testing import MockClock

from flux.bff import BffOptions

KEPT = "0b1f3d5e-7a9c-4e2b-8d6f-1a3c5e7f9b2d"
DELHI = {
    "city": "Delhi",
    "region": "Delhi",
    "country": "IN",
    "lat": "28.61",
    "lon": 77.2,
    "ip": "198.51.100.9",
}
ALL_ROOMS = {"weather.Delhi", "crypto.global", "news.global", "stock.global"}
REQUESTS = [
    ("cryptoTopMoversRequest", "cryptoTopMoversResponse", MOVERS_REFRESH, True, "crypto.global"),
    ("cryptoTopCoinsRequest", "cryptoTopCoinsResponse", COINS_REFRESH, False, "crypto.global"),
    ("stockTopPerformersRequest", "stockTopPerformersResponse", STOCK_REFRESH, False, "stock.global"),
    ("topNewsRequest", "newsUpdate", NEWS_REFRESH, True, "news.global"),
]


async def test_connect_logs_metadata(
    autojump_clock: MockClock, stage: Stage, logged: list[EventDict]
) -> None:
    """A connection is logged with its address and transport, its end with the reason."""
    stage.server.connect("a", QUERY_STRING="EIO=4&transport=polling")
    stage.server.disconnect("a", "ping timeout")
    facts = {"sid": "a", "address": "192.0.2.7", "transport": "polling"}
    assert [line for line in logged if line["event"].startswith("client")] == [
        {"event": "client connected", "log_level": "info", **facts},
        {"event": "client disconnected", "log_level": "info", "sid": "a", "reason": "ping timeout"},
    ]


async def test_get_user_id_emits_and_acks_the_uuid(autojump_clock: MockClock, stage: Stage) -> None:
    """`userUniqueId` carries the bare UUID; it is the same however often it is asked for."""
    stage.server.connect("a")
    acks = [await stage.server.send("a", "getUserId") for _ in range(2)]
    assert UUID(acks[0])
    assert acks[0] == acks[1]
    assert stage.server.heard("a", "userUniqueId") == acks


@pytest.mark.parametrize("auth", [{"userId": "nonsense"}, {"userId": 7}, {}, None, "text", [1]])
async def test_odd_auth_is_no_error(autojump_clock: MockClock, stage: Stage, auth: object) -> None:
    """Whatever the handshake's auth is, the connection has its own id."""
    stage.server.connect("a", auth)
    assert UUID(await stage.server.send("a", "getUserId"))


async def test_user_id_of_auth_parameter_or_payload(autojump_clock: MockClock, stage: Stage) -> None:
    """A returning client is known by its UUID wherever it puts it."""
    for sid in "abc":
        stage.server.connect(sid, {"userId": KEPT} if sid == "a" else None)
    await stage.server.send("b", "userLocationUpdate", {"city": "B"}, KEPT)
    await stage.server.send("c", "userLocationUpdate", {"city": "C", "userId": KEPT}, None)
    assert [await stage.server.send(sid, "getUserId") for sid in "abc"] == [KEPT] * 3
    assert [command["userId"] for command in stage.commands(FETCH)] == [KEPT] * 2


async def test_identity_does_not_change(autojump_clock: MockClock, stage: Stage) -> None:
    """Who has an id keeps it, and its commands carry it."""
    stage.server.connect("a")
    own = await stage.server.send("a", "getUserId")
    assert await stage.server.send("a", "userLocationUpdate", DELHI, KEPT) == ACCEPTED
    assert await stage.server.send("a", "getUserId") == own
    assert stage.commands(FETCH)[0]["userId"] == own


async def test_location_publishes_the_contracts_command(autojump_clock: MockClock, stage: Stage) -> None:
    """Fields as the contract has them, lat and lon as text, keyed by the city, stamped, without the IP."""
    stage.server.connect("a")
    assert await stage.server.send("a", "userLocationUpdate", DELHI, KEPT) == ACCEPTED
    (record,) = stage.records(FETCH)
    command = json.loads(record.value or b"")
    assert command.pop("timestamp").endswith("Z")
    data = {"city": "Delhi", "region": "Delhi", "country": "IN", "lat": "28.61", "lon": "77.2"}
    assert command == {"event": "locationUpdate", "data": data, "userId": KEPT}
    assert record.key == b"delhi"
    assert record.header("ce_type") == FETCH
    assert record.header("ce_source") == "/flux/bff"
    assert record.header("traceparent")


async def test_ip_goes_nowhere(autojump_clock: MockClock, stage: Stage, logged: list[EventDict]) -> None:
    """A client's IP is neither in a record, nor in a payload, nor in a log line."""
    stage.server.connect("a")
    await stage.server.send("a", "userLocationUpdate", DELHI)
    await stage.server.send("a", "userLocationUpdate", {**DELHI, "lat": "north"})
    assert "198.51.100.9" not in repr((stage.records(FETCH), stage.server.received, logged))


async def test_location_joins_every_room_and_leaves_the_old_city(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """All four rooms at once; a new city's room instead of the old one's."""
    stage.server.connect("a")
    await stage.server.send("a", "userLocationUpdate", DELHI)
    assert stage.server.rooms("a") == ALL_ROOMS
    await stage.server.send("a", "userLocationUpdate", {"city": "São Paulo"})
    assert stage.server.rooms("a") == ALL_ROOMS - {"weather.Delhi"} | {"weather.São Paulo"}


async def test_joins_keep_the_order_of_arrival(
    autojump_clock: MockClock, stage: Stage, nursery: trio.Nursery
) -> None:
    """The last of several locations is where the client sits, while none of them has its report yet."""
    stage.server.connect("a")
    stage.bus.set_down()
    for city in ("Delhi", "Paris", "Rome"):
        nursery.start_soon(stage.server.send, "a", "userLocationUpdate", {"city": city})
        await trio.testing.wait_all_tasks_blocked()
    assert stage.server.rooms("a") == ALL_ROOMS - {"weather.Delhi"} | {"weather.Rome"}


async def test_hydrates_every_room_on_every_call(autojump_clock: MockClock, stage: Stage) -> None:
    """What is cached comes with each location update, each state once."""
    stage.produce(WEATHER, weather("Delhi", 31.0))
    stage.produce(MOVERS, movers())
    stage.produce(COINS, {"status": "success", "data": {"topCoins": []}})
    stage.produce(NEWS, {"status": "success", "data": []})
    stage.produce(STOCK, {"status": "success", "data": []})
    await stage.settle()
    stage.server.connect("a")
    await stage.server.send("a", "userLocationUpdate", {"city": "DELHI"})
    assert stage.server.heard("a", "weather.DELHI.update")[0]["data"]["temperature"] == 31.0
    assert sorted(event for event, _ in stage.server.received["a"]) == sorted(
        [
            "weather.DELHI.update",
            "newsUpdate",
            *(answer for _, answer, *_ in REQUESTS if answer != "newsUpdate"),
        ]
    )
    await stage.server.send("a", "userLocationUpdate", {"city": "DELHI"})
    assert len(stage.server.received["a"]) == 10
    assert len(stage.records(FETCH)) == 1


async def test_uncached_city_is_fetched_without_noise(autojump_clock: MockClock, stage: Stage) -> None:
    """Hydration is best effort: with nothing cached nothing is emitted, and the fetch goes out."""
    stage.server.connect("a")
    await stage.server.send("a", "userLocationUpdate", DELHI)
    assert stage.server.received["a"] == []
    assert len(stage.records(FETCH)) == 1


async def test_cached_city_is_fetched_all_the_same(autojump_clock: MockClock, stage: Stage) -> None:
    """Every location that is no duplicate publishes its command; the service coalesces."""
    stage.produce(WEATHER, weather("Delhi"))
    await stage.settle()
    stage.server.connect("a")
    await stage.server.send("a", "userLocationUpdate", DELHI)
    assert len(stage.records(FETCH)) == 1


async def test_duplicates_within_the_window(autojump_clock: MockClock, stage: Stage) -> None:
    """Same user and same location: one command in 2 s, from whichever connection; all are accepted."""
    stage.server.connect("a")
    stage.server.connect("b")
    for sid in "aab":
        assert await stage.server.send(sid, "userLocationUpdate", DELHI, KEPT) == ACCEPTED
    assert len(stage.records(FETCH)) == 1
    await trio.sleep(2.0)
    await stage.server.send("a", "userLocationUpdate", DELHI, KEPT)
    assert len(stage.records(FETCH)) == 2


async def test_other_user_or_location_is_no_duplicate(autojump_clock: MockClock, stage: Stage) -> None:
    """Another user, or other coordinates, is another command."""
    stage.server.connect("a")
    stage.server.connect("b")
    await stage.server.send("a", "userLocationUpdate", DELHI)
    await stage.server.send("b", "userLocationUpdate", DELHI)
    await stage.server.send("a", "userLocationUpdate", {**DELHI, "lat": "1"})
    assert len(stage.records(FETCH)) == 3


async def test_duplicate_shares_the_outcome(
    autojump_clock: MockClock, stage: Stage, nursery: trio.Nursery
) -> None:
    """A duplicate is acknowledged with the report of the command that spared it its own, good or bad."""
    stage.server.connect("a")
    stage.bus.set_down()
    acks: list[Any] = []

    async def update() -> None:
        acks.append(await stage.server.send("a", "userLocationUpdate", DELHI))

    for _ in range(2):
        nursery.start_soon(update)
    await trio.sleep(0.5)
    assert acks == []
    stage.bus.set_up()
    await stage.settle()
    assert acks == [ACCEPTED] * 2
    assert len(stage.records(FETCH)) == 1


async def test_unreachable_kafka_is_an_error_in_bounded_time(
    autojump_clock: MockClock, stage: Stage, logged: list[EventDict]
) -> None:
    """The ack and the city's event tell it, the client stays seated, and one log line says why for all."""
    stage.server.connect("a")
    stage.bus.set_down("broker on fire")
    begun = trio.current_time()
    for city in ("Delhi", "Paris"):
        ack = await stage.server.send("a", "userLocationUpdate", {"city": city})
        assert ack["status"] == "error"
        assert "weather" in ack["message"]
        assert stage.server.heard("a", f"weather.{city}.update") == [ack]
    assert trio.current_time() - begun <= 2 * BffOptions().publish_timeout_away
    assert "weather.Paris" in stage.server.rooms("a")
    assert len([line for line in logged if line["event"] == "commands cannot be published"]) == 1


async def test_failed_command_can_be_tried_again(autojump_clock: MockClock, stage: Stage) -> None:
    """A command that failed is no duplicate of the next try."""
    stage.server.connect("a")
    stage.bus.set_down()
    assert (await stage.server.send("a", "userLocationUpdate", DELHI))["status"] == "error"
    stage.bus.set_up()
    assert await stage.server.send("a", "userLocationUpdate", DELHI) == ACCEPTED
    assert len(stage.records(FETCH)) == 1


async def test_command_goes_out_although_its_client_left(autojump_clock: MockClock, stage: Stage) -> None:
    """Cancelling the handler cancels the waiting, not the command, so a duplicate can still rely on it."""
    stage.server.connect("a")
    stage.bus.set_down()
    with trio.move_on_after(0.1):
        await stage.server.send("a", "userLocationUpdate", DELHI)
    stage.server.disconnect("a")
    stage.bus.set_up()
    await stage.settle()
    assert len(stage.records(FETCH)) == 1


async def test_handler_after_the_disconnect_does_nothing(autojump_clock: MockClock, stage: Stage) -> None:
    """A task that takes its first step after its client went leaves no seat and no command behind."""
    stage.server.connect("a")
    stage.server.disconnect("a")
    assert await stage.server.send("a", "userLocationUpdate", DELHI) is None
    assert stage.bff.seats.watched() == []
    assert stage.records(FETCH) == []


@pytest.mark.parametrize(
    ("args", "event"),
    [
        ((), "weather.unknown.update"),
        ((None,), "weather.unknown.update"),
        (("Delhi",), "weather.unknown.update"),
        (([DELHI],), "weather.unknown.update"),
        (({},), "weather.unknown.update"),
        (({"city": ""},), "weather.unknown.update"),
        (({"city": "  "},), "weather.unknown.update"),
        (({"city": "x" * 101},), "weather.unknown.update"),
        (({"city": "a\nb"},), "weather.unknown.update"),
        (({"city": 7},), "weather.unknown.update"),
        (({"city": "Delhi", "lat": "north", "lon": "1"},), "weather.Delhi.update"),
        (({"city": "Delhi", "lat": 91, "lon": 0},), "weather.Delhi.update"),
        (({"city": "Delhi", "lat": "nan", "lon": "0"},), "weather.Delhi.update"),
        (({"city": "Delhi", "lat": True, "lon": 0},), "weather.Delhi.update"),
        (({"city": "Delhi", "lat": "1"},), "weather.Delhi.update"),
        ((DELHI, KEPT, "more"), "weather.Delhi.update"),
        ((DELHI,) * 30, "weather.Delhi.update"),
    ],
)
async def test_malformed_location(
    autojump_clock: MockClock, stage: Stage, args: tuple[Any, ...], event: str
) -> None:
    """An error on the city's event, or that of `unknown`, and in the ack; nothing joined or published."""
    stage.server.connect("a")
    ack = await stage.server.send("a", "userLocationUpdate", *args)
    assert set(ack) == {"status", "message"}
    assert ack["status"] == "error"
    assert stage.server.received["a"] == [(event, ack)]
    assert stage.server.rooms("a") == set()
    assert stage.records(FETCH) == []


async def test_malformed_location_leaves_the_seat(autojump_clock: MockClock, stage: Stage) -> None:
    """Who sits in a city still sits there after a malformed update."""
    stage.server.connect("a")
    await stage.server.send("a", "userLocationUpdate", DELHI)
    await stage.server.send("a", "userLocationUpdate", {"city": "Paris", "lat": 1})
    assert stage.server.rooms("a") == ALL_ROOMS


@pytest.mark.parametrize(("request_", "answer", "topic", "refreshes", "room"), REQUESTS)
async def test_request_without_a_snapshot(
    autojump_clock: MockClock,
    stage: Stage,
    request_: str,
    answer: str,
    topic: str,
    refreshes: bool,
    room: str,
) -> None:
    """`loading` at once, on the event and in the ack; one refresh however many ask, or none at all."""
    for sid in "abc":
        stage.server.connect(sid)
        ack = await stage.server.send(sid, request_)
        assert ack["status"] == "loading"
        assert ack["message"]
        assert stage.server.received[sid] == [(answer, ack)]
        assert stage.server.rooms(sid) == {room}
    await stage.settle()
    commands = stage.commands(topic)
    assert len(commands) == (1 if refreshes else 0)
    for command in commands:
        assert command.pop("timestamp").endswith("Z")
        assert command == {"event": "refresh", "data": {}, "reason": "client request"}


async def test_request_with_a_snapshot(autojump_clock: MockClock, stage: Stage) -> None:
    """The cached state, once, to who asked, also in the ack; nothing goes to Kafka."""
    stage.produce(MOVERS, movers("Ether"))
    await stage.settle()
    for sid in "ab":
        stage.server.connect(sid)
        ack = await stage.server.send(sid, "cryptoTopMoversRequest")
        assert ack["data"]["topGainers"][0]["name"] == "Ether"
        assert stage.server.received[sid] == [("cryptoTopMoversResponse", ack)]
    await stage.settle()
    assert stage.records(MOVERS_REFRESH) == []


async def test_stale_snapshot_says_so(autojump_clock: MockClock, stage: Stage) -> None:
    """Past its ttl the state is still given, marked with since when and why."""
    stage.produce(MOVERS, movers())
    await stage.settle()
    await trio.sleep(60)
    stage.produce(MOVERS, failure("the source is ill"))
    await trio.sleep(600)
    stage.server.connect("a")
    ack = await stage.server.send("a", "cryptoTopMoversRequest")
    assert ack["status"] == "success"
    assert ack["stale"] == {"since": "2026-01-01T00:00:00.000Z", "reason": "the source is ill"}


@pytest.mark.parametrize("ending", ["event", "error", "rejection", "time"])
async def test_flight_ends(autojump_clock: MockClock, stage: Stage, ending: str) -> None:
    """After the event, an error, a rejection or ten seconds the next miss publishes again."""
    stage.server.connect("a")
    await stage.server.send("a", "cryptoTopMoversRequest")
    await stage.settle()
    if ending == "event":
        stage.produce(MOVERS, movers())
    elif ending == "error":
        stage.produce(MOVERS, failure("ill"))
    elif ending == "rejection":
        stage.produce(CRYPTO_REJECTED, {}, headers={"flux_topic": MOVERS_REFRESH, "flux_reason": "no"})
    await stage.settle()
    await trio.sleep(10 if ending == "time" else 0)
    await stage.server.send("a", "cryptoTopMoversRequest")
    await stage.settle()
    assert len(stage.records(MOVERS_REFRESH)) == (1 if ending == "event" else 2)


async def test_failed_refresh_is_told_to_all_who_wait(autojump_clock: MockClock, stage: Stage) -> None:
    """Loading, then an error for everyone who asked; the next request tries again."""
    stage.bus.set_down()
    for sid in "ab":
        stage.server.connect(sid)
        await stage.server.send(sid, "topNewsRequest")
    await trio.sleep(2)
    for sid in "ab":
        states = [payload["status"] for payload in stage.server.heard(sid, "newsUpdate")]
        assert states == ["loading", "error"]
    stage.bus.set_up()
    await stage.server.send("a", "topNewsRequest")
    await stage.settle()
    assert len(stage.records(NEWS_REFRESH)) == 1


async def test_cached_state_while_kafka_is_away(autojump_clock: MockClock, stage: Stage) -> None:
    """What is cached is given at once, whatever became of Kafka."""
    stage.produce(MOVERS, movers())
    await stage.settle()
    stage.bus.set_down()
    stage.server.connect("a")
    assert (await stage.server.send("a", "cryptoTopMoversRequest"))["status"] == "success"


@pytest.mark.parametrize(
    ("request_", "answer"),
    [*((request, answer) for request, answer, *_ in REQUESTS), ("getUserId", "userUniqueId")],
)
async def test_wrong_number_of_arguments(
    autojump_clock: MockClock, stage: Stage, request_: str, answer: str
) -> None:
    """An error on the awaited event and in the ack; nothing joined, nothing published."""
    stage.server.connect("a")
    for args in ((None,), ({},), (1, 2)):
        ack = await stage.server.send("a", request_, *args)
        assert ack["status"] == "error"
        assert stage.server.received["a"].pop() == (answer, ack)
    await stage.settle()
    assert stage.server.rooms("a") == set()
    assert stage.records(MOVERS_REFRESH) == stage.records(NEWS_REFRESH) == []


async def test_unknown_event(autojump_clock: MockClock, stage: Stage, logged: list[EventDict]) -> None:
    """An ack that says so, and one log line a name, with an end to the names."""
    stage.server.connect("a")
    for _ in range(3):
        ack = await stage.server.send("a", "noSuchEvent", 1)
        assert ack == {"status": "error", "message": "unknown event 'noSuchEvent'"}
    for number in range(300):
        await stage.server.send("a", f"flood{number}" + "x" * 10_000)
    lines = [line for line in logged if line["event"] == "unknown client event"]
    assert len(lines) == 100
    assert max(len(line["client_event"]) for line in lines) <= 64
    assert stage.server.received["a"] == []


async def test_queue_that_is_full_refuses_at_once(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """More requests than can wait are refused with an error, and a refused one is no duplicate."""
    stage = Stage(BffOptions(scheduler=False, publish_queue=1, publishers=1))
    await nursery.start(stage.bff.run)
    stage.bus.set_down()
    acks: list[Any] = []

    async def update(city: str) -> None:
        acks.append(await stage.server.send("a", "userLocationUpdate", {"city": city}))

    stage.server.connect("a")
    for city in ("A", "B", "C"):
        nursery.start_soon(update, city)
        await trio.testing.wait_all_tasks_blocked()
    assert [ack["status"] for ack in acks] == ["error"]
    assert "waiting" in acks[0]["message"]
    stage.bus.set_up()
    await stage.settle()
    assert acks[1:] == [ACCEPTED] * 2
    assert await stage.server.send("a", "userLocationUpdate", {"city": "C"}) == ACCEPTED


async def test_without_a_running_bff_the_answer_comes_all_the_same(
    autojump_clock: MockClock,
) -> None:
    """Between two runs clients get loading and errors in bounded time, never silence."""
    stage = Stage()
    stage.server.connect("a")
    assert (await stage.server.send("a", "topNewsRequest"))["status"] == "loading"
    with trio.fail_after(BffOptions().publish_timeout + 1):
        assert (await stage.server.send("a", "userLocationUpdate", DELHI))["status"] == "error"


async def test_many_clients_come_and_go(autojump_clock: MockClock, stage: Stage) -> None:
    """After the last one went nothing of them is left."""
    rng = random.Random(3)
    for number in range(300):
        sid = f"s{number}"
        stage.server.connect(sid)
        await stage.server.send(sid, "userLocationUpdate", {"city": rng.choice(["Rome", "ROME", "Oslo"])})
    assert len(stage.bff.seats.watched()) == 2
    for number in range(300):
        stage.server.disconnect(f"s{number}")
    assert stage.bff.seats.watched() == []
    assert stage.bff._gateway._identities._users == {}
