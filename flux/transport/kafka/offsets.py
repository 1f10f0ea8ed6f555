"""Offset tracking of a consumer: which offset may be committed, and when a reader has caught up (pure)."""

from collections import deque
from collections.abc import Iterable, Mapping

from attrs import define, field

from flux.messages import Received

TopicPartition = tuple[str, int]


@define
class PartitionTracker:
    """What was delivered of one partition, in order, and how far it was handled without a hole.

    Offsets need not be consecutive (a broker deletes old ones): contiguous means in the order of delivery.
    """

    _delivered: deque[int] = field(factory=deque)
    _done: set[int] = field(factory=set)
    _open: set[int] = field(factory=set)
    _last: int = -1

    def delivered(self, offset: int) -> None:
        """Note a record that was handed to the application.

        An offset that is not past the last one means that the partition is read anew, from an older commit.
        """
        if offset <= self._last:
            self._delivered.clear()
            self._done.clear()
            self._open.clear()
        self._last = offset
        self._delivered.append(offset)
        self._open.add(offset)

    def done(self, offset: int) -> int | None:
        """Note a handled record.

        Returns:
            The offset to commit (that of the next record to read), or None if it did not move: an older
            record is still in work, or this one was never delivered here (or is done already).
        """
        if offset not in self._open:
            return None
        self._open.remove(offset)
        self._done.add(offset)
        last = None
        while self._delivered and self._delivered[0] in self._done:
            last = self._delivered.popleft()
            self._done.remove(last)
        return None if last is None else last + 1

    @property
    def in_work(self) -> int:
        """How many delivered records are not handled yet."""
        return len(self._open)


@define
class OffsetTracker:
    """The trackers of all partitions that a group member holds."""

    _partitions: dict[TopicPartition, PartitionTracker] = field(factory=dict)

    def delivered(self, records: Iterable[Received]) -> None:
        """Note records that were handed to the application."""
        for record in records:
            tracker = self._partitions.get((record.topic, record.partition))
            if tracker is None:
                tracker = self._partitions[record.topic, record.partition] = PartitionTracker()
            tracker.delivered(record.offset)

    def done(self, record: Received) -> int | None:
        """Note a handled record; return the partition's offset to commit if it moved, else None."""
        tracker = self._partitions.get((record.topic, record.partition))
        return tracker.done(record.offset) if tracker is not None else None

    def forget(self, partitions: Iterable[TopicPartition]) -> None:
        """Drop partitions that now belong to another member: whatever is still in work comes again there."""
        for partition in partitions:
            self._partitions.pop(partition, None)

    @property
    def in_work(self) -> int:
        """How many delivered records are not handled yet."""
        return sum(tracker.in_work for tracker in self._partitions.values())


class CatchUp:
    """Whether every record that stood in the partitions at the start has been returned.

    Args:
        ends: for each partition the offset after its last record at the start. A partition in which
            nothing is to be read (its reader begins at the end) is left out.
    """

    def __init__(self, ends: Mapping[TopicPartition, int]) -> None:
        self._ends = dict(ends)

    def expect(self, ends: Mapping[TopicPartition, int]) -> None:
        """Add the ends of further partitions."""
        self._ends.update(ends)

    @property
    def complete(self) -> bool:
        """Whether nothing from the start is missing."""
        return not self._ends

    def reached(self, partition: TopicPartition, next_offset: int) -> None:
        """Note that everything of a partition before `next_offset` has been returned."""
        end = self._ends.get(partition)
        if end is not None and next_offset >= end:
            del self._ends[partition]
