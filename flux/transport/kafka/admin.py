"""Topics: creating those that are missing, and looking at those that are there."""

import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from functools import partial
from typing import Any, TypeVar

import anyio
import anyio.to_thread
import structlog
from attrs import frozen
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from flux.errors import BrokenError
from flux.transport.kafka.bus import Topic
from flux.transport.kafka.config import KafkaConfig, LibraryLog

log = structlog.get_logger("flux.kafka")

Result = TypeVar("Result")

ANSWER_SECONDS = 10.0

LEADER_SECONDS = 0.1
"""How often a partition without a leader is asked for again."""

_LEADER_CODES = frozenset(
    {KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE, KafkaError.UNKNOWN_TOPIC_OR_PART}
)


@frozen
class PartitionInfo:
    """A partition: its number, the offset of its first record, and the one that the next record will have."""

    number: int
    low: int
    high: int


@frozen
class TopicInfo:
    """A topic as the broker has it.

    Args:
        name: the full name.
        partitions: by number; none where the topic does not exist.
    """

    name: str
    partitions: tuple[PartitionInfo, ...]

    @property
    def exists(self) -> bool:
        """Whether the broker has the topic."""
        return bool(self.partitions)

    @property
    def records(self) -> int:
        """How many records stand in the topic now."""
        return sum(partition.high - partition.low for partition in self.partitions)


class Admin:
    """Questions and orders to a broker, each in a worker thread.

    A cancelled call is left behind; its thread ends by its own time-out (`ANSWER_SECONDS`).

    Args:
        config: how to reach the broker.
    """

    def __init__(self, config: KafkaConfig) -> None:
        self._config = config
        self._limiter = anyio.CapacityLimiter(1)

    async def create_topics(self, topics: Iterable[Topic]) -> list[str]:
        """Create those that are missing; see `Bus.create_topics`."""
        return await self._in_thread(partial(self._create, list(topics)))

    async def list_topics(self, topics: Iterable[Topic]) -> dict[str, TopicInfo]:
        """Return what the broker has of these topics, by name.

        Raises:
            BrokenError: the broker did not answer.
        """
        return await self._in_thread(partial(self._list, [topic.name for topic in topics]))

    async def records_since(self, topic: str, milliseconds: int) -> int:
        """Return how many records of a partition to read again to have all since a time: the most of any.

        Args:
            topic: the full name.
            milliseconds: a Kafka timestamp.

        Raises:
            BrokenError: the broker did not answer.
        """
        return await self._in_thread(partial(self._since, topic, milliseconds))

    async def _in_thread(self, call: Callable[[LibraryLog], Result]) -> Result:
        library_log = LibraryLog()
        try:
            return await anyio.to_thread.run_sync(
                call, library_log, abandon_on_cancel=True, limiter=self._limiter
            )
        except KafkaException as error:
            raise BrokenError(f"kafka: {error.args[0].str()}") from error
        finally:
            library_log.ended = True

    # From here on: in a thread.

    def _create(self, topics: list[Topic], library_log: LibraryLog) -> list[str]:
        client = AdminClient(self._config.common() | {"logger": library_log})
        wanted = [
            NewTopic(
                topic.name,
                num_partitions=topic.partitions,
                replication_factor=-1,
                config={
                    "cleanup.policy": "delete",
                    "retention.ms": str(round(topic.retention.total_seconds() * 1000)),
                    "max.message.bytes": str(self._config.max_message_bytes),
                },
            )
            for topic in topics
        ]
        futures: dict[str, Future[Any]] = client.create_topics(
            wanted, operation_timeout=ANSWER_SECONDS, request_timeout=ANSWER_SECONDS
        )
        created = []
        for name, future in futures.items():
            try:
                future.result(timeout=ANSWER_SECONDS + 1)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise BrokenError(f"topic {name} was not created: {error.args[0].str()}") from error
            else:
                created.append(name)
        if created:
            log.info("topics created", topics=created)
        return created

    def _list(self, names: list[str], library_log: LibraryLog) -> dict[str, TopicInfo]:
        consumer = self._consumer(library_log)
        try:
            return {name: self._look(consumer, name) for name in names}
        finally:
            consumer.close()

    def _consumer(self, library_log: LibraryLog) -> Consumer:
        settings = self._config.consumer(f"{self._config.client_id}.look")
        return Consumer(settings | {"logger": library_log})

    def _look(self, consumer: Consumer, name: str) -> TopicInfo:
        metadata = consumer.list_topics(name, timeout=ANSWER_SECONDS).topics[name]
        if metadata.error is not None and metadata.error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise KafkaException(metadata.error)
        partitions = []
        for number in sorted(metadata.partitions):
            low, high = self._watermarks(consumer, TopicPartition(name, number))
            partitions.append(PartitionInfo(number, low, high))
        return TopicInfo(name, tuple(partitions))

    def _since(self, name: str, milliseconds: int, library_log: LibraryLog) -> int:
        consumer = self._consumer(library_log)
        try:
            filled = [info for info in self._look(consumer, name).partitions if info.high > info.low]
            firsts = self._offsets_at(consumer, name, filled, 0)
            starts = self._offsets_at(consumer, name, filled, milliseconds)
            # librdkafka's mock cluster looks up no times: where nothing is found at the beginning of time
            # either, all that stands in the partition is read. Else nothing found is nothing since.
            return max(
                (
                    info.high - (info.low if first < 0 else start if start >= 0 else info.high)
                    for info, first, start in zip(filled, firsts, starts, strict=True)
                ),
                default=0,
            )
        finally:
            consumer.close()

    @staticmethod
    def _offsets_at(
        consumer: Consumer, name: str, partitions: list[PartitionInfo], milliseconds: int
    ) -> list[int]:
        """Return the offset of each partition's first record of that time or later, negative for none."""
        if not partitions:
            return []
        asked = [TopicPartition(name, info.number, milliseconds) for info in partitions]
        found = consumer.offsets_for_times(asked, timeout=ANSWER_SECONDS)
        by_number = {answer.partition: answer for answer in found}
        for answer in found:
            if answer.error is not None:
                raise KafkaException(answer.error)
        return [by_number[info.number].offset for info in partitions]

    def _watermarks(self, consumer: Consumer, partition: TopicPartition) -> tuple[int, int]:
        deadline = time.monotonic() + ANSWER_SECONDS
        while True:
            try:
                low, high = consumer.get_watermark_offsets(partition, timeout=ANSWER_SECONDS)
            except KafkaException as error:
                # A partition that was created a moment ago, or whose broker went, gets its leader shortly.
                if error.args[0].code() not in _LEADER_CODES or time.monotonic() >= deadline:
                    raise
                time.sleep(LEADER_SECONDS)
            else:
                return low, high
