"""Commands that cannot be served: each becomes a fact, and holds nothing up."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from structlog.typing import EventDict

from flux.domains.domain import ServiceContext
from flux.domains.providers import SimulationOptions
from flux.domains.weather.service import weather_service
from flux.metrics import REGISTRY
from flux.transport.kafka.memory import MemoryBus

FETCH = "weather.service.command.fetch"
UPDATED = "weather.service.event.updated"
REJECTED = "weather.service.event.rejected"


@asynccontextmanager
async def serving(context: ServiceContext) -> AsyncIterator[None]:
    """Run the weather service inside the block; it is ready there."""
    async with trio.open_nursery() as nursery:
        await nursery.start(weather_service(context))
        yield
        nursery.cancel_scope.cancel()


def command(city: str) -> bytes:
    """Return a location command's value."""
    return b'{"event":"locationUpdate","data":{"city":"%s"}}' % city.encode()


def done(bus: MemoryBus) -> int:
    """Return how many commands are committed, over all partitions."""
    return sum(bus.committed("flux.weather").values())


def rejections() -> float:
    """Return how many were counted."""
    labels = {"topic": FETCH, "outcome": "rejected"}
    return REGISTRY.get_sample_value("flux_commands_total", labels) or 0.0


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "no value"),
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b'{"event":"x","data":{"city":' + b"[" * 60_000, "deep"),
        (b'{"event":"x","more":' + b"[" * 60_000, "deep"),
        (b"[]", "shape"),
        (b"{}", "shape"),
        (b'{"event":5}', "shape"),
        (b'{"event":"locationUpdate","data":[]}', "shape"),
        (b'{"event":"locationUpdate","data":{}}', "city"),
        (b'{"event":"locationUpdate","data":{"city":"a\\nb"}}', "control"),
        (b'{"event":"locationUpdate","data":{"city":"x","lat":"95","lon":"0"}}', "lat must be"),
        (b'{"event":"' + b"x" * 70_000 + b'"}', "bytes"),
    ],
)
async def test_a_command_that_cannot_be_served_becomes_a_fact(
    value: bytes | None,
    reason: str,
    bus: MemoryBus,
    make_context: Any,
    logged: list[EventDict],
    autojump_clock: Any,
) -> None:
    """It is repeated on the rejected topic with the reason and its position, and holds nothing up."""
    before = rejections()
    async with serving(make_context("weather")):
        bus.inject(FETCH, command("Rome"), b"k", partition=2)
        position = bus.inject(FETCH, value, b"\xffkey", partition=2)
        bus.inject(FETCH, command("Oslo"), b"k", partition=2)
        await trio.sleep(1)
    (rejected,) = bus.records(REJECTED)
    assert rejected.value == (value if value is None else value[:65_536])
    assert rejected.key == b"\xffkey"
    assert reason in (rejected.header("flux_reason") or "")
    assert rejected.header("flux_topic") == FETCH
    assert rejected.header("flux_partition") == "2"
    assert rejected.header("flux_offset") == str(position.offset) == "1"
    assert rejected.header("ce_type") == REJECTED
    assert len(bus.records(UPDATED)) == 2
    assert done(bus) == 3
    assert rejections() - before == 1
    assert len([line for line in logged if line["event"] == "command rejected"]) == 1


async def test_a_rejection_does_not_repeat_a_huge_key(
    bus: MemoryBus, make_context: Any, autojump_clock: Any
) -> None:
    """A key that the bus would refuse does not make the rejection fail, and so come for ever."""
    async with serving(make_context("weather")):
        bus.inject(FETCH, b"x", b"k" * 10_000)
        await trio.sleep(1)
    assert [record.key for record in bus.records(REJECTED)] == [None]


async def test_an_unknown_place_is_rejected_for_all_who_asked(
    bus: MemoryBus, make_context: Any, autojump_clock: Any
) -> None:
    """Every coalesced command gets its own rejection, with the reason in words."""
    async with serving(make_context("weather", SimulationOptions(seed=1, fetch_delay=1))):
        for _ in range(3):
            bus.inject(FETCH, command("12345"))
        await trio.sleep(5)
    assert bus.records(UPDATED) == []
    rejected = bus.records(REJECTED)
    assert len(rejected) == 3
    assert all("12345" in (record.header("flux_reason") or "") for record in rejected)
    assert done(bus) == 3


async def test_the_rejection_goes_on_with_the_commands_trace(
    bus: MemoryBus, make_context: Any, autojump_clock: Any
) -> None:
    """Who follows a trace finds that it ended in a rejection."""
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = (("traceparent", f"00-{trace}-00f067aa0ba902b7-01".encode()),)
    async with serving(make_context("weather")):
        bus.inject(FETCH, b"x", headers=headers)
        await trio.sleep(1)
    (record,) = bus.records(REJECTED)
    assert f"-{trace}-" in (record.header("traceparent") or "")
