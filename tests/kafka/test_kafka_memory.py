"""What the bus in memory offers to tests beyond the interface."""

import pytest
import trio
import trio.testing
from bus_checker import CONSUMER, PRODUCER, record, take, text

from flux.errors import BrokenError
from flux.transport.kafka.bus import Position, Topic
from flux.transport.kafka.memory import EPOCH_MS, MemoryBus

TOPIC = Topic("things", PRODUCER, CONSUMER, partitions=2)


@pytest.fixture
def bus() -> MemoryBus:
    """A bus with one topic."""
    return MemoryBus([TOPIC])


async def test_injected_records_pass_every_check(
    bus: MemoryBus, autojump_clock: trio.testing.MockClock
) -> None:
    """A test can put in what no principal could, at a partition and time of its own."""
    position = bus.inject(TOPIC.name, b"x" * 2_000_000, b"k", (("h", b"1"),), partition=1, timestamp=7)
    assert position == Position(TOPIC.name, 1, 0)
    async with bus.client(CONSUMER).follow([TOPIC.name], replay=1) as follower:
        [received] = await take(follower, 1)
    assert (received.timestamp, received.headers) == (7, (("h", b"1"),))


async def test_records_are_listed_in_the_order_of_production(
    bus: MemoryBus, autojump_clock: trio.testing.MockClock
) -> None:
    """Over all partitions, with the clock's time."""
    for number in range(6):
        await bus.client(PRODUCER).send(record(TOPIC, f"{number}"))
        await trio.sleep(1)
    records = bus.records(TOPIC.name)
    assert [text(received) for received in records] == ["0", "1", "2", "3", "4", "5"]
    assert [received.timestamp - EPOCH_MS for received in records] == [0, 1000, 2000, 3000, 4000, 5000]


async def test_commits_can_be_read(bus: MemoryBus, autojump_clock: trio.testing.MockClock) -> None:
    """A test sees how far a group has come."""
    bus.inject(TOPIC.name, b"x", partition=0)
    async with bus.client(CONSUMER).subscribe([TOPIC.name], group="group") as subscription:
        [received] = await take(subscription, 1)
        assert bus.committed("group") == {}
        subscription.done(received)
    assert bus.committed("group") == {(TOPIC.name, 0): 1}


async def test_new_partitions_are_read_from_their_beginning(
    bus: MemoryBus, autojump_clock: trio.testing.MockClock
) -> None:
    """Followers and groups notice them."""
    async with (
        bus.client(CONSUMER).follow([TOPIC.name], replay=0) as follower,
        bus.client(CONSUMER).subscribe([TOPIC.name], group="group") as subscription,
    ):
        bus.add_partitions(TOPIC.name, 1)
        bus.inject(TOPIC.name, b"new", partition=2)
        assert [received.partition for received in await take(follower, 1)] == [2]
        assert [received.partition for received in await take(subscription, 1)] == [2]


async def test_publishing_to_a_bus_that_is_down_breaks_after_the_time_out(
    bus: MemoryBus, autojump_clock: trio.testing.MockClock
) -> None:
    """As with a real broker, within the producer's time-out and with the reason."""
    bus.set_down("pulled the plug")
    assert (bus.status.connected, bus.status.reason) == (False, "pulled the plug")
    with pytest.raises(BrokenError, match="within 10 s: pulled the plug"):
        await bus.client(PRODUCER).publish(record(TOPIC, "x"))
    assert trio.current_time() == 10
    with pytest.raises(BrokenError):
        await bus.create_topics()


async def test_what_was_sent_during_a_short_outage_is_delivered(
    bus: MemoryBus, autojump_clock: trio.testing.MockClock
) -> None:
    """The queue keeps a record for the time-out; an older one is lost."""
    bus.set_down()
    await bus.client(PRODUCER).send(record(TOPIC, "too old"))
    await trio.sleep(8)
    await bus.client(PRODUCER).send(record(TOPIC, "young enough"))
    await trio.sleep(8)
    assert bus.records(TOPIC.name) == []
    bus.set_up()
    await bus.wait_connected()
    assert [text(received) for received in bus.records(TOPIC.name)] == ["young enough"]
