"""A group whose members come and go, and a broker that dies in the middle of it."""

import random

import pytest
import trio
from durations import lasting
from fault_load import load
from rival import Rival, rival
from stage import Stage

pytestmark = pytest.mark.kafka


async def test_a_rebalance_every_second_costs_nothing_that_was_accepted(stage: Stage) -> None:
    """A second member joins and leaves, a second apart; what it had in hand comes again to the first."""
    flux = await stage.ready("run", "--port", "0")
    watch = await stage.watch()
    member = Rival(stage.kafka.bootstrap_servers)
    rebalances = 0
    async with load(stage.driver, flux.url) as work:
        await work.answers(20)
        try:
            for _ in range(lasting(2, 15)):
                member.join()
                await trio.sleep(1)
                await trio.to_thread.run_sync(member.leave)
                await trio.sleep(1)
                rebalances += 2
        finally:
            await trio.to_thread.run_sync(member.leave)
        await work.answers(20)
    stage.note(await work.check(watch, rebalances=rebalances, taken_by_the_other=member.records))
    assert "Traceback" not in flux.text()


async def test_a_broker_that_dies_during_a_rebalance_costs_nothing_that_was_accepted(stage: Stage) -> None:
    """A member joins, and within its rebalance the broker is killed and started again."""
    flux = await stage.ready("run", "--port", "0")
    watch = await stage.watch()
    rng = random.Random(1)
    times = lasting(1, 5)
    async with load(stage.driver, flux.url) as work:
        for _ in range(times):
            await work.answers(20)
            with rival(stage.kafka.bootstrap_servers):
                await trio.sleep(rng.uniform(0.05, 0.4))
                stage.kafka.kill()
                await trio.to_thread.run_sync(stage.kafka.start)
                await trio.sleep(0.5)
        await work.answers(20)
    stage.note(await work.check(watch, kills=times))
    assert "Traceback" not in flux.text()
