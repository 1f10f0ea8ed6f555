"""The ticker: an exact rate, and no backlog whatever the broker does."""

import json
import math
import random
from datetime import datetime
from typing import Any

import pytest
import trio
import trio.lowlevel
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.typing import EventDict

from flux.domains.crypto.outlet import TickOutlet
from flux.domains.crypto.pace import Flow, Pace
from flux.domains.crypto.simulated import SimulatedCrypto
from flux.domains.crypto.ticker import SimulatedTicker
from flux.domains.crypto.views import TICKER
from flux.domains.domain import ServiceContext
from flux.domains.providers import SimulationOptions
from flux.errors import BrokenError, LocalError
from flux.messages import Record
from flux.metrics import REGISTRY
from flux.nurseries.service import Service
from flux.nurseries.together import together
from flux.transport.kafka.memory import MemoryBus

TOPIC = "crypto.ticker.event.updated"


def ticker(context: ServiceContext, rate: float) -> Service:
    """Return a service that publishes simulated ticks."""
    source = SimulatedCrypto(SimulationOptions(seed=7, products=10), now=context.now)
    outlet = TickOutlet(context)
    return together(outlet.run, SimulatedTicker(source, outlet, rate=rate, now=context.now).run)


def ticks(outcome: str) -> float:
    """Return how many ticks ended so."""
    return REGISTRY.get_sample_value("flux_ticks_total", {"outcome": outcome}) or 0.0


@pytest.mark.parametrize("rate", [0.5, 20, 333, 2_000])
async def test_the_rate_is_exact(rate: float, bus: MemoryBus, make_context: Any, autojump_clock: Any) -> None:
    """After ten seconds there are ten times the rate, none of them more than 50 ms late."""
    with trio.move_on_after(10.04):
        await ticker(make_context("crypto"), rate)()
    records = bus.records(TOPIC)
    assert len(records) == pytest.approx(rate * 10, abs=rate * 0.05 + 1)
    start = records[0].timestamp - min(1_000 / rate, 50)
    for number, record in enumerate(records):
        assert record.timestamp - start - (number + 1) * 1_000 / rate <= 51


async def test_a_tick_is_what_clients_get(bus: MemoryBus, make_context: Any, autojump_clock: Any) -> None:
    """The value is the whole payload, keyed by product, and decodes as the feed's."""
    with trio.move_on_after(5):
        await ticker(make_context("crypto"), 20)()
    for record in bus.records(TOPIC):
        value = json.loads(record.value or b"")
        assert set(value) == {"status", "data", "source", "timestamp"}
        assert (value["status"], value["source"]) == ("success", "simulated")
        assert record.key == value["data"]["product_id"].encode()
        assert TICKER.decode(record.value or b"").data.price == value["data"]["price"]
    assert len({record.key for record in bus.records(TOPIC)}) == 10


async def test_ticks_of_a_product_are_in_order(
    bus: MemoryBus, make_context: Any, autojump_clock: Any
) -> None:
    """Also the confirmed ones, which another task sends, keep their place."""
    with trio.move_on_after(10):
        await ticker(make_context("crypto"), 500)()
    last: dict[Any, int] = {}
    for record in bus.records(TOPIC):
        sequence = json.loads(record.value or b"")["data"]["sequence"]
        assert sequence > last.get(record.key, 0)
        last[record.key] = sequence


async def test_a_broker_that_was_away_gets_no_backlog(
    bus: MemoryBus, make_context: Any, logged: list[EventDict], autojump_clock: Any
) -> None:
    """Ticks of the time without a broker are skipped and counted; there is one log line per change."""
    rate, skipped = 100, ticks("skipped")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ticker(make_context("crypto"), rate))
        await trio.sleep(5)
        bus.set_down("gone")
        before = len(bus.records(TOPIC))
        await trio.sleep(60)
        bus.set_up()
        await trio.lowlevel.checkpoint()
        late = len(bus.records(TOPIC)) - before
        await trio.sleep(5)
        after = len(bus.records(TOPIC)) - before - late
        nursery.cancel_scope.cancel()
    assert late <= 2 * rate  # what was sent before the missing report was noticed, at most
    assert 2 * rate <= after <= 5 * rate + 1
    assert ticks("skipped") - skipped >= 55 * rate
    assert [line["event"] for line in logged] == [
        "ticks are skipped until the broker is back",
        "ticks are sent again",
    ]


