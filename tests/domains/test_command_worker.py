"""The command worker: at least once, in order per key, one fetch for many, failures as events."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from attrs import define, field
from structlog.typing import EventDict

from flux.domains.commands import Query, Route
from flux.domains.domain import ServiceContext
from flux.domains.limits import WorkerLimits
from flux.domains.location import Location
from flux.domains.providers import ProviderError, ProviderOptions
from flux.domains.registry import TOPICS
from flux.domains.sources.choice import Choice
from flux.domains.stock.views import PERFORMERS_REFRESH
from flux.domains.weather.contract import Weather
from flux.domains.weather.provider import WeatherProvider
from flux.domains.weather.service import weather_route
from flux.domains.worker import CommandWorker
from flux.messages import Command
from flux.metrics import REGISTRY
from flux.transport.kafka.memory import MemoryBus, MemoryClient

FETCH = "weather.service.command.fetch"
UPDATED = "weather.service.event.updated"
REJECTED = "weather.service.event.rejected"


@define
class Source:
    """A weather provider that does as it is told.

    Args:
        act: runs in every fetch: sleeps, fails.
        asked: every location, in the order in which the fetches began.
    """

    act: Callable[[Location], Awaitable[None]]
    source: str = "told"
    asked: list[Location] = field(factory=list)
    running: int = 0
    most: int = 0

    async def weather(self, location: Location) -> Weather:
        """Return 20 °C."""
        self.asked.append(location)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.act(location)
        finally:
            self.running -= 1
        return Weather(city=location.city, temperature=20.0)


def source(act: Callable[[Location], Awaitable[None]] | None = None) -> Source:
    """Return a provider that answers at once, or does as it is told first."""

    async def at_once(_: Location) -> None:
        await trio.lowlevel.checkpoint()

    return Source(act or at_once)


def route_to(provider: Source) -> Route:
    """Return the weather's route to that provider."""
    choice: Choice[WeatherProvider] = Choice("weather", ProviderOptions(), real=None, simulated=provider)
    return weather_route(choice)


def worker(context: ServiceContext, provider: Source) -> CommandWorker:
    """Return the weather's worker over that provider."""
    return CommandWorker(context, rejected=TOPICS[REJECTED], routes=[route_to(provider)])


@asynccontextmanager
async def running(made: CommandWorker) -> AsyncIterator[None]:
    """Run a worker inside the block; it is ready there."""
    async with trio.open_nursery() as nursery:
        await nursery.start(made.run)
        yield
        nursery.cancel_scope.cancel()


def command(city: str, **data: Any) -> bytes:
    """Return a location command's value."""
    return json.dumps({"event": "locationUpdate", "data": {"city": city, **data}}).encode()


def values(bus: MemoryBus, topic: str = UPDATED) -> list[Any]:
    """Return the decoded values of a topic."""
    return [json.loads(record.value or b"null") for record in bus.records(topic)]


def done(bus: MemoryBus, topic: str = FETCH) -> int:
    """How many records are committed, over all partitions."""
    committed = bus.committed(f"flux.{topic.partition('.')[0]}")
    return sum(offset for (name, _), offset in committed.items() if name == topic)


def sample(outcome: str, topic: str = FETCH) -> float:
    """Return how many commands ended so."""
    labels = {"topic": topic, "outcome": outcome}
    return REGISTRY.get_sample_value("flux_commands_total", labels) or 0.0


async def test_the_contracts_command_is_answered(
    bus: MemoryBus, make_context: Any, autojump_clock: Any
) -> None:
    """The contract's example, without key or headers, gives an event under the city's key."""
    example = b"""{
      "event": "locationUpdate", "userId": "uuid",
      "data": {"city": "Delhi", "lat": "28.61", "lon": "77.20"}, "timestamp": "2026-01-31T10:00:00Z"
    }"""
    provider = source()
    async with running(worker(make_context("weather"), provider)):
        bus.inject(FETCH, example)
        await trio.sleep(1)
    assert provider.asked == [Location("Delhi", lat="28.61", lon="77.20")]
    (record,) = bus.records(UPDATED)
    assert record.key == b"delhi"
    (event,) = values(bus)
    assert event["status"] == "success"
    assert event["data"]["city"] == "Delhi"
    assert event["source"] == "told"
    assert event["timestamp"].startswith("2026-01-01T00:00:0")
    assert (record.header("ce_type"), record.header("ce_source")) == (UPDATED, "/flux/weather")
    assert done(bus) == 1


