"""A consumer that makes no progress is noticed, given up with a reason, and started anew."""

import random
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import structlog.testing
import trio
import trio.testing
from attrs import define, field
from bus_checker import CONSUMER, PRODUCER, record, take, takes_nothing, text
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from flux.domains.domain import BFF, ServiceContext
from flux.domains.providers import SimulationOptions
from flux.domains.registry import ALL_TOPICS
from flux.domains.weather import WEATHER
from flux.errors import BrokenError
from flux.messages import Record
from flux.metrics import REGISTRY
from flux.nurseries import Child, Supervisor
from flux.transport.kafka import consumer as consumer_module
from flux.transport.kafka import watchdog
from flux.transport.kafka.bus import Subscription, Topic
from flux.transport.kafka.confluent import ConfluentBus
from flux.transport.kafka.embedded import EmbeddedBroker
from flux.transport.kafka.follower import FollowPlan
from flux.transport.kafka.subscription import GroupPlan
from flux.transport.kafka.watchdog import LagWatch, StuckError, watch_thread

TOPIC = Topic("things", PRODUCER, CONSUMER, partitions=2)
ONE, OTHER = ("things", 0), ("things", 1)


@define
class Silent:
    """As much of a Consumer as the watch asks.

    Args:
        ends: the offset behind the last record of each partition; None: the broker does not answer.
        questions: the partitions that were asked for.
    """

    ends: dict[tuple[str, int], int | None]
    questions: list[tuple[str, int]] = field(factory=list)

    def assignment(self) -> list[TopicPartition]:
        """Return every partition."""
        return [TopicPartition(*partition) for partition in self.ends]

    def get_watermark_offsets(self, partition: TopicPartition, *, timeout: float) -> tuple[int, int] | None:
        """Return what the broker has."""
        assert timeout <= 1
        self.questions.append((partition.topic, partition.partition))
        end = self.ends[partition.topic, partition.partition]
        if end is None:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        return 0, end


def look(
    watch: LagWatch, consumer: Any, begin: int, seconds: int, following: dict[tuple[str, int], int]
) -> None:
    """Have the watch look each second."""
    for second in range(begin, begin + seconds):
        watch.check(consumer, following, float(second))


def test_a_partition_whose_records_do_not_come_is_stuck() -> None:
    """Half a minute of silence, then half a minute behind: the error says where it stands."""
    watch, consumer = LagWatch(), Silent({ONE: 5})
    watch.reached(ONE, 3)
    look(watch, consumer, 100, 60, {})
    with pytest.raises(StuckError, match=r"things/0 .* up to offset 3, .* up to 5"):
        look(watch, consumer, 160, 10, {})


def test_a_partition_that_never_said_anything_is_stuck() -> None:
    """Even an empty one tells its end, and soon."""
    watch, consumer = LagWatch(), Silent({ONE: 0})
    look(watch, consumer, 100, 10, {})
    with pytest.raises(StuckError, match="reading never began"):
        look(watch, consumer, 110, 10, {})


@pytest.mark.parametrize("reached", [5, 7])
def test_a_partition_read_to_its_end_is_not_stuck(reached: int) -> None:
    """Its end may lie behind its last record; it is asked for seldom."""
    watch, consumer = LagWatch(), Silent({ONE: 5})
    watch.reached(ONE, reached)
    look(watch, consumer, 100, 1000, {ONE: 4})
    assert 0 < len(consumer.questions) <= 1000 / watchdog.CHECK_SECONDS


def test_a_partition_that_moves_is_never_asked_for() -> None:
    """The question costs the records that come meanwhile some time."""
    watch, consumer = LagWatch(), Silent({ONE: 10_000, OTHER: 0})
    watch.reached(OTHER, 0)
    for second in range(200):
        watch.check(consumer, {ONE: second}, float(second))  # type: ignore[arg-type]  # as much as is asked
    assert set(consumer.questions) == {OTHER}


def test_one_stuck_partition_among_many_is_found() -> None:
    """The silent ones are asked for in turn."""
    consumer = Silent({("things", number): 1 for number in range(20)})
    watch = LagWatch()
    for number in range(19):
        watch.reached(("things", number), 1)
    with pytest.raises(StuckError, match="things/19"):
        look(watch, consumer, 100, 300, {})


def test_a_broker_that_does_not_answer_is_no_reason() -> None:
    """Only between two answers may records be missed; an outage between them begins the wait anew."""
    watch, consumer = LagWatch(), Silent({ONE: 5})
    watch.reached(ONE, 3)
    look(watch, consumer, 100, 40, {})
    consumer.ends[ONE] = None
    look(watch, consumer, 140, 60, {})
    consumer.ends[ONE] = 5
    look(watch, consumer, 200, 30, {})
    with pytest.raises(StuckError):
        look(watch, consumer, 230, 10, {})


