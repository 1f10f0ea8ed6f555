"""Contract, socket events: the connection's life, its transports, and the user's id."""

import signal
import uuid
from pathlib import Path
from typing import Any

import pytest
import trio
from driver import JS, PYTHON, Client, Driver
from kafka_watch import FETCH, MOVERS, WEATHER
from program import Program
from scenario import (
    MOVERS_RESPONSE,
    fence,
    new_city,
    settle,
    snapshot_fact,
    speaks_of,
    weather_event,
    weather_fact,
)
from systems import SIMULATION, System

QUICK = {"reconnectionDelay": 50, "randomizationFactor": 0}


def with_reason(sid: str, reason: str) -> Any:
    """Return a test of a log line: does it say that this connection ended for this reason?"""
    return lambda line: line.get("reason") == reason and sid in line.values()


@pytest.mark.parametrize(
    "transports", [None, ["websocket"], ["polling"]], ids=["default", "websocket", "polling"]
)
async def test_every_transport_carries_the_location_flow(
    alone: System, driver: Driver, transports: list[str] | None
) -> None:
    """Default options (polling, then an upgrade), WebSocket alone and polling alone serve a client alike."""
    city = new_city()
    client = await driver.open(alone.url, transports=transports)
    first = await client.wait("connect")
    if transports is None and driver.process.kind == JS:
        assert first.name == "polling" or client.log[0].kind == "upgrade"
        assert (await client.wait("upgrade")).name == "websocket"
    else:
        # python-socketio upgrades before it tells of the connection.
        assert first.name == ("polling" if transports == ["polling"] else "websocket")
    assert await client.call("userLocationUpdate", {"city": city}) == [{"status": "accepted"}]
    await alone.watch.wait_record(FETCH, lambda r: r.at("data", "city") == city)
    await alone.watch.produce(WEATHER, weather_fact(city, 21.5), key=city)
    update = await client.event(weather_event(city), lambda p: p["status"] == "success")
    assert update["data"]["temperature"] == 21.5


async def test_one_connection_carries_every_domain(alone: System, client: Client) -> None:
    """A single connection is all that a client needs for weather, crypto, news and stocks."""
    before = alone.bff.mark()
    city = new_city()
    await settle(client, city)
    await alone.watch.produce(WEATHER, weather_fact(city), key=city)
    await alone.watch.produce(MOVERS, snapshot_fact(MOVERS, city), key="crypto")
    await client.event(weather_event(city), lambda p: p["status"] == "success")
    await client.event(MOVERS_RESPONSE, speaks_of(city))
    assert len([a for a in client.log if a.kind == "connect"]) == 1
    assert not [line for line in alone.bff.log(after=before) if "disconnect" in line["event"]]


async def test_connection_is_logged_with_its_metadata(alone: System, driver: Driver) -> None:
    """A connection leaves one log line with its session id, its address and its transport."""
    before = alone.bff.mark()
    client = await driver.open(alone.url, transports=["websocket"])
    line = await alone.bff.logged(lambda x: client.sid in x.values(), after=before)
    assert "127.0.0.1" in str(line)
    assert line["transport"] == "websocket"


# python-socketio closes its WebSocket before it has written the packets that say so.
@pytest.mark.parametrize(
    ("client_kind", "transport"),
    [(JS, "websocket"), (JS, "polling"), (PYTHON, "polling")],
    indirect=["client_kind"],
)
async def test_client_disconnect_is_logged_with_its_reason(
    alone: System, driver: Driver, transport: str
) -> None:
    """A client that disconnects by itself is logged as `client disconnect`."""
    client = await driver.open(alone.url, transports=[transport])
    before, sid = alone.bff.mark(), client.sid
    await client.close()
    await alone.bff.logged(with_reason(sid, "client disconnect"), after=before)


async def test_lost_connection_is_logged_as_transport_close(alone: System, spare_driver: Driver) -> None:
    """A client whose process is killed is logged as `transport close`."""
    client = await spare_driver.open(alone.url, transports=["websocket"])
    before = alone.bff.mark()
    spare_driver.process.send_signal(signal.SIGKILL)
    await alone.bff.logged(with_reason(client.sid, "transport close"), after=before)


