"""A client that was told of no broker any more is given up with a reason, and started anew."""

import json
from collections.abc import Iterator

import pytest
import structlog.testing
import trio
from bus_checker import CONSUMER, PRODUCER, record, take, text
from fenced_broker import FencedBroker

from flux.errors import BrokenError
from flux.metrics import REGISTRY
from flux.transport.kafka import broker_watch
from flux.transport.kafka.broker_watch import PATIENCE_SECONDS, STATISTICS_SECONDS, BrokerWatch
from flux.transport.kafka.bus import Topic
from flux.transport.kafka.confluent import ConfluentBus
from flux.transport.kafka.embedded import EmbeddedBroker

TOPIC = Topic("things", PRODUCER, CONSUMER, partitions=1)

LOOKS = round(PATIENCE_SECONDS / STATISTICS_SECONDS)


OLD, YOUNG = 25_000_000, 21_000
"""Microseconds."""


def statistics(**brokers: tuple[str, str, int]) -> str:
    """Return as much of a client's statistics as the watch reads: each broker's source, state and its age."""
    told = {
        name: {"source": source, "state": state, "stateage": age, "toppars": {}}
        for name, (source, state, age) in brokers.items()
    }
    return json.dumps({"name": "flux#consumer-1", "brokers": told, "topics": {}})


@pytest.mark.parametrize(
    "left",
    [
        pytest.param(
            statistics(one=("learned", "INIT", OLD), coordinator=("logical", "TRY_CONNECT", YOUNG)),
            id="dropped",
        ),
        pytest.param(statistics(coordinator=("logical", "INIT", OLD)), id="gone"),
    ],
)
def test_a_client_that_tries_no_broker_for_long_is_stranded(left: str) -> None:
    """Whether the dropped broker is still listed or not."""
    watch = BrokerWatch()
    for _ in range(LOOKS):
        assert not watch.stranded
        watch.take(left)
    assert watch.stranded


@pytest.mark.parametrize(
    "well",
    [
        pytest.param(statistics(one=("learned", "UP", OLD)), id="connected"),
        pytest.param(statistics(one=("learned", "CONNECT", OLD)), id="connecting for long"),
        pytest.param(statistics(one=("configured", "INIT", YOUNG)), id="refused time after time"),
        pytest.param(
            statistics(one=("learned", "INIT", OLD), coordinator=("logical", "UP", OLD)),
            id="idle beside its group",
        ),
    ],
)
def test_a_client_that_is_well_or_waits_for_its_broker_is_not(well: str) -> None:
    """However long it lasts: an outage is no reason to give a client up."""
    watch = BrokerWatch()
    for _ in range(3 * LOOKS):
        watch.take(well)
        assert not watch.stranded


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have clients look after themselves often, and lose patience soon."""
    monkeypatch.setattr(broker_watch, "STATISTICS_SECONDS", 0.2)
    monkeypatch.setattr(broker_watch, "PATIENCE_SECONDS", 1)


@pytest.fixture
def broker(quick: None) -> Iterator[FencedBroker]:
    """A broker that is well."""
    with FencedBroker(TOPIC.name) as broker:
        yield broker


@pytest.fixture
def bus(broker: FencedBroker) -> ConfluentBus:
    """A bus over it that asks for metadata all the time.

    Without a return to the bootstrap servers librdkafka is stranded for certain; with it, where the return is
    called off by another answer that comes at the same moment.
    """
    config = {"topic.metadata.refresh.interval.ms": 100, "metadata.recovery.strategy": "none"}
    return ConfluentBus(
        [TOPIC], bootstrap_servers=broker.bootstrap_servers, config=config, message_timeout=20
    )


def stuck(group: str) -> float:
    """Return how many consumers of a group were given up for want of a broker."""
    labels = {"group": group, "cause": "brokers"}
    return REGISTRY.get_sample_value("flux_kafka_consumers_stuck_total", labels) or 0.0


async def test_a_consumer_without_brokers_is_broken(bus: ConfluentBus, broker: FencedBroker) -> None:
    """The only broker was dropped, and would never be asked again."""
    group = "flux.consumer.follower"
    before = stuck(group)
    with trio.fail_after(20):
        async with bus.client(CONSUMER).follow([TOPIC.name], replay=0) as follower:
            with trio.move_on_after(1) as well:
                await follower.receive()
            assert well.cancelled_caught
            broker.fenced = True
            with pytest.raises(BrokenError, match=f"consumer of {group} failed: it was told of no broker"):
                await follower.receive()
    assert stuck(group) - before == 1


async def test_a_producer_without_brokers_is_replaced(bus: ConfluentBus, broker: FencedBroker) -> None:
    """Who waits for a delivery hears of it, and the producer made anew finds the broker when it is back."""

    async def run(*, task_status: trio.TaskStatus[None]) -> None:
        with pytest.raises(BrokenError, match="producer failed for good: it was told of no broker"):
            await bus.run(task_status=task_status)

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            await nursery.start(run)
            await bus.wait_connected()
            broker.fenced = True
            with pytest.raises(BrokenError):
                await bus.client(PRODUCER).publish(record(TOPIC, "lost"))
        broker.fenced = False
        async with trio.open_nursery() as nursery:
            await nursery.start(bus.run)
            await bus.wait_connected()
            nursery.cancel_scope.cancel()


@pytest.mark.usefixtures("quick")
async def test_an_outage_strands_nobody(embedded_broker: EmbeddedBroker) -> None:
    """Clients that try their broker all the while are left alone, however long it is away."""
    embedded_broker.create_topics([TOPIC])
    servers = embedded_broker.bootstrap_servers
    bus = ConfluentBus([TOPIC], bootstrap_servers=servers, broker=embedded_broker)
    with trio.fail_after(30), structlog.testing.capture_logs() as logs:
        async with (
            trio.open_nursery() as nursery,
            bus.client(CONSUMER).subscribe([TOPIC.name], group="patient") as subscription,
            bus.client(CONSUMER).follow([TOPIC.name], replay=0) as follower,
        ):
            await nursery.start(bus.run)
            await follower.caught_up()
            embedded_broker.set_down()
            await trio.sleep(5)
            embedded_broker.set_up()
            await bus.wait_connected()
            await bus.client(PRODUCER).publish(record(TOPIC, "after"))
            for reader in (subscription, follower):
                assert [text(received) for received in await take(reader, 1)] == ["after"]
            nursery.cancel_scope.cancel()
    assert "consumer broken" not in [line["event"] for line in logs]
