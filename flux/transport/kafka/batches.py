"""A batch of consumed messages: its runs of one partition, and its records, made when asked for (pure).

Hundreds of thousands of records a second come this way, so what is done for each of them is done by `map`
over methods written in C: a turn of a loop in Python costs more than all that it would call.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

import msgspec
from confluent_kafka import Message

from flux.messages import Received
from flux.transport.kafka.bus import Batch
from flux.transport.kafka.headers import MessageHeaders
from flux.transport.kafka.offsets import TopicPartition

_NO_TIMESTAMP = -1
"""What librdkafka gives for the time of a record that has none (TIMESTAMP_NOT_AVAILABLE)."""


class Run(msgspec.Struct, frozen=True, gc=False):
    """Records of one partition with consecutive offsets, next to one another in a batch.

    Args:
        partition: where they stood.
        first: the offset of the first one.
        end: the offset behind the last one.
    """

    partition: TopicPartition
    first: int
    end: int


class MessageBatch(Batch):
    """Consumed messages that are not errors; their records are made when one is first looked at.

    Args:
        messages: in order; not changed by anyone.
        one_topic: all are of one topic.
    """

    __slots__ = ("_messages", "runs")

    def __init__(self, messages: Sequence[Message], *, one_topic: bool = False) -> None:
        super().__init__()
        self._messages = messages
        self.runs = tuple(find_runs(messages, one_topic=one_topic))
        """Where the records stood, in short: together the runs cover all of them, in order."""

    @property
    def values(self) -> list[bytes | None]:
        """The value of each record."""
        return list(map(Message.value, self._messages))

    def _pieces(self) -> Iterator[tuple[str, int]]:
        return ((run.partition[0], run.end - run.first) for run in self.runs)

    def _read(self) -> Sequence[Received]:
        if not self._records:
            self._records = _records(self._messages)
        return self._records

    def __len__(self) -> int:
        return len(self._messages)


def _records(messages: Sequence[Message]) -> list[Received]:
    times: list[Any] = list(map(itemgetter(1), map(Message.timestamp, messages)))
    if _NO_TIMESTAMP in times:
        times = [max(time, 0) for time in times]
    parts: list[Any] = [
        map(Message.topic, messages),
        map(Message.partition, messages),
        map(Message.offset, messages),
        times,
        map(Message.value, messages),
        map(Message.key, messages),
        map(MessageHeaders, messages),
    ]
    return list(map(Received, *parts))


def find_runs(messages: Sequence[Message], *, one_topic: bool = False) -> Iterator[Run]:
    """Yield the runs of messages; in a batch the offsets of one partition only rise, if with holes.

    Args:
        messages: in order.
        one_topic: all are of one topic, so that they need not be asked.
    """
    partitions: list[Any] = list(map(Message.partition, messages))
    topics: list[Any] = [] if one_topic else list(map(Message.topic, messages))
    for of_number in _alike(partitions, 0, len(messages)):
        for begin, end in (of_number,) if one_topic else _alike(topics, *of_number):
            message = messages[begin]
            partition: Any = (message.topic(), partitions[begin])
            first: Any = message.offset()
            if messages[end - 1].offset() == first + end - 1 - begin:
                yield Run(partition, first, first + end - begin)
            else:
                yield from _unbroken(partition, list(map(Message.offset, messages[begin:end])))


def _alike(column: list[Any], begin: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the stretches of equal neighbours: the index of the first one, and the one behind the last."""
    part = column[begin:end]
    if part and part.count(part[0]) == len(part):
        yield begin, end  # the usual case, at the speed of C
        return
    for _, alike in groupby(part):
        end = begin + len(list(alike))
        yield begin, end
        begin = end


def _unbroken(partition: TopicPartition, offsets: list[Any]) -> Iterator[Run]:
    """Yield the runs of a partition's offsets between its holes."""
    # Offsets that follow one another keep their distance to their index.
    for _, places in groupby(enumerate(offsets), lambda place: place[1] - place[0]):
        run = [offset for _, offset in places]
        yield Run(partition, run[0], run[-1] + 1)
