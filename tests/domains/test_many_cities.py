"""A hundred cities and a source that never answers: nobody waits for another's turn."""

import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from attrs import define, field
from fake_site import SILENCE, FakeSite  # from tests/sources
from structlog.typing import EventDict
from trio.testing import MockClock

from flux.domains.domain import ServiceContext
from flux.domains.providers import ProviderOptions
from flux.domains.weather.service import weather_service
from flux.transport.kafka.memory import MemoryBus

CITIES = 100
COMMAND = "weather.service.command.fetch"
UPDATED = "weather.service.event.updated"


@define
class Round:
    """One command for each city, and what came.

    Args:
        statuses: how often which status came from which source.
        seconds: until the last event.
        messages: of those that are errors.
    """

    seconds: float = 0.0
    statuses: Counter[tuple[str, str]] = field(factory=Counter)
    messages: set[str] = field(factory=set)


async def ask_each(bus: MemoryBus, *, located: bool) -> Round:
    """Send a command for each city at once, and wait for all events."""
    began, before = trio.current_time(), len(bus.records(UPDATED))
    for n in range(CITIES):
        where = {"lat": f"{n / 2}", "lon": "10"} if located else {}
        value = {"event": "locationUpdate", "data": {"city": f"City {n}", **where}}
        bus.inject(COMMAND, json.dumps(value).encode(), b"x")
    with trio.fail_after(60):
        while len(bus.records(UPDATED)) - before < CITIES:  # noqa: ASYNC110 - the bus tells nobody
            await trio.sleep(0.1)
    done = Round(trio.current_time() - began)
    for record in bus.records(UPDATED)[before:]:
        event = json.loads(record.value or b"")
        done.statuses[event["status"], event["source"]] += 1
        done.messages.add(event.get("message", ""))
    return done


@pytest.fixture
def silent(site: FakeSite) -> FakeSite:
    """A site that takes every question and says nothing."""
    for path in ("/v1/forecast", "/v1/search"):
        site.script(path, SILENCE)
    return site


@asynccontextmanager
async def serving(make_context: Any, silent: FakeSite, mode: str) -> AsyncIterator[ServiceContext]:
    """Run the weather service on that site inside the block."""
    urls = dict.fromkeys(("open-meteo", "open-meteo-geocoding"), silent.url)
    context: ServiceContext = make_context("weather", providers=ProviderOptions(mode=mode, urls=urls))
    async with trio.open_nursery() as nursery:
        await nursery.start(weather_service(context))
        yield context
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("located", [True, False], ids=["with coordinates", "by name"])
async def test_every_fallback_comes_within_two_seconds(
    located: bool, silent: FakeSite, bus: MemoryBus, make_context: Any, loopback_clock: MockClock
) -> None:
    """The patience of `auto` begins for all cities at once, however few connections the source allows."""
    async with serving(make_context, silent, "auto"):
        first = await ask_each(bus, located=located)
        assert first.statuses == {("success", "simulated"): CITIES}
        assert first.seconds < 2
        await trio.sleep(10)
        again = await ask_each(bus, located=located)
        assert again.statuses == {("success", "simulated"): CITIES}
        assert again.seconds < 2
    assert len(silent.requests) == 3


@pytest.mark.parametrize("located", [True, False], ids=["with coordinates", "by name"])
async def test_an_outage_is_one_line_however_many_wait(
    located: bool,
    silent: FakeSite,
    bus: MemoryBus,
    make_context: Any,
    loopback_clock: MockClock,
    logged: list[EventDict],
) -> None:
    """With `real` each city hears from its source, before the worker gives up."""
    async with serving(make_context, silent, "real") as context:
        done = await ask_each(bus, located=located)
    assert done.statuses == {("error", "open-meteo"): CITIES}
    assert done.seconds < context.limits.fetch_deadline
    assert all(message.startswith("Open-Meteo") for message in done.messages)
    warnings = [line["event"] for line in logged if line["log_level"] == "warning"]
    assert warnings == ["source is down"]