async def test_silent_client_is_logged_as_ping_timeout(tmp_path: Path, spare_driver: Driver) -> None:
    """A client that answers no ping, its process being stopped, is logged as `ping timeout`."""
    settings = {
        **SIMULATION,
        "HTTP__PING_INTERVAL": "0.5",
        "HTTP__PING_TIMEOUT": "0.5",
        "BFF__SCHEDULER": "false",
    }
    bff = Program(("bff", "--port", "0"), tmp_path, settings)
    try:
        bff.start()
        await trio.to_thread.run_sync(bff.wait_open)
        client = await spare_driver.open(bff.url, transports=["websocket"])
        sid = client.sid
        spare_driver.process.send_signal(signal.SIGSTOP)
        try:
            await bff.logged(with_reason(sid, "ping timeout"))
        finally:
            spare_driver.process.send_signal(signal.SIGCONT)
    finally:
        bff.kill()


async def test_rooms_are_released_when_a_client_goes(alone: System, driver: Driver) -> None:
    """A client that comes back without asking for anything hears nothing of its former rooms."""
    city = new_city()
    client = await driver.open(alone.url, transports=["websocket"], **QUICK)
    witness = await driver.open(alone.url, transports=["websocket"])
    await settle(client, city)
    await settle(witness, city)
    place = client.mark()
    await client.drop()
    await client.wait("connect", after=place)
    await fence(client)
    place = client.mark()
    await alone.watch.produce(WEATHER, weather_fact(city), key=city)
    await alone.watch.produce(MOVERS, snapshot_fact(MOVERS, city), key="crypto")
    await witness.event(weather_event(city), lambda p: p["status"] == "success")
    await witness.event(MOVERS_RESPONSE, speaks_of(city))
    await fence(client)
    assert not client.payloads(weather_event(city), after=place)
    assert not client.payloads(MOVERS_RESPONSE, after=place)


async def test_returning_client_gets_its_state_at_once(alone: System, driver: Driver) -> None:
    """After a lost connection, sending the location again brings the cached state at once: no blank page."""
    city = new_city()
    client = await driver.open(alone.url, transports=["websocket"], **QUICK)
    await settle(client, city)
    await alone.watch.produce(WEATHER, weather_fact(city, 11.0), key=city)
    await alone.watch.produce(MOVERS, snapshot_fact(MOVERS, city), key="crypto")
    await client.event(weather_event(city), lambda p: p["status"] == "success")
    await client.event(MOVERS_RESPONSE, speaks_of(city))
    place = client.mark()
    await client.drop()
    await client.wait("connect", after=place)
    await client.emit("userLocationUpdate", {"city": city})
    hydrated = await client.event(weather_event(city), after=place)
    assert hydrated["status"] == "success"
    assert hydrated["data"]["temperature"] == 11.0
    await client.event(MOVERS_RESPONSE, speaks_of(city), after=place)


async def test_get_user_id_is_answered_by_a_server_issued_uuid(alone: System, client: Client) -> None:
    """`getUserId` brings `userUniqueId` with a UUID; the acknowledgement carries the same."""
    (acknowledged,) = await client.call("getUserId")
    emitted = await client.event("userUniqueId")
    assert emitted == acknowledged
    assert str(uuid.UUID(emitted)) == emitted
    assert uuid.UUID(emitted).version == 4


async def test_user_id_is_the_connections_own_and_stays(alone: System, driver: Driver) -> None:
    """Asking twice gives the same id; another connection has another."""
    one = await driver.open(alone.url, transports=["websocket"])
    two = await driver.open(alone.url, transports=["websocket"])
    assert await one.call("getUserId") == await one.call("getUserId")
    assert await one.call("getUserId") != await two.call("getUserId")


async def test_get_user_id_needs_no_acknowledgement(alone: System, client: Client) -> None:
    """A client that gives no callback gets `userUniqueId` all the same."""
    await client.emit("getUserId")
    uuid.UUID(await client.event("userUniqueId"))
