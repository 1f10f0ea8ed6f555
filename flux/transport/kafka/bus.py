"""The bus: topics with an owner and a consumer, and what each principal may do on them.

Three implementations stand behind this interface: ``memory`` (unit tests), and ``confluent`` over either
the embedded broker or a real Apache Kafka. A principal is a role's name (``bff``, ``weather``); the bus
refuses to produce to a topic that the principal does not own, and to consume one that is not its own.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from itertools import groupby
from operator import itemgetter
from typing import overload

import trio
from attrs import field, frozen

from flux.errors import LocalError
from flux.messages import Received, Record


class OwnershipError(LocalError):
    """A principal produced to, or consumed from, a topic that the contract gives to another."""


@frozen
class Topic:
    """A topic's declaration.

    Args:
        name: the full name, ``<domain>.<service>.command|event.<word>``.
        producer: the only principal that may produce to it.
        consumer: the only principal that may consume it.
        partitions: how many partitions it is created with.
        retention: how long records stay; topics are never compacted, they are the audit surface.
    """

    name: str
    producer: str
    consumer: str
    partitions: int = 4
    retention: timedelta = field(default=timedelta(days=1))


@frozen
class Position:
    """Where a delivered record stands."""

    topic: str
    partition: int
    offset: int


@frozen
class BusStatus:
    """Whether the broker answers, and if not, the last reason, fit for people."""

    connected: bool
    reason: str = ""


class Batch(Sequence[Received]):
    """Records that came together, per partition in offset order.

    A record may be made only when it is looked at: who needs no more than the values, as a relay does, reads
    `values`.

    Args:
        records: in order.
    """

    __slots__ = ("_records",)

    def __init__(self, records: Sequence[Received] = ()) -> None:
        self._records = records

    @property
    def values(self) -> list[bytes | None]:
        """The value of each record."""
        return [record.value for record in self]

    @property
    def stretches(self) -> Iterator[tuple[str, range]]:
        """The topics in order of the records, each with the indices of those that come in a row."""
        begin = 0
        for topic, pieces in groupby(self._pieces(), itemgetter(0)):
            end = begin + sum(count for _, count in pieces)
            yield topic, range(begin, end)
            begin = end

    def _pieces(self) -> Iterator[tuple[str, int]]:
        """Yield the topic of some next records, and how many they are."""
        return ((record.topic, 1) for record in self)

    def _read(self) -> Sequence[Received]:
        return self._records

    def __len__(self) -> int:
        return len(self._read())

    def __iter__(self) -> Iterator[Received]:
        return iter(self._read())

    @overload
    def __getitem__(self, index: int) -> Received: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Received]: ...
    def __getitem__(self, index: int | slice) -> Received | Sequence[Received]:
        return self._read()[index]


class Subscription(ABC):
    """A consumer group's share of some topics; at-least-once: what is not `done` comes again."""

    @abstractmethod
    async def receive(self) -> Batch:
        """Wait for the next batch: at least one record, per partition in offset order.

        Cancellation loses nothing: an unreturned batch is returned by the next call.

        Raises:
            BrokenError: the consumer failed for good; open a new subscription.
        """

    @abstractmethod
    def done(self, record: Received) -> None:
        """Mark a record as handled; the offset committed is that of the contiguous run of handled records."""


class Follower(ABC):
    """Every partition of some topics, from the last records of each, then live; nothing is committed."""

    @abstractmethod
    async def receive(self) -> Batch:
        """As `Subscription.receive`."""

    @abstractmethod
    async def caught_up(self) -> None:
        """Wait until every record that stood in the topics at the start has been *returned* by `receive`."""


class Client(ABC):
    """The bus as one principal sees it."""

    principal: str

    @abstractmethod
    async def send(self, record: Record) -> None:
        """Hand a record to the producer; waits only while its queue is full (back-pressure).

        A later failed delivery is logged and counted. Cancellation: the record was queued or not at all.

        Raises:
            OwnershipError: the topic is not this principal's to produce.
            LocalError: unknown topic, or the record is too large.
            BrokenError: the queue stayed full for the producer's time-out.
        """

    @abstractmethod
    async def publish(self, record: Record) -> Position:
        """Produce a record and wait for Kafka's delivery report.

        Cancellation: the record may be delivered or not; only the report is lost.

        Raises:
            OwnershipError, LocalError: as `send`.
            BrokenError: not delivered within the producer's time-out; the text gives the broker's reason.
        """

    @abstractmethod
    def subscribe(self, topics: Sequence[str], *, group: str) -> AbstractAsyncContextManager[Subscription]:
        """Join a consumer group over topics that this principal consumes; leaving the block leaves it.

        Raises:
            OwnershipError: a topic is not this principal's to consume.
        """

    @abstractmethod
    def follow(self, topics: Sequence[str], *, replay: int) -> AbstractAsyncContextManager[Follower]:
        """Read every partition of topics that this principal consumes, from their last records.

        Partitions that are added later are noticed.

        Args:
            topics: full names.
            replay: how many records of each partition to read again at the start; 0 is only what comes.

        Raises:
            OwnershipError: a topic is not this principal's to consume.
        """


class Bus(ABC):
    """A process's connection to Kafka; a service in the supervision tree (`run`)."""

    @abstractmethod
    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve delivery reports and watch the broker until cancelled; then flush with a deadline.

        Ready at once, also when the broker is away: see `status`.
        """

    @abstractmethod
    def client(self, principal: str) -> Client:
        """Return the bus as that principal sees it."""

    @abstractmethod
    async def create_topics(self) -> list[str]:
        """Create those of the declared topics that are missing.

        Returns:
            The names that were created.

        Raises:
            BrokenError: the broker did not answer, or refused.
        """

    @property
    @abstractmethod
    def status(self) -> BusStatus:
        """Whether the broker answers now."""

    @abstractmethod
    async def wait_connected(self) -> None:
        """Return once the broker answers (at once if it does)."""
