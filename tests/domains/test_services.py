"""The four services over a bus in memory: every command is answered on its topic."""

import json
from typing import Any

import pytest
import trio

from flux.domains.domain import SnapshotFeed
from flux.domains.providers import SimulationOptions
from flux.domains.registry import DOMAINS
from flux.messages import iso_time
from flux.transport.kafka.memory import MemoryBus

ROUTES = [
    pytest.param(domain, command, id=command.topic.name) for domain in DOMAINS for command in domain.commands
]


@pytest.mark.parametrize(("domain", "command"), ROUTES)
async def test_every_command_is_answered_with_fresh_state(
    domain: Any, command: Any, bus: MemoryBus, make_context: Any, autojump_clock: Any
) -> None:
    """Command in, event out: it decodes, names its source and time, is keyed, and moves each time."""
    context = make_context(domain.name, SimulationOptions(seed=1, ticker_rate=0))
    city = "Delhi" if command.located else ""
    value = json.dumps({"event": command.event, "data": {"city": city} if city else {}}).encode()
    async with trio.open_nursery() as nursery:
        await nursery.start(domain.service(context))
        for _ in range(2):
            bus.inject(command.topic.name, value, command.key(city).encode())
            await trio.sleep(120)
        last = iso_time(context.now())
        nursery.cancel_scope.cancel()
    first, second = bus.records(command.answer.topic.name)
    assert first.key == command.key(city).encode()
    values = [json.loads(record.value or b"") for record in (first, second)]
    for payload in values:
        assert list(payload) == ["status", "data", "source", "timestamp"]
        assert (payload["status"], payload["source"]) == ("success", "simulated")
    assert values[0]["timestamp"] < values[1]["timestamp"] < last
    assert values[0]["data"] != values[1]["data"]
    assert isinstance(command.answer, SnapshotFeed)
    decoded = command.answer.decode(first.value or b"")
    assert command.answer.key(decoded, None) == command.key(city)
    assert not bus.records(domain.rejected.name)


async def test_crypto_ticks_beside_its_commands(
    bus: MemoryBus, make_context: Any, autojump_clock: Any
) -> None:
    """The ticker runs while commands are served, and both draw on one market."""
    context = make_context("crypto", SimulationOptions(seed=1, ticker_rate=20))
    crypto = next(domain for domain in DOMAINS if domain.name == "crypto")
    async with trio.open_nursery() as nursery:
        await nursery.start(crypto.service(context))
        await trio.sleep(60)
        bus.inject("crypto.service.command.topcoins.refresh", b'{"event":"refresh"}')
        await trio.sleep(0.001)
        nursery.cancel_scope.cancel()
    (coins,) = (json.loads(r.value or b"") for r in bus.records("crypto.topcoins.event.updated"))
    prices = {coin["symbol"]: coin["price"] for coin in coins["data"]["topCoins"]}
    ticks = [json.loads(r.value or b"")["data"] for r in bus.records("crypto.ticker.event.updated")]
    assert len(ticks) == pytest.approx(1_200, abs=2)
    last = {tick["product_id"].removesuffix("-USD"): float(tick["price"]) for tick in ticks}
    assert len(last) == 10
    for symbol in last.keys() & prices.keys():
        assert prices[symbol] == pytest.approx(last[symbol], rel=0.01)


async def test_a_slow_source_is_an_error_for_the_city(
    bus: MemoryBus, make_context: Any, autojump_clock: Any
) -> None:
    """A fetch delay past the deadline shows as an error event."""
    weather = DOMAINS[0]
    async with trio.open_nursery() as nursery:
        await nursery.start(weather.service(make_context("weather", SimulationOptions(fetch_delay=30))))
        bus.inject("weather.service.command.fetch", b'{"event":"locationUpdate","data":{"city":"Oslo"}}')
        await trio.sleep(11)
        nursery.cancel_scope.cancel()
    (event,) = (json.loads(r.value or b"") for r in bus.records("weather.service.event.updated"))
    assert (event["status"], event["city"], event["source"]) == ("error", "Oslo", "simulated")
    assert "data" not in event


async def test_a_place_without_a_letter_is_rejected(
    bus: MemoryBus, make_context: Any, autojump_clock: Any
) -> None:
    """The simulated source does not know it, so the command becomes a rejection with the reason."""
    weather = DOMAINS[0]
    async with trio.open_nursery() as nursery:
        await nursery.start(weather.service(make_context("weather")))
        bus.inject("weather.service.command.fetch", b'{"event":"locationUpdate","data":{"city":"123"}}')
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    (rejected,) = bus.records("weather.service.event.rejected")
    assert "123" in (rejected.header("flux_reason") or "")
    assert not bus.records("weather.service.event.updated")
