"""``--providers auto`` where no source can be reached: it starts, says so once, and shows marked data."""

import signal
import time
from collections import Counter
from collections.abc import Callable

import pytest
import trio
from driver import Driver  # from tests/contract
from fake_site import SILENCE, status
from fake_world import CALM, CITY, SOURCES, FakeWorld, every, nowhere
from program import Program

from flux.domains.registry import DOMAINS

Start = Callable[..., Program]

DELHI = {"city": "Delhi", "lat": 28.61, "lon": 77.2}
"""Does not have to be looked up."""
REAL = ("open-meteo", "coingecko", "coingecko", "coinbase", "rss", "finnhub")
EVENTS = (
    "weather.London.update",
    "cryptoTopMoversResponse",
    "cryptoTopCoinsResponse",
    "cryptoTickerResponse",
    "newsUpdate",
    "stockTopPerformersResponse",
)
SETTINGS = {**CALM, **every(30)}
"""Each jump is a round of refreshes."""


@pytest.mark.parametrize("silent", [False, True], ids=["nothing listens", "nothing answers"])
async def test_marked_simulated_data_is_there_within_two_seconds(
    world: FakeWorld, start: Start, driver: Driver, silent: bool
) -> None:
    """Every event of the contract, of source "simulated", two seconds after the client asked."""
    world.ill(SILENCE)
    program = start("--providers", "auto", "--no-scheduler", **(world.settings if silent else nowhere()))
    client = await driver.open(program.url, transports=["websocket"])
    asked = time.monotonic_ns()
    await client.emit("userLocationUpdate", CITY)
    for request in ("cryptoTopMoversRequest", "topNewsRequest"):
        await client.emit(request)
    for event in ("weather.London.update", "cryptoTopMoversResponse", "newsUpdate", "cryptoTickerResponse"):
        shown = await client.wait("event", event, lambda arrival: arrival.payload["status"] == "success")
        assert shown.payload["source"] == "simulated", event
        assert (shown.at - asked) / 1e9 < 2.0, event


async def test_the_log_has_one_line_for_each_source_that_is_unreachable_and_no_more(
    start: Start, driver: Driver
) -> None:
    """All is refreshed again and again; breakers open, probe, and open again: the log stays quiet."""
    program = start("--providers", "auto", jump=61, **nowhere(), **SETTINGS)
    client = await driver.open(program.url, transports=["websocket"])
    other = await driver.open(program.url, transports=["websocket"])
    await client.emit("userLocationUpdate", CITY)
    await other.emit("userLocationUpdate", DELHI)
    for event in EVENTS:
        assert (await client.event(event, lambda payload: payload["status"] == "success"))["source"] == (
            "simulated"
        )
    for number in range(1, 5):
        await round_is_over(program, number)
        program.send_signal(signal.SIGUSR1)
    await round_is_over(program, 5)
    assert program.counted("flux_source_requests_total", source="coingecko", outcome="failed") >= 4
    assert program.counted("flux_source_breaker", source="coingecko", flux_source_breaker="open") == 1
    down = [line for line in program.log() if line["event"] == "source is down"]
    assert Counter(line["source"] for line in down) == Counter(SOURCES)
    assert all("cannot be reached" in line["reason"] for line in down)
    troubles = [line for line in program.log() if line["level"] in ("warning", "error", "critical")]
    assert troubles == down, [line for line in troubles if line not in down]
    parts = [line for line in program.log() if line["logger"] in ("flux.sources", "flux.domains")]
    said = Counter((line["event"], line.get("source"), line.get("domain")) for line in parts)
    assert said.most_common(1)[0][1] == 1, said.most_common(5)
    assert program.stop(signal.SIGINT).code == 0


async def round_is_over(program: Program, number: int) -> None:
    """Wait until that many rounds of refreshes have been answered, and no command is in work."""
    for command in (command for domain in DOMAINS for command in domain.commands):
        commands = 2 * number if command.located else number  # two cities
        await program.reaches(commands, "flux_commands_total", topic=command.topic.name)
    with trio.fail_after(10):
        while await trio.to_thread.run_sync(program.counted, "flux_commands_in_hand"):  # noqa: ASYNC110 - another process
            await trio.sleep(0.05)


async def test_real_data_takes_over_when_the_world_is_back(
    world: FakeWorld, start: Start, driver: Driver
) -> None:
    """Without a restart; a product's simulated and real ticks do not take turns; each change is a line."""
    world.ill(status(503))
    program = start("--providers", "auto", jump=1_000, **world.settings, **SETTINGS)
    client = await driver.open(program.url, transports=["websocket"])
    await client.emit("userLocationUpdate", CITY)
    for event in EVENTS:
        assert (await client.event(event))["source"] == "simulated", event
    world.well()
    mark = client.mark()
    program.send_signal(signal.SIGUSR1)
    for event, name in zip(EVENTS, REAL, strict=True):
        await client.event(event, lambda payload, name=name: payload["source"] == name, after=mark)
    before = client.payloads("cryptoTickerResponse")
    await trio.sleep(0.5)
    after = client.payloads("cryptoTickerResponse")[len(before) :]
    assert {payload["source"] for payload in after} == {"coinbase"}
    # Order is promised for each product: those of different partitions may overtake each other.
    for product in {payload["data"]["product_id"] for payload in before}:
        sources = [payload["source"] for payload in before if payload["data"]["product_id"] == product]
        assert sources == sorted(sources, reverse=True), "simulated ticks between real ones"
    back = [line["source"] for line in program.log() if line["event"] == "source is back"]
    assert Counter(back) == Counter(set(back))
    assert {"open-meteo-geocoding", "coingecko", "coinbase", "finnhub"} <= set(back)
