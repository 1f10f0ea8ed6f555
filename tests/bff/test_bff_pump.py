"""The pump: Kafka's events onto snapshots and rooms; replay, lateness, poison, rejections, restarts."""

from typing import Any

import msgspec
import pytest
import trio
from bff_doubles import (
    COINS,
    CRYPTO_REJECTED,
    FETCH,
    MOVERS,
    MOVERS_REFRESH,
    NEWS,
    TICKER,
    WEATHER,
    WEATHER_REJECTED,
    Stage,
    at,
    failure,
    movers,
    tick,
    weather,
)
from prometheus_client import CollectorRegistry
from structlog.typing import EventDict
from trio.testing import MockClock

from flux.bff import BffOptions
from flux.bff.poison import BURST
from flux.metrics import REGISTRY

ANSWER = "cryptoTopMoversResponse"


def counted(name: str, registry: CollectorRegistry = REGISTRY, **labels: str) -> float:
    """A counter's value."""
    return registry.get_sample_value(name + "_total", labels) or 0.0


async def sit(stage: Stage, sid: str, city: str = "Delhi") -> None:
    """Connect a client and seat it everywhere."""
    stage.server.connect(sid)
    await stage.server.send(sid, "userLocationUpdate", {"city": city})


def temperatures(stage: Stage, sid: str, city: str = "Delhi") -> list[Any]:
    """What a client was shown of its city: a temperature, or an error's message."""
    return [
        p["data"]["temperature"] if p["status"] == "success" else p["message"]
        for p in stage.server.heard(sid, f"weather.{city}.update")
    ]


async def test_update_reaches_every_spelling(autojump_clock: MockClock, stage: Stage) -> None:
    """Each client hears its city under its own spelling, and no other city."""
    for sid, city in {"a": "Delhi", "b": "DELHI", "c": "Paris"}.items():
        await sit(stage, sid, city)
    stage.produce(WEATHER, weather("delhi", 30.0))
    await stage.settle()
    assert temperatures(stage, "a") == temperatures(stage, "b", "DELHI") == [30.0]
    assert [len(stage.server.received[sid]) for sid in "abc"] == [1, 1, 0]


async def test_city_falls_back_to_the_key(autojump_clock: MockClock, stage: Stage) -> None:
    """An error that names no city is told to the city of the record's key."""
    await sit(stage, "a")
    stage.produce(WEATHER, failure("ill"), key="delhi")
    await stage.settle()
    assert temperatures(stage, "a") == ["ill"]


async def test_late_event_is_neither_stored_nor_shown(autojump_clock: MockClock, stage: Stage) -> None:
    """An older event after a newer one is as if it had never been."""
    await sit(stage, "a")
    stage.produce(WEATHER, weather("Delhi", 2.0), partition=0)
    await stage.settle()
    late = counted("flux_bff_events", topic=WEATHER, result="late")
    stage.produce(WEATHER, weather("Delhi", 1.0, seconds=-1), partition=1)
    stage.produce(WEATHER, failure("an old illness", seconds=-1, city="Delhi"))
    await stage.settle()
    await sit(stage, "b")
    assert temperatures(stage, "a") == temperatures(stage, "b") == [2.0]
    assert counted("flux_bff_events", topic=WEATHER, result="late") == late + 2


async def test_error_is_shown_but_does_not_overwrite(autojump_clock: MockClock, stage: Stage) -> None:
    """Who sits there hears the error; who comes later gets the last good state."""
    await sit(stage, "a")
    stage.produce(WEATHER, weather("Delhi", 2.0), key="delhi")
    stage.produce(WEATHER, failure("ill", city="Delhi"), key="delhi")
    await stage.settle()
    await sit(stage, "b")
    assert temperatures(stage, "a") == [2.0, "ill"]
    assert temperatures(stage, "b") == [2.0]