def test_a_consumer_that_had_to_wait_is_excused() -> None:
    """A reader that stands still is back-pressure."""
    watch, consumer = LagWatch(), Silent({ONE: 5})
    watch.reached(ONE, 3)
    for begin in range(100, 1000, 50):
        look(watch, consumer, begin, 50, {})
        watch.excuse()


def test_a_partition_that_left_is_forgotten() -> None:
    """What is known of it does not count when it comes back."""
    watch, consumer = LagWatch(), Silent({ONE: 5})
    watch.reached(ONE, 5)
    look(watch, consumer, 100, 10, {})
    look(watch, Silent({}), 110, 10, {})
    with pytest.raises(StuckError):
        look(watch, consumer, 120, 20, {})


def test_a_partition_that_was_lost_must_begin_anew() -> None:
    """Also where it came back between two looks: its end was known, and is told once more."""
    watch, consumer = LagWatch(), Silent({ONE: 5, OTHER: 5})
    watch.reached(ONE, 5)
    watch.reached(OTHER, 5)
    look(watch, consumer, 100, 100, {})
    watch.forget(ONE)
    with pytest.raises(StuckError, match="things/0"):
        look(watch, consumer, 200, 20, {})


async def test_a_thread_without_a_turn_hangs(autojump_clock: trio.testing.MockClock) -> None:
    """It is told once, after the bound, and not while the thread makes turns."""
    hung: list[float] = []
    turns = 0

    def count() -> int:
        nonlocal turns
        if trio.current_time() < 1000:
            turns += 1
        return turns

    await watch_thread(count, hung.append)
    assert hung == [watchdog.HUNG_SECONDS]
    assert 1000 + 0.8 * watchdog.HUNG_SECONDS < trio.current_time() < 1000 + 1.2 * watchdog.HUNG_SECONDS


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the bounds be parts of a second."""
    monkeypatch.setattr(watchdog, "BEHIND_SECONDS", 0.5)
    monkeypatch.setattr(watchdog, "BEGIN_SECONDS", 0.5)
    monkeypatch.setattr(watchdog, "CHECK_SECONDS", 0.02)
    monkeypatch.setattr(watchdog, "HUNG_SECONDS", 0.6)
    monkeypatch.setattr(consumer_module, "CLOSE_SECONDS", 0.3)


@pytest.fixture
def bus(embedded_broker: EmbeddedBroker) -> ConfluentBus:
    """A bus over the embedded broker."""
    embedded_broker.create_topics([TOPIC])
    return ConfluentBus([TOPIC], bootstrap_servers=embedded_broker.bootstrap_servers, broker=embedded_broker)


def stuck(group: str, cause: str) -> float:
    """Return how many consumers were given up for that cause."""
    labels = {"group": group, "cause": cause}
    return REGISTRY.get_sample_value("flux_kafka_consumers_stuck_total", labels) or 0.0


async def read_for(seconds: float, reader: Subscription) -> None:
    """Receive whatever comes for so long."""
    with trio.move_on_after(seconds):
        while True:
            await reader.receive()


@pytest.mark.usefixtures("quick")
async def test_healthy_consumers_are_left_alone(bus: ConfluentBus, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through many bounds: empty partitions, records now and then, and members that come and go."""
    monkeypatch.setattr(watchdog, "HUNG_SECONDS", 3)
    client, sender = bus.client(CONSUMER), bus.client(PRODUCER)
    with trio.fail_after(40), structlog.testing.capture_logs() as logs:
        async with (
            trio.open_nursery() as nursery,
            client.follow([TOPIC.name], replay=0) as follower,
            client.subscribe([TOPIC.name], group="healthy") as subscription,
        ):
            await nursery.start(bus.run)
            await follower.caught_up()
            assert await takes_nothing(follower, 1.5)
            for number in range(3):
                await sender.publish(record(TOPIC, f"{number}", f"{number}"))
                [received] = await take(follower, 1)
                assert text(received) == f"{number}"
                assert await takes_nothing(follower, 0.7)
            await take(subscription, 3)
            async with client.subscribe([TOPIC.name], group="healthy") as second:
                await read_for(2.5, second)
            await read_for(2.5, subscription)
            nursery.cancel_scope.cancel()
    assert not [line for line in logs if line["event"] == "consumer broken"]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("reader", ["follower", "subscription"])