class SlowClient:
    """A client whose producer's queue is full: each record waits, then is taken or refused."""

    principal = "crypto"

    def __init__(self, wait: float, *, refuse: bool) -> None:
        self.wait, self.refuse = wait, refuse
        self.taken: list[tuple[float, Record]] = []

    async def send(self, record: Record) -> None:
        """Wait, then take or refuse."""
        await trio.sleep(self.wait)
        if self.refuse:
            raise BrokenError("queue full")
        self.taken.append((trio.current_time(), record))

    publish = send


@pytest.mark.parametrize("refuse", [True, False])
async def test_a_full_queue_makes_ticks_skip_not_wait(
    refuse: bool, make_context: Any, logged: list[EventDict], autojump_clock: Any
) -> None:
    """A tick is made when it is sent; those that fell due while sending waited are not made up for."""
    client = SlowClient(2.0, refuse=refuse)
    context = evolve(make_context("crypto"), client=client)
    epoch = context.now().timestamp() - trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ticker(context, 100))
        await trio.sleep(60)
        assert len(client.taken) <= 62
        client.wait, client.refuse = 0.0, False
        await trio.sleep(60)
        before = len(client.taken)
        await trio.sleep(10)
        nursery.cancel_scope.cancel()
    assert len(client.taken) - before == pytest.approx(1_000, abs=10)
    for time, record in client.taken:
        made = datetime.fromisoformat(json.loads(record.value or b"")["data"]["time"]).timestamp() - epoch
        assert time - made <= 2.25
    times = [time for time, _ in client.taken]
    assert all(times[n + 30] - times[n] > 0.05 for n in range(len(times) - 30))  # no burst
    changes = [line["event"].partition(" until")[0] for line in logged]
    assert changes == ["ticks are skipped", "ticks are sent again"] * (len(changes) // 2)
    assert bool(changes) or not refuse


async def test_a_rate_of_zero_is_silence(bus: MemoryBus, make_context: Any, autojump_clock: Any) -> None:
    """The ticker can be switched off."""
    with trio.move_on_after(10):
        await ticker(make_context("crypto"), 0)()
    assert bus.records(TOPIC) == []


@pytest.mark.parametrize("rate", [-1, math.nan, math.inf, 10_001])
async def test_a_wrong_rate_is_refused_at_once(rate: float, make_context: Any) -> None:
    """A setting that makes no sense is an error where the service is made."""
    with pytest.raises(LocalError, match="rate"):
        ticker(make_context("crypto"), rate)


@settings(deadline=None)
@given(
    st.floats(0.1, 5_000),
    st.floats(0, 1e6),
    st.lists(st.floats(0, 0.2), max_size=50),
)
def test_a_pace_neither_loses_nor_invents_ticks(rate: float, start: float, delays: list[float]) -> None:
    """However late it is woken, ticks sent and skipped add up to the rate times the time."""
    pace, now, total = Pace(rate, start), start, 0
    for delay in delays:
        now = pace.next_wake(now) + delay
        send, late = pace.due(now)
        assert send <= max(1, rate * 0.25)
        total += send + late
    assert total == pytest.approx((now - start) * rate, abs=1.01)


def test_a_pace_skips_what_is_too_late() -> None:
    """After a pause of a minute only the last quarter of a second is sent."""
    assert Pace(100, 0.0).due(60.0) == (25, 5975)


def test_a_flow_probes_once_a_second_and_backs_off_while_away() -> None:
    """One report a second keeps it open; failures make the probes rarer, up to the bound."""
    flow = Flow(random.Random(1))
    assert flow.wants_probe(0.0)
    flow.asked(0.0)
    assert not flow.wants_probe(0.5)
    assert not flow.overdue(0.9)
    assert not flow.reported(0.95)
    assert not flow.wants_probe(1.5)
    flow.asked(2.0)
    assert flow.overdue(3.1)
    assert not flow.overdue(3.2)
    assert flow.away
    waits, now = [], 4.0
    for _ in range(8):
        assert not flow.failed(now, probe=True)
        wait = 0.0
        while not flow.wants_probe(now + wait):
            wait += 0.01
        waits.append(wait)
        now += wait
        flow.asked(now)
    assert max(waits) <= 2.02
    assert waits[0] == pytest.approx(0.2, abs=0.02)
    assert max(waits) > 0.5
    assert flow.reported(now)
    assert not flow.away
