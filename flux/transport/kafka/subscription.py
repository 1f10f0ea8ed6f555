"""A group's member over librdkafka: its share of the partitions, and commits of what was handled."""

from collections.abc import Sequence

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from flux.messages import Received
from flux.transport.kafka import offsets
from flux.transport.kafka.bus import Batch, Subscription
from flux.transport.kafka.consumer import Plan
from flux.transport.kafka.handover import Handover

log = structlog.get_logger("flux.kafka")

COMMIT_SECONDS = 0.2
"""How often handled offsets are committed at most; the first after a pause at once. So what a killed process
did and another does again is at most that old. A commit is one small request."""


class GroupPlan(Plan):
    """Consume as a member of a group.

    Args:
        topics: full names.
        group: the group's name.
    """

    def __init__(self, topics: Sequence[str], group: str) -> None:
        self.generation = 0
        self.lost: dict[offsets.TopicPartition, int] = {}
        """The generation from which on a partition's older batches are another member's; read by trio."""
        self.topics = tuple(topics)
        self._group = group
        self._to_commit: dict[offsets.TopicPartition, tuple[int, int]] = {}
        self._next_commit = 0.0

    def done(self, partition: offsets.TopicPartition, offset: int, generation: int) -> None:
        """Have an offset committed, if the partition was not lost since that generation (in any thread)."""
        self._to_commit[partition] = (offset, generation)

    def begin(self, consumer: Consumer) -> None:
        """Join the group."""
        consumer.subscribe(
            list(self.topics), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )

    def tick(self, consumer: Consumer, now: float) -> None:
        """Commit what is due, unless the last commit was less than `COMMIT_SECONDS` ago."""
        if self._to_commit and now >= self._next_commit:
            self._next_commit = now + COMMIT_SECONDS
            due = self._take_due()
            if due:
                consumer.commit(offsets=due, asynchronous=True)

    def end(self, consumer: Consumer) -> None:
        """Commit the rest; the close that follows waits for it, but not long for a broker that is away."""
        due = self._take_due()
        if due:
            consumer.commit(offsets=due, asynchronous=True)

    def on_commit(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        """Take the result of a commit: what failed is tried again with the next one."""
        failed = [partition for partition in partitions if error is not None or partition.error is not None]
        for partition in failed:
            # Generation 0: only if the partition was never lost, as it may be another member's by now.
            self._to_commit.setdefault((partition.topic, partition.partition), (partition.offset, 0))
        if failed:
            reason = error or failed[0].error
            log.info("commit failed; trying again", group=self._group, reason=str(reason))

    def _take_due(self) -> list[TopicPartition]:
        due = []
        for key in list(self._to_commit):
            offset, generation = self._to_commit.pop(key)
            if generation >= self.lost.get(key, 0):
                due.append(TopicPartition(*key, offset))
        return due

    def _on_assign(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        if partitions:
            log.debug("partitions assigned", group=self._group, partitions=_names(partitions))

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        # The last moment in which these offsets are this member's to commit.
        due = self._take_due()
        if due:
            try:
                consumer.commit(offsets=due, asynchronous=False)
            except KafkaException as error:
                log.info("commit at revocation failed", group=self._group, reason=error.args[0].str())
        self._lose(partitions)

    def _on_lost(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        self._lose(partitions)

    def _lose(self, partitions: list[TopicPartition]) -> None:
        if not partitions:
            return
        # In this order: whoever sees the new generation finds its losses.
        for partition in partitions:
            self.lost[partition.topic, partition.partition] = self.generation + 1
        self.generation += 1
        log.debug("partitions revoked", group=self._group, partitions=_names(partitions))


class ConfluentSubscription(Subscription):
    """A group's member, as trio sees it."""

    def __init__(self, handover: Handover, plan: GroupPlan) -> None:
        self._handover = handover
        self._plan = plan
        self._tracker = offsets.OffsetTracker()
        self._seen_generation = 0

    async def receive(self) -> Batch:
        """Wait for the next batch; what went to another member meanwhile is left out."""
        while True:
            arrival = await self._handover.take()
            self._forget_lost()
            lost = self._plan.lost
            records = arrival.records
            if arrival.generation != self._plan.generation:
                records = Batch([
                    record for record in records
                    if arrival.generation >= lost.get((record.topic, record.partition), 0)
                ])  # fmt: skip
            if records:
                self._tracker.delivered(records)
                return records

    def done(self, record: Received) -> None:
        """Mark a record as handled; the commit follows within `COMMIT_SECONDS`, and at the close."""
        self._forget_lost()
        offset = self._tracker.done(record)
        if offset is not None:
            self._plan.done((record.topic, record.partition), offset, self._seen_generation)

    def _forget_lost(self) -> None:
        generation = self._plan.generation
        if generation != self._seen_generation:
            seen, self._seen_generation = self._seen_generation, generation
            self._tracker.forget([key for key, since in self._plan.lost.copy().items() if since > seen])


def _names(partitions: list[TopicPartition]) -> list[str]:
    return [f"{partition.topic}/{partition.partition}" for partition in partitions]
