"""A batch of consumed messages: its records, and its runs of one partition (pure).

Hundreds of thousands of records a second come this way, so what is done for each of them is done by `map`
over methods written in C: a turn of a loop in Python costs more than all that it would call.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import Any

import msgspec
from attrs import frozen
from confluent_kafka import Message

from flux.messages import Received
from flux.transport.kafka.headers import MessageHeaders
from flux.transport.kafka.offsets import TopicPartition

_NO_TIMESTAMP = -1
"""What librdkafka gives for the time of a record that has none (TIMESTAMP_NOT_AVAILABLE)."""


class Run(msgspec.Struct, frozen=True, gc=False):
    """Records of one partition with consecutive offsets, next to one another in a batch.

    Args:
        partition: where they stood.
        first: the offset of the first one.
        count: how many.
    """

    partition: TopicPartition
    first: int
    count: int

    @property
    def end(self) -> int:
        """The offset behind the last one."""
        return self.first + self.count


@frozen
class Batch:
    """What consumed messages say.

    Args:
        records: in the order of the messages.
        runs: the same ones, told in short: together they cover all records in order.
    """

    records: list[Received]
    runs: tuple[Run, ...]


def read(messages: Sequence[Message]) -> Batch:
    """Return the records of messages that are not errors."""
    topics: list[Any] = list(map(Message.topic, messages))
    partitions: list[Any] = list(map(Message.partition, messages))
    offsets: list[Any] = list(map(Message.offset, messages))
    times: list[Any] = list(map(itemgetter(1), map(Message.timestamp, messages)))
    if _NO_TIMESTAMP in times:
        times = [max(time, 0) for time in times]
    records = list(
        map(
            Received,
            topics,
            partitions,
            offsets,
            times,
            map(Message.value, messages),
            map(Message.key, messages),
            map(MessageHeaders, messages),
        )
    )
    return Batch(records, tuple(runs(topics, partitions, offsets)))


def runs(topics: list[str], partitions: list[int], offsets: list[int]) -> Iterator[Run]:
    """Yield the runs of records whose topics, partitions and offsets stand in three lists of one length."""
    begin = 0
    while begin < len(offsets):
        end = _end(topics, partitions, offsets, begin)
        yield Run((topics[begin], partitions[begin]), offsets[begin], end - begin)
        begin = end


def _end(topics: list[str], partitions: list[int], offsets: list[int], begin: int) -> int:
    """Return the index behind the run that begins there."""
    topic, partition, first = topics[begin], partitions[begin], offsets[begin]

    def leaves(index: int) -> bool:
        return (
            offsets[index] - first != index - begin
            or partitions[index] != partition
            or topics[index] != topic
        )

    size = len(offsets)
    if begin + 1 == size or leaves(begin + 1):
        return begin + 1
    end = size if not leaves(size - 1) else bisect_left(range(size), True, begin + 1, size, key=leaves)
    count = end - begin
    # The search looks at a few records only. Whether it is right is soon seen by whole slices.
    if (
        offsets[begin:end] == list(range(first, first + count))
        and partitions[begin:end].count(partition) == count
        and topics[begin:end].count(topic) == count
    ):
        return end
    return next(index for index in range(begin + 1, size) if leaves(index))
