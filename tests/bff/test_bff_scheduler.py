"""The scheduler: a round at the start, then by the clock; watched cities; off switch; failures."""

from itertools import pairwise

import trio
from bff_doubles import COINS_REFRESH, FETCH, MOVERS_REFRESH, NEWS_REFRESH, STOCK_REFRESH, Stage, at, movers
from bff_doubles import MOVERS as MOVERS_UPDATED
from structlog.typing import EventDict
from trio.testing import MockClock

from flux.bff import BffOptions
from flux.transport.kafka.memory import virtual_now_ms

INTERVALS = {MOVERS_REFRESH: 60, COINS_REFRESH: 60, STOCK_REFRESH: 60, NEWS_REFRESH: 300}


def stage_with(**options: object) -> Stage:
    """A stage with a scheduler."""
    return Stage(BffOptions(**options))  # type: ignore[arg-type] # by name


async def test_one_round_at_the_start(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """Every refresh goes out once, with its reason; no city is watched yet."""
    stage = stage_with()
    await nursery.start(stage.bff.run)
    await stage.settle()
    for topic in INTERVALS:
        (command,) = stage.commands(topic)
        assert command == {"event": "refresh", "data": {}, "timestamp": at(), "reason": "start"}
    assert stage.records(FETCH) == []


async def test_start_round_waits_for_the_replay(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """While Kafka is away nothing is asked for; the round comes when the snapshots are rebuilt."""
    stage = stage_with()
    stage.produce(MOVERS_UPDATED, movers())
    stage.bus.set_down()
    await nursery.start(stage.bff.run)
    await trio.sleep(30)
    stage.bus.set_up()
    assert stage.records(MOVERS_REFRESH) == []
    await stage.settle()
    assert [command["reason"] for command in stage.commands(MOVERS_REFRESH)] == ["start"]


async def test_intervals_are_kept_and_jittered(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """Each command comes at its own interval, give or take the jitter, never twice the same."""
    stage = stage_with()
    await nursery.start(stage.bff.run)
    await trio.sleep(3600)
    for topic, interval in INTERVALS.items():
        times = [record.timestamp / 1000 for record in stage.records(topic)]
        gaps = [later - earlier for earlier, later in pairwise(times)]
        assert abs(len(gaps) - 3600 / interval) <= 4
        assert all(interval * 0.9 - 0.01 <= gap <= interval * 1.1 + 0.01 for gap in gaps)
        assert len(set(gaps)) > len(gaps) / 2
        assert stage.commands(topic)[-1]["reason"] == "schedule"


async def test_interval_can_be_set(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """An option overrides a command's own interval."""
    stage = stage_with(intervals={NEWS_REFRESH: 10.0}, jitter=0.0)
    await nursery.start(stage.bff.run)
    await trio.sleep(35)
    assert len(stage.records(NEWS_REFRESH)) == 4
    assert len(stage.records(MOVERS_REFRESH)) == 1


async def test_off_switch(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """Switched off it publishes nothing, and the rest works."""
    stage = stage_with(scheduler=False)
    await nursery.start(stage.bff.run)
    await trio.sleep(3600)
    assert [topic for topic in INTERVALS if stage.records(topic)] == []
    assert stage.bff.status.ready


async def test_watched_cities_are_refreshed(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """Each city that has members, once, with its latest location; not those that everyone left."""
    stage = stage_with(jitter=0.0)
    await nursery.start(stage.bff.run)
    await stage.settle()
    places = [
        {"city": "Delhi"},
        {"city": "DELHI", "lat": "28.6", "lon": "77.2"},
        {"city": "Paris"},
        {"city": "Rome"},
    ]
    for number, place in enumerate(places):
        stage.server.connect(f"s{number}")
        await stage.server.send(f"s{number}", "userLocationUpdate", place)
    stage.server.disconnect("s3")
    asked = len(stage.records(FETCH))
    await trio.sleep(601)
    scheduled = stage.commands(FETCH)[asked:]
    cities = sorted((command["data"] for command in scheduled), key=lambda data: str(data["city"]))
    assert cities == [places[1], places[2]]
    for command in scheduled:
        assert (command["event"], command["reason"]) == ("locationUpdate", "schedule")
        assert "userId" not in command


async def test_many_cities_in_one_round(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """More cities than fit the queue are all refreshed."""
    stage = stage_with(jitter=0.0, publish_queue=40)
    await nursery.start(stage.bff.run)
    await stage.settle()
    for number in range(100):
        stage.server.connect(f"s{number}")
        await stage.server.send(f"s{number}", "userLocationUpdate", {"city": f"City {number}"})
    await trio.sleep(601)
    assert len(stage.records(FETCH)) == 200


async def test_failed_round_is_tried_again(
    autojump_clock: MockClock, nursery: trio.Nursery, logged: list[EventDict]
) -> None:
    """While Kafka is away there is one log line for all; with it back the next round goes out."""
    stage = stage_with()
    await nursery.start(stage.bff.run)
    await trio.sleep(1)
    stage.bus.set_down("broker on fire")
    await trio.sleep(600)
    stage.bus.set_up()
    back = virtual_now_ms()
    await trio.sleep(120)
    assert [record for record in stage.records(MOVERS_REFRESH) if record.timestamp >= back]
    events = [line["event"] for line in logged if line["event"].startswith("commands")]
    assert events == ["commands cannot be published", "commands are published again"]