async def test_the_commands_trace_goes_on_in_the_event(
    bus: MemoryBus, make_context: Any, autojump_clock: Any
) -> None:
    """The event has the trace id of the command that it answers."""
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = (("traceparent", f"00-{trace}-00f067aa0ba902b7-01".encode()),)
    async with running(worker(make_context("weather"), source())):
        bus.inject(FETCH, command("Oslo"), headers=headers)
        bus.inject(FETCH, b"x", headers=headers)
        await trio.sleep(1)
    for topic in (UPDATED, REJECTED):
        (record,) = bus.records(topic)
        assert f"-{trace}-" in (record.header("traceparent") or "")


async def test_one_fetch_answers_all_commands_that_wait(
    bus: MemoryBus, make_context: Any, autojump_clock: Any
) -> None:
    """What comes during a fetch waits, and is answered by one more fetch with the newest data."""

    async def slow(_: Location) -> None:
        await trio.sleep(1)

    provider = source(slow)
    before = sample("coalesced")
    async with running(worker(make_context("weather"), provider)):
        bus.inject(FETCH, command("Oslo"))
        await trio.sleep(0.5)
        for spelling in ("oslo", "OSLO", " Oslo"):
            bus.inject(FETCH, command(spelling), partition=0)
        await trio.sleep(5)
    assert [location.city for location in provider.asked] == ["Oslo", " Oslo"]
    assert len(values(bus)) == 2
    assert done(bus) == 4
    assert sample("coalesced") - before == 2


async def test_keys_are_served_side_by_side_and_each_in_order(
    bus: MemoryBus, make_context: Any, autojump_clock: Any
) -> None:
    """A slow city does not hold up another in the same partition, and never has two fetches at once."""

    async def act(location: Location) -> None:
        await trio.sleep(5 if location.city == "slow" else 0.1)

    provider = source(act)
    async with running(worker(make_context("weather"), provider)):
        for city in ("slow", "fast"):
            bus.inject(FETCH, command(city), partition=1)
        await trio.sleep(1)
        assert [event["data"]["city"] for event in values(bus)] == ["fast"]
        assert done(bus) == 0  # the slow one comes first in the partition
        bus.inject(FETCH, command("slow", region="again"), partition=1)
        await trio.sleep(30)
    assert [event["data"]["city"] for event in values(bus)] == ["fast", "slow", "slow"]
    assert provider.most == 2
    assert done(bus) == 3


async def test_fetches_at_the_same_time_are_limited(
    bus: MemoryBus, make_context: Any, autojump_clock: Any
) -> None:
    """No more fetches run than the limit allows, and all commands are answered."""

    async def slow(_: Location) -> None:
        await trio.sleep(1)

    provider = source(slow)
    async with running(worker(make_context("weather", limits=WorkerLimits(fetches=3)), provider)):
        for number in range(10):
            bus.inject(FETCH, command(f"city {number}"))
        await trio.sleep(3.5)
        assert len(values(bus)) == 9
        await trio.sleep(5)
    assert provider.most == 3
    assert len(values(bus)) == 10


async def test_records_in_hand_are_limited(bus: MemoryBus, make_context: Any, autojump_clock: Any) -> None:
    """Beyond the bound the worker takes no more: that is the consumer's back-pressure."""
    gate = trio.Event()

    async def held(_: Location) -> None:
        await gate.wait()

    provider = source(held)
    limits = WorkerLimits(in_hand=4, fetch_deadline=1e6)
    async with running(worker(make_context("weather", limits=limits), provider)):
        for number in range(10):
            bus.inject(FETCH, command(f"city {number}"))
        await trio.sleep(1)
        assert len(provider.asked) == 4
        assert REGISTRY.get_sample_value("flux_commands_in_hand", {"principal": "weather"}) == 4
        gate.set()
        await trio.sleep(1)
    assert len(values(bus)) == 10
    assert REGISTRY.get_sample_value("flux_commands_in_hand", {"principal": "weather"}) == 0


async def test_a_providers_failure_is_an_event_with_the_city(
    bus: MemoryBus, make_context: Any, logged: list[EventDict], autojump_clock: Any
) -> None:
    """The failure is told to people, once, and the command is done."""

    async def fail(_: Location) -> None:
        raise ProviderError("the weather source is being repaired")

    before = sample("failed")
    async with running(worker(make_context("weather"), source(fail))):
        bus.inject(FETCH, command("São Paulo"))
        await trio.sleep(1)
    (event,) = values(bus)
    assert event == {
        "status": "error",
        "source": "told",
        "timestamp": event["timestamp"],
        "message": "the weather source is being repaired",
        "city": "São Paulo",
    }
    assert done(bus) == 1
    assert sample("failed") - before == 1
    assert [line["log_level"] for line in logged] == ["warning"]


