"""Real data end to end: a source on loopback, its domain, Kafka, the BFF, the official JavaScript client."""

import signal
from collections.abc import Callable
from typing import Any

from driver import Client, Driver  # from tests/contract
from fake_site import status
from fake_world import CALM, CITY, FEEDS, FakeWorld
from program import Program

Start = Callable[..., Program]

WEATHER = "weather.London.update"
STOCKS = "stockTopPerformersResponse"

JUMP = 1_000.0
"""Seconds that pass at once: more than any source's answer is good for, and than a breaker stays open."""


def good(payload: Any) -> bool:
    """Whether a payload has data."""
    return payload["status"] == "success"


def bad(payload: Any) -> bool:
    """Whether a payload is an error."""
    return payload["status"] == "error"


async def visitor(driver: Driver, program: Program) -> Client:
    """A client that watches London, and everything else."""
    client = await driver.open(program.url, transports=["websocket"])
    assert await client.call("userLocationUpdate", CITY) == [{"status": "accepted"}]
    return client


async def test_each_value_arrives_with_its_sources_name(
    world: FakeWorld, start: Start, driver: Driver
) -> None:
    """What the sources answered is what the client sees, and no key is in it."""
    program = start("--providers", "real", **world.settings)
    client = await visitor(driver, program)
    weather = await client.event(WEATHER, good)
    assert weather["source"] == "open-meteo"
    assert weather["data"]["temperature"] == 21.4
    stocks = await client.event(STOCKS, good)
    assert stocks["source"] == "finnhub"
    assert stocks["data"][0]["price"] == 261.74
    coins = await client.event("cryptoTopCoinsResponse", good)
    assert coins["source"] == "coingecko"
    assert coins["data"]["topCoins"][0]["price"] == 70187.5
    movers = await client.event("cryptoTopMoversResponse", good)
    assert movers["source"] == "coingecko"
    assert movers["data"]["topGainers"][0]["id"] == "bitcoin"
    news = await client.event("newsUpdate", good)
    assert news["source"] == "rss"
    assert sorted(article["title"] for article in news["data"]) == [
        f"Something happened at {feed}" for feed in sorted(FEEDS)
    ]
    tick = await client.event("cryptoTickerResponse")
    assert tick["source"] == "coinbase"
    assert tick["data"]["type"] == "ticker"
    assert tick["data"].keys() >= {"product_id", "price", "sequence", "trade_id"}
    assert "a-key" not in repr(client.log)


async def test_an_outage_is_told_the_last_good_data_stays_and_the_recovery_is_noticed(
    world: FakeWorld, start: Start, driver: Driver
) -> None:
    """The whole life of an outage, in one process that is never restarted.

    Those who are there hear the error. Who comes later gets the last good data, marked stale with its age and
    the reason. After three failures the source is left alone; then one request finds that it is back.
    """
    program = start("--providers", "real", jump=JUMP, **world.settings, **CALM)
    first = await visitor(driver, program)
    was = await first.event(WEATHER, good)

    world.ill(status(503))
    mark = first.mark()
    program.send_signal(signal.SIGUSR1)
    error = await first.event(WEATHER, bad, after=mark)
    assert "Open-Meteo" in error["message"]
    late = await visitor(driver, program)
    shown = await late.event(WEATHER, good)
    assert shown["data"] == was["data"]
    assert shown["stale"] == {"since": was["timestamp"], "reason": error["message"]}

    while source(program, "open-meteo")["breaker"] != "open":
        await (await visitor(driver, program)).event(WEATHER, bad)
    asked = world.asked("open-meteo")
    await (await visitor(driver, program)).event(WEATHER, bad)
    assert world.asked("open-meteo") == asked

    world.well(temperature=-3.5)
    mark = first.mark()
    program.send_signal(signal.SIGUSR1)
    fresh = await first.event(WEATHER, good, after=mark)
    assert fresh["data"]["temperature"] == -3.5
    assert "stale" not in fresh
    assert source(program, "open-meteo")["state"] == "up"
    assert source(program, "open-meteo")["breaker"] == "closed"


def source(program: Program, name: str) -> dict[str, Any]:
    """How ``/readyz?verbose`` says a source is."""
    (row,) = [row for row in program.get("/readyz?verbose").json()["sources"] if row["name"] == name]
    return dict(row)
