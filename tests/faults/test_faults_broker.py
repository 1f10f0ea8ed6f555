"""Faults of a real broker under load: it dies, it stalls, it goes in the middle of a rebalance."""

import pytest
import trio
from apache_kafka import ApacheKafka
from driver import Driver
from durations import lasting
from fault_load import Note, Start, Watching, load
from program import Program

pytestmark = pytest.mark.kafka


@pytest.fixture
async def flux(start: Start, on_kafka: dict[str, str]) -> Program:
    """Flux in one process over the breakable node, ready."""
    program = start("run", "--port", "0", **on_kafka)
    return await trio.to_thread.run_sync(lambda: program.wait_open().wait_ready())


async def test_a_killed_broker_costs_nothing_that_was_accepted(
    flux: Program, kafka: ApacheKafka, driver: Driver, watching: Watching, note: Note
) -> None:
    """Kill -9 of the broker under load; away for long; back on the same data."""
    watch = await trio.to_thread.run_sync(watching, kafka.bootstrap_servers)
    async with load(driver, flux.url) as work:
        await work.answers(50)
        kafka.kill()
        await trio.sleep(lasting(2, 60))
        assert flux.get("/livez").status == 200
        await trio.to_thread.run_sync(kafka.start)
        await work.answers(50)
    note(await work.check(watch))
    assert "Traceback" not in flux.text()


async def test_a_frozen_broker_costs_nothing_that_was_accepted(
    flux: Program, kafka: ApacheKafka, driver: Driver, watching: Watching, note: Note
) -> None:
    """SIGSTOP of the broker under load: connections stay open, nothing answers; then it goes on."""
    watch = await trio.to_thread.run_sync(watching, kafka.bootstrap_servers)
    async with load(driver, flux.url) as work:
        await work.answers(50)
        kafka.freeze()
        await trio.sleep(lasting(2, 60))
        assert flux.get("/livez").status == 200
        kafka.thaw()
        await work.answers(50)
    note(await work.check(watch))
    assert "Traceback" not in flux.text()
