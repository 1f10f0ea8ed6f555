"""Contract, the program's life: how it ends, what it refuses, what it does while Kafka is away."""

import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
from apache_kafka import ApacheKafka
from driver import JS, Driver
from kafka_watch import COINS, FETCH, WEATHER, KafkaWatch
from ports import free_port
from program import Program
from scenario import (
    COINS_RESPONSE,
    MOVERS_RESPONSE,
    TICKER_RESPONSE,
    is_error,
    is_loading,
    new_city,
    settle,
    weather_event,
)
from systems import KAFKA, SIMULATION, Systems, delete_topics

STOP_LIMIT = 2.0
"""Seconds from the signal to the end of an idle program."""

Start = Callable[..., Program]

one_client = pytest.mark.parametrize("client_kind", [JS], indirect=True)
"""For what takes many seconds and is the same for every client library."""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts programs that share a runtime directory; whatever still runs at the end is killed."""
    programs: list[Program] = []

    def start(*arguments: str, **settings: str) -> Program:
        programs.append(Program(arguments, tmp_path, SIMULATION | settings).start())
        return programs[-1]

    yield start
    for program in programs:
        program.kill()


@pytest.fixture
def kafka_settings(broker: str, request: pytest.FixtureRequest, systems: Systems) -> dict[str, str]:
    """Settings for a program of the test's own: an empty Kafka of that kind, which no other system uses."""
    systems.stop()
    if broker != KAFKA:
        return {}
    servers = str(request.getfixturevalue("apache_kafka").bootstrap_servers)
    delete_topics(servers)
    return {"KAFKA__BOOTSTRAP_SERVERS": servers}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
async def test_run_ends_within_two_seconds(
    start: Start, kafka_settings: dict[str, str], driver: Driver, number: signal.Signals
) -> None:
    """With idle clients the program ends in under two seconds, with exit code 0, and tells its clients."""
    program = start("run", "--port", "0", **kafka_settings)
    await trio.to_thread.run_sync(lambda: program.wait_open().wait_ready())
    clients = [
        await driver.open(program.url, transports=t, reconnection=False)
        for t in (None, ["websocket"], ["websocket"], ["polling"])
    ]
    await settle(clients[1], new_city())
    await clients[1].event(TICKER_RESPONSE)
    ended = await trio.to_thread.run_sync(lambda: program.stop(number))
    assert ended.code == 0, program.tail()
    assert ended.seconds < STOP_LIMIT
    assert "Traceback" not in program.text()
    for client in clients:
        await client.wait("disconnect")
    assert not (program.directory / "flux.json").exists()


@pytest.mark.parametrize("role", [("bff", "--port", "0"), ("service", "crypto")], ids=["bff", "service"])
async def test_roles_end_within_two_seconds(
    start: Start, kafka_settings: dict[str, str], role: tuple[str, ...]
) -> None:
    """A BFF and a service alone end as quickly."""
    bff = start("bff", "--port", "0", **kafka_settings)
    await trio.to_thread.run_sync(lambda: bff.wait_open().wait_ready())
    program = bff
    if role[0] == "service":
        program = start(*role, **kafka_settings)
        watch = await trio.to_thread.run_sync(lambda: KafkaWatch(bff.bootstrap_servers).start())
        try:
            await watch.wait_record(COINS)  # it is at work
        finally:
            await trio.to_thread.run_sync(watch.stop)
    ended = await trio.to_thread.run_sync(program.stop)
    assert ended.code == 0, program.tail()
    assert ended.seconds < STOP_LIMIT
    assert "Traceback" not in program.text()


async def end_of(program: Program) -> int:
    """Wait for a program that ends by itself, and return its exit code."""
    assert program.process is not None
    with trio.fail_after(20):
        while program.process.poll() is None:  # noqa: ASYNC110 - a process sets no event
            await trio.sleep(0.02)
    return int(program.process.returncode)


