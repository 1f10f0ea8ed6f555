"""A follower over librdkafka: every partition of some topics, from its last records, nothing committed."""

from collections.abc import Sequence
from typing import Any

import structlog
import trio
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from flux.transport.kafka import offsets
from flux.transport.kafka.bus import Batch, Follower
from flux.transport.kafka.consumer import Plan
from flux.transport.kafka.handover import Arrival, Handover
from flux.transport.kafka.link import Link

log = structlog.get_logger("flux.kafka")

REFRESH_SECONDS = 5.0
"""How often each topic is asked for new partitions, once it is read."""

RETRY_SECONDS = 0.25
"""How often a topic that could not be read yet is asked for again."""

ANSWER_SECONDS = 1.0
"""How long a question to the broker may hold up the polling."""


class FollowPlan(Plan):
    """Consume every partition of some topics, also those that come later.

    Args:
        topics: full names.
        replay: how many records of each partition to read again.
        handover: learns what stood in the topics at the start.
        link: hears of a broker that does not answer.
    """

    def __init__(self, topics: Sequence[str], replay: int, handover: Handover, link: Link) -> None:
        self.topics = tuple(topics)
        self._replay = replay
        self._handover = handover
        self._link = link
        self._known: dict[str, set[int]] = {}
        self._unasked = set(topics)  # the topics whose start is not known yet
        self._due = dict.fromkeys(topics, 0.0)

    def begin(self, consumer: Consumer) -> None:
        """Ask for the topics at the first tick, so that a broker that is away is no failure."""

    def end(self, consumer: Consumer) -> None:
        """Commit nothing."""

    def tick(self, consumer: Consumer, now: float) -> None:
        """Look for partitions that are new: at the start of all topics, later of one topic at a time.

        What is new is assigned in one go, after the looking: a question that comes behind a fetch on the same
        connection waits until that fetch has waited for records (`fetch.wait.max.ms`).
        """
        starts: list[TopicPartition] = []
        try:
            for topic, due in list(self._due.items()):
                if now < due:
                    continue
                first = topic in self._unasked
                starts += self._look(consumer, topic)
                self._put_off(topic, now)
                if not first:
                    break
        except KafkaException as error:
            self._link.on_error(error.args[0])
            self._put_off(topic, now)  # the other topics would only wait as long for the same broker
        if starts:
            consumer.incremental_assign(starts)

    def _put_off(self, topic: str, now: float) -> None:
        self._due[topic] = now + (REFRESH_SECONDS if self._known.get(topic) else RETRY_SECONDS)

    def _look(self, consumer: Consumer, topic: str) -> list[TopicPartition]:
        """Return the topic's partitions that are not read yet, each with the offset to begin at."""
        metadata: Any = consumer.list_topics(topic, timeout=ANSWER_SECONDS).topics[topic]
        if metadata.error is not None and metadata.error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise KafkaException(metadata.error)
        known = self._known.setdefault(topic, set())
        first = topic in self._unasked
        starts = []
        ends = {}
        for partition in sorted(set(metadata.partitions) - known):
            begin = TopicPartition(topic, partition)
            low, high = consumer.get_watermark_offsets(begin, timeout=ANSWER_SECONDS)
            # A partition that was not there at the start holds news only.
            begin.offset = max(low, high - self._replay) if first else low
            if first and begin.offset < high:
                ends[topic, partition] = high
            starts.append(begin)
        known.update(metadata.partitions)
        if first:
            self._unasked.remove(topic)
            self._handover.put(Arrival(ends=ends, last=not self._unasked))
        return starts


class ConfluentFollower(Follower):
    """A follower, as trio sees it."""

    def __init__(self) -> None:
        self.handover = Handover(on_news=self._note)
        self._catch_up = offsets.CatchUp({})
        self._all_known = False
        self._caught_up = trio.Event()

    async def receive(self) -> Batch:
        """Wait for the next batch of any partition."""
        while True:
            arrival = await self.handover.take()
            self._note(arrival)
            if arrival.records:
                return arrival.records

    async def caught_up(self) -> None:
        """Wait until everything that stood in the topics at the start was returned."""
        await self._caught_up.wait()

    def _note(self, arrival: Arrival) -> None:
        if self._caught_up.is_set():
            return
        self._catch_up.expect(arrival.ends)
        self._all_known = self._all_known or arrival.last
        for partition, offset in arrival.reached:
            self._catch_up.reached(partition, offset)
        if self._all_known and self._catch_up.complete:
            self._caught_up.set()
            self.handover.wants_reached = False
