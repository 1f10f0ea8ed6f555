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

BEGIN_SECONDS = 5.0
"""The same for a partition whose reading has not begun. It begins with a record or with the partition's end,
half a second after the assignment at the latest. But librdkafka waits for ever for the offset to begin at,
where the coordinator, as one does that was fenced for a moment, answers that question with one error."""

CHECK_SECONDS = 5.0
"""How often a silent partition, one at a time, is asked about; the answer may wait behind an empty fetch."""

ANSWER_SECONDS = 1.0

HUNG_SECONDS = 90.0
"""After so long without a turn of its loop a thread counts as hung; librdkafka's own calls end after 60 s
(`socket.timeout.ms`) at the latest."""


class StuckError(BrokenError):
    """A consumer makes no progress although there are records, or nobody left to ask for them.

    Args:
        reason: what was seen.
        cause: one word for it, for the metric.
    """

    def __init__(self, reason: str, *, cause: str = "records") -> None:
        super().__init__(reason)
        self.cause = cause


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

    def forget(self, partition: offsets.TopicPartition) -> None:
        """Note that a partition was taken away: should it come back, its reading begins anew."""
        for known in (self._ends, self._silent, self._asked, self._behind):
            known.pop(partition, None)

    def check(
        self, consumer: Consumer, next_offsets: Mapping[offsets.TopicPartition, int], now: float
    ) -> None:
        """Look at the silent partitions, if it is time; called when the consumer has nothing to hand over.

        Args:
            consumer: whose partitions.
            next_offsets: behind the last record that was handed over, of each partition.
            now: the monotonic time in seconds.

        Raises:
            StuckError: records of a partition have not come for `BEHIND_SECONDS`, or its reading has not
                begun for `BEGIN_SECONDS`.
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
            elif now - since >= _bound(position):
                silent.append(partition)
        if not silent:
            return
        overdue = [partition for partition in silent if self._overdue(partition, now)]
        asked = min(overdue or silent, key=lambda partition: self._asked.get(partition, 0.0))
        self._asked[asked] = now
        self._ask(consumer, asked, now)

    def _forget_all_but(self, assignment: set[offsets.TopicPartition]) -> None:
        # A partition that comes back tells its end anew; one that stayed through a rebalance does not.
        for partition in (self._ends.keys() | self._silent.keys()) - assignment:
            self.forget(partition)

    def _overdue(self, partition: offsets.TopicPartition, now: float) -> bool:
        position, since = self._behind.get(partition, (0, now))
        return now - since >= _bound(position)

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
        self._behind.setdefault(partition, (position, now))
        if self._overdue(partition, now):
            topic, number = partition
            so_far = f"read up to offset {position}" if position >= 0 else "its reading never began"
            raise StuckError(
                f"no record of {topic}/{number} came for {_bound(position):g} s; {so_far}, and it has records"
                f" up to {answer[1]}"
            )


def _bound(position: int) -> float:
    return BEHIND_SECONDS if position >= 0 else BEGIN_SECONDS


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
