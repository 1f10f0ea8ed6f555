"""What a group's member commits, gives up and forgets when partitions move (without a broker)."""

from typing import Any

from attrs import define, field
from confluent_kafka import KafkaError, TopicPartition

from flux.messages import Received
from flux.transport.kafka.bus import Batch
from flux.transport.kafka.handover import Arrival, Handover
from flux.transport.kafka.subscription import ConfluentSubscription, GroupPlan

PARTITION = ("things", 0)


@define
class Committer:
    """As much of a Consumer as a plan uses; notes the commits."""

    commits: list[tuple[list[tuple[str, int, int]], bool]] = field(factory=list)
    callbacks: dict[str, Any] = field(factory=dict)

    def subscribe(self, topics: list[str], **callbacks: Any) -> None:
        """Keep the callbacks."""
        assert topics
        self.callbacks = callbacks

    def commit(self, *, offsets: list[TopicPartition], asynchronous: bool) -> None:
        """Note the offsets."""
        self.commits.append(([(o.topic, o.partition, o.offset) for o in offsets], asynchronous))


def member() -> tuple[Any, GroupPlan]:
    """Return a joined member's consumer and plan."""
    consumer: Any = Committer()
    plan = GroupPlan(["things"], "group")
    plan.begin(consumer)
    return consumer, plan


def received(offset: int, partition: int = 0) -> Received:
    """Return a record."""
    return Received("things", partition, offset, 0, b"")


def test_a_revoked_partition_is_committed_at_the_last_moment() -> None:
    """What was done before the revocation is committed synchronously, then the partition is lost."""
    consumer, plan = member()
    plan.done(PARTITION, 5, 0)
    consumer.callbacks["on_revoke"](consumer, [TopicPartition(*PARTITION)])
    assert consumer.commits == [([("things", 0, 5)], False)]
    plan.done(PARTITION, 6, 0)  # of the time before, marked too late
    plan.tick(consumer, 1.0)
    plan.end(consumer)
    assert len(consumer.commits) == 1


def test_a_lost_partition_is_not_committed() -> None:
    """It is another member's already: a commit could take its progress back."""
    consumer, plan = member()
    plan.done(PARTITION, 5, 0)
    consumer.callbacks["on_lost"](consumer, [TopicPartition(*PARTITION)])
    plan.tick(consumer, 1.0)
    assert consumer.commits == []


def test_commits_are_gathered() -> None:
    """The first comes at once; then only the last offset of a partition counts, and nothing comes twice."""
    consumer, plan = member()
    plan.tick(consumer, 10.0)
    plan.done(PARTITION, 1, 0)
    plan.tick(consumer, 10.05)
    assert consumer.commits == [([("things", 0, 1)], True)]
    plan.done(PARTITION, 2, 0)
    plan.done(PARTITION, 3, 0)
    plan.tick(consumer, 10.1)
    assert len(consumer.commits) == 1
    plan.tick(consumer, 10.3)
    plan.tick(consumer, 12.0)
    plan.end(consumer)
    assert consumer.commits[1:] == [([("things", 0, 3)], True)]


def test_a_failed_commit_is_tried_again_unless_a_newer_one_waits() -> None:
    """The result of a commit comes later; its offsets return to the next one."""
    consumer, plan = member()
    failed = [TopicPartition("things", 0, 5), TopicPartition("things", 1, 7)]
    plan.done(("things", 1), 8, 0)
    plan.on_commit(KafkaError(KafkaError.COORDINATOR_NOT_AVAILABLE), failed)
    plan.tick(consumer, 1.0)
    assert sorted(consumer.commits[0][0]) == [("things", 0, 5), ("things", 1, 8)]
    plan.on_commit(None, failed)
    plan.tick(consumer, 2.0)
    assert len(consumer.commits) == 1


async def test_batches_of_a_partition_that_moved_meanwhile_are_left_out() -> None:
    """They waited in the handover while another member took over, and come again if the partition returns."""
    consumer, plan = member()
    handover = Handover()
    subscription = ConfluentSubscription(handover, plan)
    for _ in range(2):
        assert handover.wait_credit(0)
    handover._arrived(Arrival(Batch([received(0), received(0, partition=1)]), generation=0))
    consumer.callbacks["on_revoke"](consumer, [TopicPartition(*PARTITION)])
    assert list(await subscription.receive()) == [received(0, partition=1)]
    handover._arrived(Arrival(Batch([received(0)]), generation=plan.generation))
    [again] = await subscription.receive()
    subscription.done(again)
    plan.end(consumer)
    assert consumer.commits == [([("things", 0, 1)], True)]


async def test_done_after_the_partition_moved_and_returned_counts_for_the_new_delivery_only() -> None:
    """A record in work when its partition moved is not committed, neither is what follows it."""
    consumer, plan = member()
    handover = Handover()
    subscription = ConfluentSubscription(handover, plan)
    assert handover.wait_credit(0)
    handover._arrived(Arrival(Batch([received(0), received(1)])))
    first, second = await subscription.receive()
    subscription.done(first)
    consumer.callbacks["on_lost"](consumer, [TopicPartition(*PARTITION)])
    subscription.done(second)
    plan.end(consumer)
    assert consumer.commits == []