async def test_a_fetch_past_its_deadline_is_a_failure(
    bus: MemoryBus, make_context: Any, autojump_clock: Any
) -> None:
    """A source that hangs is given up after ten seconds, and its fetch is cancelled."""

    async def hang(_: Location) -> None:
        await trio.sleep_forever()

    provider = source(hang)
    async with running(worker(make_context("weather"), provider)):
        bus.inject(FETCH, command("Oslo"))
        await trio.sleep(9.9)
        assert values(bus) == []
        await trio.sleep(0.2)
        assert provider.running == 0
    (event,) = values(bus)
    assert event["status"] == "error"
    assert "10 s" in event["message"]


async def test_a_crash_between_fetch_and_done_brings_the_command_again(
    bus: MemoryBus, make_context: Any, monkeypatch: pytest.MonkeyPatch, autojump_clock: Any
) -> None:
    """A worker that ends before its event is delivered serves the command when it runs again."""

    async def bug(_: Any, record: Any) -> None:
        raise ZeroDivisionError

    context = make_context("weather")
    bus.inject(FETCH, command("Oslo"))
    with monkeypatch.context() as patch:
        patch.setattr(MemoryClient, "publish", bug)
        with pytest.raises(ExceptionGroup) as caught, trio.fail_after(60):
            await worker(context, source()).run()
    assert caught.group_contains(ZeroDivisionError)
    assert done(bus) == 0
    async with running(worker(context, source())):
        await trio.sleep(1)
    assert [event["data"]["city"] for event in values(bus)] == ["Oslo"]
    assert done(bus) == 1


async def test_a_cancelled_worker_has_done_nothing_it_did_not_deliver(
    bus: MemoryBus, make_context: Any, autojump_clock: Any
) -> None:
    """Cancellation in a fetch leaves the command for the next run of the same worker."""

    async def slow(_: Location) -> None:
        await trio.sleep(1)

    made = worker(make_context("weather"), source(slow))
    bus.inject(FETCH, command("Oslo"))
    with trio.move_on_after(0.5):
        await made.run()
    assert (done(bus), values(bus)) == (0, [])
    async with running(made):
        await trio.sleep(2)
    assert (done(bus), len(values(bus))) == (1, 1)


async def test_events_wait_for_the_broker(
    bus: MemoryBus, make_context: Any, logged: list[EventDict], autojump_clock: Any
) -> None:
    """While the broker is away an event is tried again, with one log line per change; then all are done."""
    gate = trio.Event()

    async def held(_: Location) -> None:
        await gate.wait()

    async with running(worker(make_context("weather"), source(held))):
        for number in range(5):
            bus.inject(FETCH, command(f"city {number}"))
        await trio.sleep(1)
        bus.set_down("gone fishing")
        gate.set()
        await trio.sleep(100)
        assert (values(bus), done(bus)) == ([], 0)
        bus.set_up()
        await trio.sleep(5)
    assert (len(values(bus)), done(bus)) == (5, 5)
    assert [line["event"] for line in logged] == [
        "events wait for the broker",
        "events are delivered again",
    ]


async def test_a_refresh_needs_no_data(bus: MemoryBus, make_context: Any, autojump_clock: Any) -> None:
    """Commands without an argument are served by one route under the domain's key, whatever their word."""
    topic = "stock.service.command.topperformers.refresh"

    async def fetch(_: Source) -> tuple[()]:
        await trio.lowlevel.checkpoint()
        return ()

    choice = Choice("stock", ProviderOptions(), real=None, simulated=source())
    route = Route.refresh(PERFORMERS_REFRESH, choice, fetch)
    made = CommandWorker(
        make_context("stock"), rejected=TOPICS["stock.service.event.rejected"], routes=[route]
    )
    async with running(made):
        bus.inject(topic, b'{"event":"refresh","data":{},"timestamp":"2026-01-31T10:00:00Z"}')
        await trio.sleep(1)
        bus.inject(topic, b'{"event":"topPerformersRefresh"}', b"x")
        await trio.sleep(1)
    (first, second) = bus.records("stock.service.event.updated")
    assert first.key == second.key == b"stock"
    assert json.loads(first.value or b"")["data"] == []


async def test_two_workers_of_a_group_share_the_cities(
    bus: MemoryBus, make_context: Any, autojump_clock: Any
) -> None:
    """Partitions are divided: every command is served by exactly one."""
    one, two = source(), source()
    async with running(worker(make_context("weather"), one)), running(worker(make_context("weather"), two)):
        for number in range(20):
            bus.inject(FETCH, command(f"city {number}"), f"city {number}".encode())
        await trio.sleep(1)
    assert len(one.asked) + len(two.asked) == 20
    assert one.asked
    assert two.asked


def test_a_query_is_what_a_route_makes_of_a_command() -> None:
    """The weather's query is keyed by the city, and its error names the city as it was spelled."""
    route = route_to(source())
    query: Query = route.query(Command("locationUpdate", {"city": " DELHI"}))
    assert (query.key, query.on_error) == ("delhi", {"city": " DELHI"})
