"""Duplicates and old events, sent again at random: nobody sees an older state after a newer one."""

import random

import pytest
from durations import lasting
from kafka_watch import WEATHER
from ledger import Ledger
from scenario import city_key, settle, weather_event, weather_fact
from stage import Stage

pytestmark = pytest.mark.kafka

SPAN = 3600.0
"""Seconds that the events' own times are spread over, all of them past."""


async def test_a_newer_snapshot_is_never_overwritten(stage: Stage) -> None:
    """Events of some cities in a random order with repeats, then a killed BFF that reads them again."""
    # More is read again than is sent: what lies beyond the replayed records of a partition is not rebuilt.
    settings = {"BFF__SCHEDULER": "false", "BFF__REPLAY": "2000"}
    bff = await stage.ready("bff", "--port", "0", **settings)
    watch = await stage.watch()
    rng = random.Random(7)
    clients = [
        await stage.driver.open(bff.url, transports=["websocket"], reconnection=False) for _ in range(5)
    ]
    cities = [f"Past of {client.name}" for client in clients]
    for client, city in zip(clients, cities, strict=True):
        await settle(client, city)
    count = lasting(40, 180)  # of each city
    facts = {
        city: [weather_fact(city, float(n), offset=n * SPAN / count - SPAN) for n in range(count)]
        for city in cities
    }
    sent = [(city, fact) for city in cities for fact in facts[city]]
    sent += rng.sample(sent, len(sent) // 10)
    rng.shuffle(sent)
    for city, fact in sent:
        await watch.produce(WEATHER, fact, key=city_key(city))
    overtaken = 0
    for client, city in zip(clients, cities, strict=True):
        newest = facts[city][-1]
        await client.event(weather_event(city), lambda p, newest=newest: p["data"] == newest["data"])
        times = [payload["timestamp"] for payload in client.payloads(weather_event(city))]
        assert times == sorted(set(times)), "an older state after a newer one, or one state twice"
        overtaken += len([1 for c, _ in sent if c == city]) - len(times)
    bff.kill()
    bff = await stage.ready("bff", "--port", "0", **settings)
    for city in cities:
        client = await stage.driver.open(bff.url, transports=["websocket"])
        await settle(client, city)
        first = await client.event(weather_event(city))
        assert first["timestamp"] == facts[city][-1]["timestamp"]
    stage.note(Ledger().figures(events=len(sent), held_back=overtaken))