async def test_a_consumer_whose_records_do_not_come_is_broken(
    bus: ConfluentBus, monkeypatch: pytest.MonkeyPatch, reader: str
) -> None:
    """A partition that is paused by mistake stands for any fault that keeps its records away."""
    pausing = threading.Event()
    plan: Any = FollowPlan if reader == "follower" else GroupPlan
    tick = plan.tick

    def tick_then_pause(plan: Any, consumer: Any, now: float) -> None:
        tick(plan, consumer, now)
        if pausing.is_set():
            consumer.pause(consumer.assignment())

    monkeypatch.setattr(plan, "tick", tick_then_pause)
    client, sender = bus.client(CONSUMER), bus.client(PRODUCER)
    group = "flux.consumer.follower" if reader == "follower" else "stuck"
    before = stuck(group, "records")
    opening: Any = (
        client.follow([TOPIC.name], replay=0)
        if reader == "follower"
        else client.subscribe([TOPIC.name], group=group)
    )
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery, opening as consumer:
            await nursery.start(bus.run)
            if reader == "follower":
                await consumer.caught_up()  # its beginning is known: what comes from here on is news to it
            await sender.publish(record(TOPIC, "before"))
            await take(consumer, 1)
            pausing.set()
            await trio.sleep(0.3)
            await sender.publish(record(TOPIC, "during"))
            with pytest.raises(BrokenError, match=f"consumer of {group} failed: no record of things/"):
                await consumer.receive()
            nursery.cancel_scope.cancel()
    assert stuck(group, "records") - before == 1


OFFSET_FETCH, NOT_COORDINATOR = 9, 16


@pytest.mark.usefixtures("quick")
async def test_a_consumer_that_is_not_told_where_to_begin_is_broken(
    bus: ConfluentBus, embedded_broker: EmbeddedBroker
) -> None:
    """The coordinator answers the question for its offsets with one error, and librdkafka asks no more."""
    with trio.fail_after(20):
        async with (
            trio.open_nursery() as nursery,
            bus.client(CONSUMER).subscribe([TOPIC.name], group="beginner") as subscription,
        ):
            embedded_broker.push_errors(OFFSET_FETCH, [NOT_COORDINATOR])
            await nursery.start(bus.run)
            await bus.client(PRODUCER).publish(record(TOPIC, "waiting"))
            with pytest.raises(BrokenError, match=r"no record of things/. came .* reading never began"):
                await subscription.receive()
            nursery.cancel_scope.cancel()


@pytest.fixture
def released() -> Iterator[threading.Event]:
    """An event that a thread may wait for; it is set at the end, so that no thread stays behind."""
    event = threading.Event()
    yield event
    event.set()


@pytest.mark.usefixtures("quick")
async def test_a_service_whose_consumer_hangs_is_restarted(
    embedded_broker: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch, released: threading.Event
) -> None:
    """The first consumer's thread never comes back; the supervisor starts the service anew, which serves."""
    hanging: list[GroupPlan] = []
    tick = GroupPlan.tick

    def hang_once(plan: GroupPlan, consumer: Any, now: float) -> None:
        if not hanging:
            hanging.append(plan)
        if plan is hanging[0]:
            released.wait(30)
        tick(plan, consumer, now)

    monkeypatch.setattr(GroupPlan, "tick", hang_once)
    embedded_broker.create_topics(ALL_TOPICS)
    bus = ConfluentBus(
        ALL_TOPICS, bootstrap_servers=embedded_broker.bootstrap_servers, broker=embedded_broker
    )
    context = ServiceContext(
        client=bus.client("weather"), simulation=SimulationOptions(seed=7), rng=random.Random(7)
    )
    tree = Supervisor("domains", [Child("weather", WEATHER.service(context))])
    fetch, updated = WEATHER.commands[0].topic.name, WEATHER.feeds[0].topic.name
    before = stuck("flux.weather", "thread")
    with trio.fail_after(40), structlog.testing.capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            await nursery.start(bus.run)
            await nursery.start(tree)
            async with bus.client(BFF).follow([updated], replay=10) as follower:
                command = Record(fetch, b'{"event":"locationUpdate","data":{"city":"Oslo"}}', b"oslo")
                await bus.client(BFF).publish(command)
                [answer] = await take(follower, 1)
            (node,) = tree.tree().children
            nursery.cancel_scope.cancel()
    assert answer.key == b"oslo"
    assert node.restarts == 1
    assert "thread hangs" in (node.last_error or "")
    assert stuck("flux.weather", "thread") - before == 1
    assert [line["event"] for line in logs].count("consumer broken") == 1
