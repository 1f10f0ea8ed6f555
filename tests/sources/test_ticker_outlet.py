"""The ticks' way to the broker: their order, and what becomes of them while it does not take them."""

import random
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing
from source_doubles import virtual_now
from trio.testing import MockClock

from flux.domains.crypto.outlet import TickOutlet
from flux.domains.crypto.products import KNOWN, Products
from flux.domains.crypto.simulated import SimulatedCrypto
from flux.domains.crypto.standin import StandIn
from flux.domains.crypto.ticker import SimulatedTicker
from flux.domains.domain import ServiceContext
from flux.domains.providers import SimulationOptions
from flux.messages import Record


def made(client: Any) -> TickOutlet:
    """Return an outlet to a client."""
    return TickOutlet(ServiceContext(client=client, now=virtual_now, rng=random.Random(1)))


class FullQueue:
    """A client whose producer's queue is full."""

    principal = "crypto"

    async def send(self, _: Record) -> None:
        """Wait, as long as the queue is full: for ever."""
        await trio.sleep_forever()

    async def publish(self, _: Record) -> None:
        """Be delivered at once, so that the broker counts as there."""
        await trio.lowlevel.checkpoint()


async def test_a_full_queue_holds_the_feed_up_for_half_of_the_time_at_most(autojump_clock: MockClock) -> None:
    """A tick waits a quarter of a second, and the next quarter's are skipped without waiting."""
    outlet = made(FullQueue())
    async with trio.open_nursery() as nursery:
        await nursery.start(outlet.run)
        await outlet.put("BTC-USD", b"{}")
        for _ in range(2):
            began = trio.current_time()
            await outlet.put("BTC-USD", b"{}")
            assert trio.current_time() - began == pytest.approx(0.25)
            for _ in range(24):
                began = trio.current_time()
                await outlet.put("BTC-USD", b"{}")
                assert trio.current_time() == began
                await trio.sleep(0.01)
            await trio.sleep(0.011)
        nursery.cancel_scope.cancel()


class Gate:
    """A client that takes nothing until it is opened, then all that waits, in no order."""

    principal = "crypto"

    def __init__(self) -> None:
        self.open = trio.Event()
        self.taken: list[bytes | None] = []

    async def send(self, record: Record) -> None:
        """Wait for the opening."""
        await self.open.wait()
        self.taken.append(record.value)

    async def publish(self, _: Record) -> None:
        """Be delivered at once, so that the broker counts as there."""
        await trio.lowlevel.checkpoint()


async def test_ticks_of_several_makers_go_out_as_they_were_offered(autojump_clock: MockClock) -> None:
    """Also while the producer's queue is full: a real tick never overtakes a simulated one."""
    client = Gate()
    outlet = made(client)
    offered = [str(number).encode() for number in range(20)]
    async with trio.open_nursery() as nursery:
        await nursery.start(outlet.run)
        await outlet.put("BTC-USD", b"probe")
        async with trio.open_nursery() as makers:
            for value in offered:
                makers.start_soon(outlet.put, "BTC-USD", value)
                await trio.testing.wait_all_tasks_blocked()
            client.open.set()
        nursery.cancel_scope.cancel()
    assert client.taken == offered


class Instant:
    """A client that takes at once, and does something then."""

    principal = "crypto"

    def __init__(self) -> None:
        self.taken: list[bytes | None] = []
        self.then: Callable[[], object] = lambda: None

    async def send(self, record: Record) -> None:
        """Take it."""
        self.taken.append(record.value)
        self.then()
        await trio.lowlevel.cancel_shielded_checkpoint()

    publish = send


async def test_a_probe_is_not_overtaken(autojump_clock: MockClock) -> None:
    """The tick whose report is awaited goes out before those that are offered after it."""
    client = Instant()
    outlet = made(client)
    async with trio.open_nursery() as nursery:
        await nursery.start(outlet.run)
        for second in range(5):
            for number in range(5):
                await outlet.put("BTC-USD", f"{second}.{number}".encode())
            await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert len(client.taken) == 25
    assert client.taken == sorted(client.taken, key=str)


async def test_a_real_tick_ends_a_batch_of_simulated_ones(autojump_clock: MockClock) -> None:
    """Of the ticks that are due together none goes out after the real one."""
    client = Instant()
    outlet, stand_in = made(client), StandIn(1.0)
    stand_in.down()
    client.then = lambda: stand_in.ticked() if len(client.taken) == 7 else None
    source = SimulatedCrypto(SimulationOptions(seed=1), now=virtual_now)
    ticker = SimulatedTicker(source, outlet, rate=1_000, now=virtual_now, stand_in=stand_in)
    async with trio.open_nursery() as nursery:
        await nursery.start(outlet.run)
        await nursery.start(ticker.run)
        await trio.sleep(5)
        nursery.cancel_scope.cancel()
    assert len(client.taken) == 7


def test_products_are_those_of_the_top_coins_then_the_known_ones() -> None:
    """Symbols that no product can have are passed over, twice named ones come once; a change is told once."""
    products = Products()
    assert products.candidates == KNOWN
    changed = products.changed
    products.follow(["PEPE", "pepe", None, "", "A B", "X" * 17, "BTC", "PEPE", "1INCH"])
    assert changed.is_set()
    assert products.candidates[:4] == ("PEPE-USD", "BTC-USD", "1INCH-USD", "ETH-USD")
    assert sorted(products.candidates) == sorted({*KNOWN, "1INCH-USD"})
    changed = products.changed
    products.follow(["PEPE", "BTC", "1INCH"])
    assert not changed.is_set()
