"""Faults of a real broker under load: it dies, it stalls, it goes in the middle of a rebalance."""

import pytest
import trio
from durations import lasting
from fault_load import load
from stage import Stage

pytestmark = pytest.mark.kafka


async def test_a_killed_broker_costs_nothing_that_was_accepted(stage: Stage) -> None:
    """Kill -9 of the broker under load; away for long; back on the same data."""
    flux = await stage.ready("run", "--port", "0")
    watch = await stage.watch()
    async with load(stage.driver, flux.url) as work:
        await work.answers(50)
        stage.kafka.kill()
        await trio.sleep(lasting(2, 60))
        assert flux.get("/livez").status == 200
        await trio.to_thread.run_sync(stage.kafka.start)
        await work.answers(50)
    stage.note(await work.check(watch))
    assert "consumer broken" not in flux.text()  # an outage alone is no reason to start anything anew
    assert "Traceback" not in flux.text()


async def test_a_frozen_broker_costs_nothing_that_was_accepted(stage: Stage) -> None:
    """SIGSTOP of the broker under load: connections stay open, nothing answers; then it goes on."""
    flux = await stage.ready("run", "--port", "0")
    watch = await stage.watch()
    async with load(stage.driver, flux.url) as work:
        await work.answers(50)
        stage.kafka.freeze()
        await trio.sleep(lasting(2, 60))
        assert flux.get("/livez").status == 200
        stage.kafka.thaw()
        await work.answers(50)
    stage.note(await work.check(watch))
    assert "Traceback" not in flux.text()