async def test_an_outage_is_told_to_those_who_are_there_and_to_those_who_come(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """The room hears the error; who comes later gets the last good data, stale, until the recovery."""
    before = counted("flux_bff_hydrations", topic=MOVERS, result="stale")
    await sit(stage, "there")
    stage.produce(MOVERS, movers("Good", seconds=-1))
    stage.produce(MOVERS, failure("the source is ill"))
    await stage.settle()
    assert [p["status"] for p in stage.server.heard("there", ANSWER)] == ["success", "error"]
    await sit(stage, "late")
    asked = await stage.server.send("late", "cryptoTopMoversRequest")
    assert [p["stale"] for p in stage.server.heard("late", ANSWER)] == [
        {"since": at(-1), "reason": "the source is ill"}
    ] * 2
    assert (asked["status"], asked["data"]["topGainers"][0]["name"]) == ("success", "Good")
    assert counted("flux_bff_hydrations", topic=MOVERS, result="stale") - before == 2
    await trio.sleep(1)
    stage.produce(MOVERS, movers("Better"))
    await stage.settle()
    for sid in ("there", "late"):
        last = stage.server.heard(sid, ANSWER)[-1]
        assert (last["data"]["topGainers"][0]["name"], "stale" in last) == ("Better", False)


async def test_batch_of_records_is_one_batch_of_frames(autojump_clock: MockClock, stage: Stage) -> None:
    """What comes together goes out together."""
    await sit(stage, "a")
    before = stage.server.batches
    for number in range(50):
        stage.produce(TICKER, tick(price=str(number)), key="BTC-USD")
    await stage.settle()
    assert stage.server.batches == before + 1
    assert len(stage.server.heard("a", "cryptoTickerResponse")) == 50


async def test_tick_is_relayed_byte_for_byte(autojump_clock: MockClock, stage: Stage) -> None:
    """The bytes of Kafka are the payload; the product conflates; nothing is cached."""
    await sit(stage, "a")
    raw = tick("ETH-USD", "1.10")
    stage.produce(TICKER, raw, key="ETH-USD")
    await stage.settle()
    event, payload, room, conflate = stage.server.raw[-1]
    assert (event, room, conflate) == (
        "cryptoTickerResponse",
        "crypto.global",
        "cryptoTickerResponse:ETH-USD",
    )
    assert isinstance(payload, msgspec.Raw)
    assert bytes(payload) == raw
    await sit(stage, "b")
    assert stage.server.received["b"] == []


async def test_request_alone_brings_the_room(autojump_clock: MockClock, stage: Stage) -> None:
    """Who asked for the movers hears ticks and coins, too: they share the room."""
    stage.server.connect("a")
    await stage.server.send("a", "cryptoTopMoversRequest")
    stage.produce(TICKER, tick())
    stage.produce(COINS, {"status": "success", "data": {"topCoins": []}})
    stage.produce(NEWS, {"status": "success", "data": []})
    await stage.settle()
    heard = sorted(event for event, _ in stage.server.received["a"])
    assert heard == ["cryptoTickerResponse", "cryptoTopCoinsResponse", ANSWER]


@pytest.mark.parametrize(
    ("topic", "value"),
    [
        (WEATHER, None),
        (WEATHER, b"not json"),
        (WEATHER, {"status": "success", "data": {"temperature": 1}}),
        (WEATHER, b'{"status":"success","data":{"city":"Delhi","x":"\xff"}}'),
        (MOVERS, {"status": "success", "data": []}),
        (TICKER, b"[" * 40_000),
        (TICKER, b'{"status":"success","data":{"product_id":"X","z":"\xff"}}'),
        (CRYPTO_REJECTED, {}),
    ],
)
async def test_poison_is_counted_logged_and_skipped(
    autojump_clock: MockClock, stage: Stage, logged: list[EventDict], topic: str, value: Any
) -> None:
    """One metric, one line with the position, and the next record is served."""
    await sit(stage, "a")
    before = counted("flux_bff_poison_events", topic=topic)
    stage.produce(topic, value, partition=0)
    stage.produce(WEATHER, weather("Delhi", 1.0))
    stage.produce(TICKER, tick())
    await stage.settle()
    assert counted("flux_bff_poison_events", topic=topic) == before + 1
    (line,) = [line for line in logged if line["event"] == "poison event skipped"]
    assert (line["topic"], line["partition"], line["offset"]) == (topic, 0, 0)
    assert temperatures(stage, "a") == [1.0]
    assert len(stage.server.received["a"]) == 2


async def test_flood_of_poison_does_not_flood_the_log(
    autojump_clock: MockClock, stage: Stage, logged: list[EventDict]
) -> None:
    """All are counted; the log has a bounded number of lines, and says how many it left out."""
    before = counted("flux_bff_poison_events", topic=TICKER)
    for _ in range(BURST + 480):
        stage.produce(TICKER, b"?")
    await stage.settle()
    await trio.sleep(5)
    stage.produce(TICKER, b"?")
    await stage.settle()
    lines = [line for line in logged if line["event"] == "poison event skipped"]
    assert counted("flux_bff_poison_events", topic=TICKER) == before + BURST + 481
    assert len(lines) == BURST + 1
    assert lines[-1]["unlogged"] == 480


async def test_view_that_fails_is_poison(
    autojump_clock: MockClock, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A domain's view that stumbles over one record takes nobody down."""
    await sit(stage, "a")
    feed = stage.bff._pump._states[WEATHER]

    def stumble(*_: object) -> str:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(type(feed), "key", stumble)
        stage.produce(WEATHER, weather("Delhi", 1.0))
        await stage.settle()
    stage.produce(WEATHER, weather("Delhi", 2.0))
    await stage.settle()
    assert temperatures(stage, "a") == [2.0]


async def test_rejected_location_reaches_its_city(autojump_clock: MockClock, stage: Stage) -> None:
    """Who waits for a city that the service refused is told why, under its own spelling."""
    await sit(stage, "a", "NOWHERE")
    await sit(stage, "b", "Delhi")
    (command, _) = stage.records(FETCH)
    headers = {"flux_topic": FETCH, "flux_reason": "no such city\n" + "x" * 5000}
    stage.produce(WEATHER_REJECTED, command.value, key="nowhere", headers=headers)
    await stage.settle()
    ((event, payload),) = stage.server.received["a"]
    assert event == "weather.NOWHERE.update"
    assert set(payload) == {"status", "message"}
    assert payload["status"] == "error"
    assert payload["message"].startswith("no such city x")
    assert len(payload["message"]) <= 300
    assert stage.server.received["b"] == []


async def test_rejected_refresh_reaches_the_room(autojump_clock: MockClock, stage: Stage) -> None:
    """A rejected refresh is an error on the feed's own event."""
    stage.server.connect("a")
    await stage.server.send("a", "cryptoTopMoversRequest")
    stage.produce(CRYPTO_REJECTED, b"?", headers={"flux_topic": MOVERS_REFRESH, "flux_reason": "no"})
    await stage.settle()
    assert stage.server.heard("a", ANSWER)[1:] == [{"status": "error", "message": "no"}]


async def test_restarted_bff_hydrates_from_kafka(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """What stood in Kafka before the start is there when the first client comes, the newest of each key."""
    stage = Stage()
    for number in range(3):
        stage.produce(WEATHER, weather("Delhi", float(number), seconds=number - 3))
    stage.produce(WEATHER, weather("Paris", 9.0))
    stage.produce(WEATHER, failure("ill", city="Paris"))
    stage.produce(TICKER, tick())
    await nursery.start(stage.bff.run)
    assert stage.bff.status.ready
    await sit(stage, "a", "Delhi")
    await sit(stage, "b", "Paris")
    await stage.settle()
    assert temperatures(stage, "a") == [2.0]
    assert temperatures(stage, "b", "Paris") == [9.0]
    assert stage.server.heard("a", "cryptoTickerResponse") == []


async def test_replay_is_bounded(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """Only the last records of each partition are read again."""
    stage = Stage(BffOptions(scheduler=False, replay=5))
    for number in range(20):
        stage.produce(WEATHER, weather(f"City {number}"), partition=0)
    await nursery.start(stage.bff.run)
    assert stage.bff.snapshots.count(stage.bff._pump._states[WEATHER]) == 5


async def test_door_opens_while_kafka_is_away(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """Ready in bounded time, it answers `loading`; when Kafka comes the clients are brought up to date.

    An error of before is not told again, but the state that it left is marked stale.
    """
    stage = Stage()
    for number in range(3):
        stage.produce(WEATHER, weather("Delhi", float(number), seconds=number - 3))
    stage.produce(MOVERS, movers("Old", seconds=-60))
    stage.produce(MOVERS, failure("an old illness", seconds=-50))
    stage.bus.set_down("broker on fire")
    with trio.fail_after(1.1):
        await nursery.start(stage.bff.run)
    status = stage.bff.status
    assert (status.running, status.caught_up, status.bus.connected, status.ready) == (
        True,
        False,
        False,
        False,
    )
    stage.server.connect("a")
    assert (await stage.server.send("a", "cryptoTopMoversRequest"))["status"] == "loading"
    assert (await stage.server.send("a", "userLocationUpdate", {"city": "Delhi"}))["status"] == "error"
    stage.bus.set_up()
    await stage.settle()
    assert stage.bff.status.ready
    assert temperatures(stage, "a")[1:] == [2.0]
    heard = stage.server.heard("a", ANSWER)
    states = [(p["data"]["topGainers"][0]["name"], p["stale"]["reason"]) for p in heard if "data" in p]
    assert states == [("Old", "an old illness")]
    assert "an old illness" not in [p.get("message") for p in heard]


async def test_second_run_shows_nothing_twice(autojump_clock: MockClock) -> None:
    """After a crash the seats are still there; what came in between is shown, what was shown is not."""
    stage = Stage()
    async with trio.open_nursery() as first:
        await first.start(stage.bff.run)
        await sit(stage, "a")
        stage.produce(WEATHER, weather("Delhi", 1.0), key="delhi")
        stage.produce(WEATHER, failure("ill", city="Delhi"), key="delhi")
        await stage.settle()
        first.cancel_scope.cancel()
    assert not stage.bff.status.running
    await trio.sleep(1)
    stage.produce(WEATHER, weather("Delhi", 2.0))
    async with trio.open_nursery() as second:
        await second.start(stage.bff.run)
        await stage.settle()
        stage.produce(WEATHER, weather("Delhi", 3.0, seconds=1))
        await stage.settle()
        second.cancel_scope.cancel()
    assert temperatures(stage, "a") == [1.0, "ill", 2.0, 3.0]


async def test_crash_of_the_server_reaches_the_supervisor(autojump_clock: MockClock) -> None:
    """A failure that is no record's fault ends the run with that error."""
    stage = Stage()

    def broken(*_: object, **__: object) -> None:
        raise OSError("no")

    with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012 - the nursery raises as it closes
        async with trio.open_nursery() as nursery:
            await nursery.start(stage.bff.run)
            await sit(stage, "a")
            stage.server.emit = broken  # type: ignore[method-assign] # the double breaks on purpose
            stage.produce(WEATHER, weather("Delhi"))
    assert caught.group_contains(OSError, match="no")
    assert not stage.bff.status.running


async def test_hydration_and_updates_keep_their_order(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """However joins and updates interleave, nobody sees an older state after a newer one."""
    stage = Stage()
    await nursery.start(stage.bff.run)

    async def produce() -> None:
        for number in range(60):
            stage.produce(
                WEATHER, weather("Delhi", float(number), seconds=0.001 * number), partition=number % 4
            )
            if number % 3 == 0:
                await trio.sleep(0.01)

    async def ask(sid: str) -> None:
        stage.server.connect(sid)
        for _ in range(20):
            await stage.server.send(sid, "userLocationUpdate", {"city": "Delhi"})
            await trio.sleep(0.007)

    async with trio.open_nursery() as work:
        work.start_soon(produce)
        for sid in "abc":
            work.start_soon(ask, sid)
    await stage.settle()
    for sid in "abc":
        shown = temperatures(stage, sid)
        assert shown == sorted(shown)
        assert shown[-1] == 59.0
