"""Topics on a real Apache Kafka: as declared, found when they grow, kept by time."""

import uuid
from datetime import timedelta

import pytest
import trio
from apache_kafka import ApacheKafka
from bus_checker import CONSUMER, PRODUCER, record, take
from confluent_kafka.admin import AdminClient, ConfigResource
from confluent_kafka.cimpl import NewPartitions

from flux.transport.kafka import follower as follower_module
from flux.transport.kafka.bus import Topic
from flux.transport.kafka.confluent import ConfluentBus

pytestmark = pytest.mark.kafka


@pytest.fixture
def topic() -> Topic:
    """A topic of this test."""
    return Topic(f"{uuid.uuid4().hex[:8]}.things", PRODUCER, CONSUMER, 3, timedelta(minutes=30))


def config_of(kafka: ApacheKafka, topic: Topic) -> dict[str, str]:
    """Return the topic's settings on the broker."""
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    [future] = admin.describe_configs([ConfigResource("topic", topic.name)]).values()
    return {name: entry.value for name, entry in future.result(10).items()}


async def test_topics_are_created_as_declared(apache_kafka: ApacheKafka, topic: Topic) -> None:
    """Partitions, retention, deletion instead of compaction, and room for the largest record."""
    bus = ConfluentBus([topic], bootstrap_servers=apache_kafka.bootstrap_servers)
    with trio.fail_after(30):
        assert not (await bus.list_topics())[topic.name].exists
        assert await bus.create_topics() == [topic.name]
        info = (await bus.list_topics())[topic.name]
    assert (len(info.partitions), info.records) == (3, 0)
    settings = config_of(apache_kafka, topic)
    assert settings["retention.ms"] == str(30 * 60 * 1000)
    assert settings["cleanup.policy"] == "delete"
    assert int(settings["max.message.bytes"]) > 1_000_000


async def test_asking_for_a_missing_topic_does_not_create_it(apache_kafka: ApacheKafka, topic: Topic) -> None:
    """Brokers create topics on request by default, with partitions of their own choice; none is made so."""
    bus = ConfluentBus([topic], bootstrap_servers=apache_kafka.bootstrap_servers)
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            await nursery.start(bus.run)
            await bus.wait_connected()
            async with (
                bus.client(CONSUMER).follow([topic.name], replay=0) as follower,
                bus.client(CONSUMER).subscribe([topic.name], group=topic.name),
            ):
                await follower.caught_up()
                await trio.sleep(1)
            assert not (await bus.list_topics())[topic.name].exists
            nursery.cancel_scope.cancel()


async def test_a_follower_notices_new_partitions(
    apache_kafka: ApacheKafka, topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records of a partition that was added later arrive, from its first one."""
    monkeypatch.setattr(follower_module, "REFRESH_SECONDS", 0.3)
    bus = ConfluentBus([topic], bootstrap_servers=apache_kafka.bootstrap_servers)
    admin = AdminClient({"bootstrap.servers": apache_kafka.bootstrap_servers})
    with trio.fail_after(40):
        async with (
            trio.open_nursery() as nursery,
            bus.client(CONSUMER).follow([topic.name], replay=0) as follower,
        ):
            await bus.create_topics()
            await follower.caught_up()
            [future] = admin.create_partitions([NewPartitions(topic.name, 4)]).values()
            future.result(10)
            await nursery.start(bus.run)
            client = bus.client(PRODUCER)
            count, landed = 0, 0
            while landed == 0:  # a producer, too, learns of the partition only after a while
                position = await client.publish(record(topic, f"{count}", f"{count}"))
                count += 1
                landed += position.partition == 3
            records = await take(follower, count)
            nursery.cancel_scope.cancel()
    assert any(received.partition == 3 and received.offset == 0 for received in records)
