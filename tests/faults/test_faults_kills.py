"""Processes that die or are told to stop while they are at work."""

import random
import time

import pytest
import trio
from durations import lasting
from fault_load import load
from ledger import Ledger
from ports import free_port
from scenario import settle, weather_event
from stage import Stage

pytestmark = pytest.mark.kafka

CURRENT_SECONDS = 0.5
"""From a client's reconnect to the state of its city."""

DRAIN_DEADLINE = 10.0
"""Seconds that an ordered stop may take."""


async def test_a_service_killed_again_and_again_loses_no_command(stage: Stage) -> None:
    """SIGKILL of the weather service at random points of its work; the next one goes on where it was."""
    bff = stage.start("bff", "--port", "0")
    weather = stage.start("service", "weather")
    await trio.to_thread.run_sync(lambda: bff.wait_open().wait_ready())
    watch = await stage.watch()
    rng = random.Random(4)
    kills = lasting(5, 50)
    async with load(stage.driver, bff.url) as work:
        for _ in range(kills):
            await work.answers(5)
            await trio.sleep(rng.uniform(0, 0.5))
            weather.kill()
            weather = stage.start("service", "weather")
        await work.answers(20)
    stage.note(await work.check(watch, kills=kills))
    assert "Traceback" not in bff.text()


async def test_a_killed_bff_loses_no_accepted_request(stage: Stage) -> None:
    """SIGKILL of the BFF under load; it starts again on its port, clients reconnect and get their answers."""
    port = free_port()
    bff = stage.start("bff", "--port", str(port))
    stage.start("service", "weather")
    await trio.to_thread.run_sync(lambda: bff.wait_open().wait_ready())
    watch = await stage.watch()
    rng = random.Random(5)
    kills = lasting(2, 10)
    async with load(stage.driver, bff.url) as work:
        for _ in range(kills):
            await work.answers(20)
            await trio.sleep(rng.uniform(0, 0.3))
            bff.kill()
            bff = stage.start("bff", "--port", str(port))
            await trio.to_thread.run_sync(bff.wait_open)
        await work.answers(20)
    stage.note(await work.check(watch, kills=kills))


async def test_after_a_kill_of_the_bff_clients_are_current_at_once(stage: Stage) -> None:
    """With no service there, only Kafka can tell a new BFF the weather: each client has it within 500 ms."""
    port = free_port()
    bff = stage.start("bff", "--port", str(port))
    weather = stage.start("service", "weather")
    await trio.to_thread.run_sync(lambda: bff.wait_open().wait_ready())
    clients = [
        await stage.driver.open(
            bff.url, transports=["websocket"], reconnectionDelay=100, reconnectionDelayMax=500
        )
        for _ in range(20)
    ]
    cities = [f"Home of {client.name}" for client in clients]
    before = {}
    for client, city in zip(clients, cities, strict=True):
        await settle(client, city)
    for client, city in zip(clients, cities, strict=True):
        before[city] = await client.event(weather_event(city), lambda p: p["status"] == "success")
    weather.kill()
    places = [client.mark() for client in clients]
    bff.kill()
    bff = stage.start("bff", "--port", str(port))
    took: list[float] = []

    async def come_back(number: int) -> None:
        client, city, place = clients[number], cities[number], places[number]
        connected = await client.wait("connect", after=place, timeout=30)
        await client.emit("userLocationUpdate", {"city": city})
        found = await client.wait(
            "event", weather_event(city), lambda a: a.payload["status"] == "success", after=place
        )
        assert found.payload == before[city]
        took.append((found.at - connected.at) / 1e9)

    async with trio.open_nursery() as nursery:
        for number in range(len(clients)):
            nursery.start_soon(come_back, number)
    stage.note(Ledger().figures(clients=len(clients), slowest_current_ms=round(1000 * max(took))))
    assert max(took) <= CURRENT_SECONDS, sorted(took)


async def test_sigterm_under_full_load_leaves_nothing_half_done(stage: Stage) -> None:
    """The program drains within its deadline and exits with 0; the next one answers what it had accepted."""
    port = free_port()
    busy = {"SIMULATION__TICKER_RATE": "500", "SIMULATION__FETCH_DELAY": "0.3"}
    flux = await stage.ready("run", "--port", str(port), **busy)
    watch = await stage.watch()
    stops, slowest = lasting(1, 10), 0.0
    async with load(stage.driver, flux.url, askers=16) as work:
        for _ in range(stops):
            await work.answers(30)
            began = time.monotonic()
            ended = await trio.to_thread.run_sync(flux.stop)
            slowest = max(slowest, time.monotonic() - began)
            assert ended.code == 0, flux.tail()
            flux = stage.start("run", "--port", str(port), **busy)
            await trio.to_thread.run_sync(flux.wait_open)
        await work.answers(30)
    stage.note(await work.check(watch, stops=stops, slowest_stop=round(slowest, 2)))
    assert slowest < DRAIN_DEADLINE
    assert "Traceback" not in flux.text()