async def test_taken_port_is_one_clear_line(start: Start) -> None:
    """A port in use ends the program at once with one line that names it, and no traceback."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        program = start("run", "--port", port)
        assert await end_of(program) != 0
    (line,) = program.text().splitlines()
    assert port in line
    assert "Traceback" not in line


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("HTTP__PORT", "99999", "port"),
        ("HTTP__PORT", "http", "port"),
        ("SIMULATION__TICKER_RATE", "-1", "ticker_rate"),
        ("KAFKA__BOOTSTRAP_SERVERS", "no port", "bootstrap_servers"),
        ("BFF__SHEDULER", "false", "scheduler"),
    ],
)
async def test_bad_setting_is_one_clear_line(start: Start, setting: str, value: str, said: str) -> None:
    """A bad setting ends the program at once with one line that names it, and no traceback."""
    program = start("run", **{setting: value})
    assert await end_of(program) != 0
    (line,) = program.text().splitlines()
    assert said in line.lower()
    assert "Traceback" not in line


@asynccontextmanager
async def relay(port: int, target: str) -> AsyncIterator[None]:
    """Forward connections to a broker: where it is closed, the broker cannot be reached to begin with."""
    host, _, target_port = target.partition(",")[0].rpartition(":")

    async def pump(source: trio.SocketStream, sink: trio.SocketStream) -> None:
        try:
            async for chunk in source:
                await sink.send_all(chunk)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return  # the other direction ended it
        await sink.aclose()

    async def serve(client: trio.SocketStream) -> None:
        async with await trio.open_tcp_stream(host, int(target_port)) as server, trio.open_nursery() as both:
            both.start_soon(pump, client, server)
            both.start_soon(pump, server, client)

    async with trio.open_nursery() as nursery:
        await nursery.start(partial(trio.serve_tcp, serve, port, host="127.0.0.1"))
        yield
        nursery.cancel_scope.cancel()


@one_client
async def test_unreachable_broker_is_told_and_heals(
    start: Start, apache_kafka: ApacheKafka, systems: Systems, driver: Driver
) -> None:
    """Without Kafka the door opens, not ready; clients see loading and errors; it heals when Kafka comes."""
    systems.stop()
    delete_topics(apache_kafka.bootstrap_servers)
    port = free_port()
    program = start("run", "--port", "0", KAFKA__BOOTSTRAP_SERVERS=f"127.0.0.1:{port}")
    await trio.to_thread.run_sync(program.wait_open)
    assert program.get("/livez").status == 200
    not_ready = program.get("/readyz")
    assert not_ready.status == 503
    assert not_ready.json()
    client = await driver.open(program.url, transports=["websocket"])
    city = new_city()
    (told,) = await client.call("userLocationUpdate", {"city": city})
    assert is_error(told)
    assert await client.event(weather_event(city), is_error) == told
    assert is_loading((await client.call("cryptoTopMoversRequest"))[0])
    await client.event(MOVERS_RESPONSE, is_error)
    assert is_loading((await client.call("cryptoTopCoinsRequest"))[0])
    place = client.mark()
    async with relay(port, apache_kafka.bootstrap_servers):
        await trio.to_thread.run_sync(program.wait_ready)
        await client.event(COINS_RESPONSE, lambda p: p["status"] == "success", after=place, timeout=30)
        await settle(client, city)
        await client.event(weather_event(city), lambda p: p["status"] == "success", after=place, timeout=30)
        await trio.to_thread.run_sync(program.stop)
    assert "Traceback" not in program.text()


@one_client
async def test_service_waits_for_the_broker_of_this_machine(
    start: Start, driver: Driver, systems: Systems
) -> None:
    """A service that was started first finds the BFF's embedded broker when it comes."""
    systems.stop()
    start("service", "weather")
    bff = start("bff", "--port", "0")
    await trio.to_thread.run_sync(lambda: bff.wait_open().wait_ready())
    client = await driver.open(bff.url, transports=["websocket"])
    city = new_city()
    await settle(client, city)
    await client.event(weather_event(city), lambda p: p["status"] == "success")


@one_client
async def test_killed_service_leaves_its_command_to_the_next(
    start: Start, kafka_settings: dict[str, str], driver: Driver
) -> None:
    """At-least-once: a service killed in the middle of a fetch loses nothing, and no other domain notices."""
    # A real broker takes a killed member for alive until its session times out; its least is six seconds.
    quick = {"KAFKA__CONFIG": '{"session.timeout.ms": "6000"}'} if kafka_settings else {}
    bff = start("bff", "--port", "0", **kafka_settings)
    await trio.to_thread.run_sync(lambda: bff.wait_open().wait_ready())
    start("service", "crypto", **kafka_settings)
    weather = start("service", "weather", SIMULATION__FETCH_DELAY="3", **kafka_settings, **quick)
    watch = await trio.to_thread.run_sync(lambda: KafkaWatch(bff.bootstrap_servers).start())
    try:
        client = await driver.open(bff.url, transports=["websocket"])
        first, second = new_city(), new_city()
        await settle(client, first)
        await client.event(weather_event(first), lambda p: p["status"] == "success", timeout=30)
        await settle(client, second)
        await watch.wait_record(FETCH, lambda r: r.at("data", "city") == second)
        await trio.sleep(0.3)  # it has the command, and waits for its source
        weather.kill()
        place = client.mark()
        await client.event(TICKER_RESPONSE, after=place)
        assert not watch.seen(WEATHER, lambda r: r.at("data", "city") == second)
        start("service", "weather", **kafka_settings, **quick)
        await client.event(weather_event(second), lambda p: p["status"] == "success", timeout=40)
    finally:
        await trio.to_thread.run_sync(watch.stop)


async def test_health_and_metrics_are_served(start: Start, systems: Systems) -> None:
    """The door answers `/livez`, `/readyz` and `/metrics`."""
    systems.stop()
    program = start("run", "--port", "0")
    await trio.to_thread.run_sync(lambda: program.wait_open().wait_ready())
    assert program.get("/livez").status == 200
    assert program.get("/readyz").json()["status"] == "ready"
    assert {name.partition("_")[0] for name, _, _ in program.samples()} >= {"flux", "process"}
    assert program.get("/no-such-page").status == 404
