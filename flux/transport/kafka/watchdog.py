"""The watch on a silent consumer: a partition whose records do not come, or a thread that hangs."""

from collections.abc import Callable, Mapping

import trio
from attrs import define, field
from confluent_kafka import Consumer, KafkaException, TopicPartition

from flux.errors import BrokenError
from flux.transport.kafka import offsets

BEHIND_SECONDS = 30.0
"""How long a partition may be silent before the broker is asked about it, and then how long its records may
stay away: a fetch waits half a second at most, a broker's restart takes a few."""

CHECK_SECONDS = 5.0
"""How often a silent partition, one at a time, is asked about; the answer may wait behind an empty fetch."""

ANSWER_SECONDS = 1.0

HUNG_SECONDS = 90.0
"""After so long without a turn of its loop a thread counts as hung; librdkafka's own calls end after 60 s
(`socket.timeout.ms`) at the latest."""


class StuckError(BrokenError):
    """A consumer makes no progress although there are records."""


@define
class LagWatch:
    """Notices a partition whose records do not come, while the consumer polls and the broker answers.

    It needs `enable.partition.eof`: the end of a partition is told by an event, so that offsets which hold no
    records (transaction markers) are not taken for records. All of it runs in the consumer's thread.
    """

    _ends: dict[offsets.TopicPartition, int] = field(factory=dict)
    _silent: dict[offsets.TopicPartition, tuple[int, float]] = field(factory=dict)  # position, since when
    _asked: dict[offsets.TopicPartition, float] = field(factory=dict)
    _behind: dict[offsets.TopicPartition, tuple[int, float]] = field(factory=dict)  # position, since when
    _due: float = 0.0

    def reached(self, partition: offsets.TopicPartition, offset: int) -> None:
        """Note the end of a partition, read up to that offset."""
        self._ends[partition] = offset

    def excuse(self) -> None:
        """Begin anew: the consumer had a reason to stand still."""
        self._silent.clear()
        self._behind.clear()

    def check(
        self, consumer: Consumer, next_offsets: Mapping[offsets.TopicPartition, int], now: float
    ) -> None:
        """Look at the silent partitions, if it is time; called when the consumer has nothing to hand over.

        Args:
            consumer: whose partitions.
            next_offsets: behind the last record that was handed over, of each partition.
            now: the monotonic time in seconds.

        Raises:
            StuckError: records of a partition have not come for `BEHIND_SECONDS`.
            KafkaException: the consumer is broken.
        """
        if now < self._due:
            return
        self._due = now + CHECK_SECONDS
        assignment = [(assigned.topic, assigned.partition) for assigned in consumer.assignment()]
        self._forget_all_but(set(assignment))
        silent = []
        for partition in assignment:
            position = max(next_offsets.get(partition, -1), self._ends.get(partition, -1))
            known, since = self._silent.get(partition, (None, now))
            if known != position:
                self._silent[partition] = (position, now)
                self._behind.pop(partition, None)
            elif now - since >= BEHIND_SECONDS:
                silent.append(partition)
        if not silent:
            return
        overdue = [p for p in silent if p in self._behind and now - self._behind[p][1] >= BEHIND_SECONDS]
        asked = min(overdue or silent, key=lambda partition: self._asked.get(partition, 0.0))
        self._asked[asked] = now
        self._ask(consumer, asked, now)

    def _forget_all_but(self, assignment: set[offsets.TopicPartition]) -> None:
        # A partition that comes back tells its end anew; one that stayed through a rebalance does not.
        for known in (self._ends, self._silent, self._asked, self._behind):
            for partition in known.keys() - assignment:
                known.pop(partition, None)

    def _ask(self, consumer: Consumer, partition: offsets.TopicPartition, now: float) -> None:
        position, _ = self._silent[partition]
        try:
            answer = consumer.get_watermark_offsets(TopicPartition(*partition), timeout=ANSWER_SECONDS)
        except KafkaException:
            answer = None
        # Before its first event even an empty partition is behind: its end is one.
        if not answer or answer[1] <= position:
            self._behind.pop(partition, None)
            return
        _, since = self._behind.setdefault(partition, (position, now))
        if now - since >= BEHIND_SECONDS:
            topic, number = partition
            raise StuckError(
                f"no record of {topic}/{number} came for {BEHIND_SECONDS:g} s; it was read up to offset"
                f" {max(position, 0)}, and it has records up to {answer[1]}"
            )


async def watch_thread(turns: Callable[[], int], hung: Callable[[float], None]) -> None:
    """Call `hung` once when a thread's count of turns has not changed for `HUNG_SECONDS`, and return.

    The time is counted in looks, not read from a clock: a process that was stopped and goes on has missed the
    looks as well, and gives the thread its time.

    Args:
        turns: how many turns the thread's loop has made.
        hung: gets the seconds.
    """
    looks = 10
    last, same = turns(), 0
    while same < looks:
        await trio.sleep(HUNG_SECONDS / looks)
        now = turns()
        last, same = now, same + 1 if now == last else 0
    hung(HUNG_SECONDS)
