"""A backlog: so many records of a topic, the oldest or the newest, in the order of their times."""

from collections.abc import Iterable
from operator import itemgetter

from flux.messages import Received

_Rank = tuple[int, int, int]


class Backlog:
    """Takes records partition by partition and keeps a bounded number of them.

    The order is that of Kafka's timestamps, but never against the offsets of a partition: a record whose
    timestamp lies before that of the one in front of it counts as just as late.

    Args:
        limit: how many records to keep.
        newest: keep those; else the oldest.
    """

    def __init__(self, limit: int, *, newest: bool) -> None:
        self._limit = limit
        self._newest = newest
        self._kept: list[tuple[_Rank, Received]] = []
        self._reached: dict[int, int] = {}
        self.left_out = 0
        """How many records were beyond the limit."""

    def add(self, records: Iterable[Received]) -> None:
        """Take some records; those of one partition come in the order of their offsets."""
        for record in records:
            time = max(record.timestamp, self._reached.get(record.partition, 0))
            self._reached[record.partition] = time
            self._kept.append(((time, record.partition, record.offset), record))
        if len(self._kept) > 2 * self._limit:
            self._cut()

    def records(self) -> list[Received]:
        """Return what was kept, oldest first."""
        self._cut()
        return [record for _, record in self._kept]

    def _cut(self) -> None:
        self._kept.sort(key=itemgetter(0))
        beyond = len(self._kept) - self._limit
        if beyond > 0:
            self.left_out += beyond
            self._kept = self._kept[beyond:] if self._newest else self._kept[: self._limit]
