"""A bus in memory for unit tests: partitions, groups and replay as Kafka has them, on trio's clock alone."""

import zlib
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager

import trio
from attrs import define, field

from flux.errors import BrokenError, ClosedError
from flux.messages import Headers, Received, Record
from flux.transport.kafka.bus import Batch, Bus, BusStatus, Follower, Position, Subscription, Topic
from flux.transport.kafka.catalog import MAX_VALUE_BYTES, Catalog
from flux.transport.kafka.offsets import CatchUp, OffsetTracker, TopicPartition
from flux.transport.kafka.owned import OwnedClient

MAX_BATCH = 500
EPOCH_MS = 1_767_225_600_000
"""Where the virtual clock's zero stands: 2026-01-01T00:00:00Z, milliseconds since the Unix epoch."""


def virtual_now_ms() -> int:
    """Return the time of trio's clock as milliseconds since the Unix epoch, from `EPOCH_MS` on."""
    return EPOCH_MS + int(trio.current_time() * 1000)


class MemoryBus(Bus):
    """A bus whose broker is an object; deterministic, with the ownership checks of every bus.

    It needs no `run` to work. What `done` marks is committed at once.

    Args:
        topics: the declared topics; all exist from the start.
        clock: gives the time of a record in milliseconds since the Unix epoch.
        max_value_bytes: how large a record's value may be.
        delivery_timeout: seconds that a record waits for a broker that is down (`set_down`).
    """

    def __init__(
        self,
        topics: Iterable[Topic],
        *,
        clock: Callable[[], int] = virtual_now_ms,
        max_value_bytes: int = MAX_VALUE_BYTES,
        delivery_timeout: float = 10,
    ) -> None:
        self.catalog = Catalog(topics, max_value_bytes=max_value_bytes)
        self._broker = MemoryBroker(self.catalog, clock=clock, delivery_timeout=delivery_timeout)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Be ready, and wait for the cancellation."""
        task_status.started()
        await trio.sleep_forever()

    def client(self, principal: str) -> "MemoryClient":
        """Return the bus as that principal sees it."""
        return MemoryClient(self._broker, self.catalog, principal)

    async def create_topics(self) -> list[str]:
        """Return nothing: every declared topic exists from the start."""
        await trio.lowlevel.checkpoint()
        if self._broker.down is not None:
            raise BrokenError(self._broker.down)
        return []

    @property
    def status(self) -> BusStatus:
        """Connected, unless `set_down` was called."""
        return BusStatus(connected=self._broker.down is None, reason=self._broker.down or "")

    async def wait_connected(self) -> None:
        """Return once the broker is up."""
        await self._broker.wait_up()

    def inject(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None = None,
        headers: Headers = (),
        *,
        partition: int | None = None,
        timestamp: int | None = None,
    ) -> Position:
        """Put a record into a topic, past every check of ownership and size.

        Args:
            topic: a declared topic.
            value: raw bytes; None is a tombstone.
            key: raw bytes, or None.
            headers: names and raw bytes.
            partition: where to put it; by the key if None.
            timestamp: milliseconds since the Unix epoch; the clock's if None.
        """
        return self._broker.append(
            Record(topic, value, key, headers), partition=partition, timestamp=timestamp
        )

    def records(self, topic: str) -> list[Received]:
        """Return every record of a topic, in the order in which they were produced."""
        return list(self._broker.history[topic])

    def committed(self, group: str) -> dict[TopicPartition, int]:
        """Return a group's committed offsets by topic and partition."""
        return dict(self._broker.groups[group].committed)

    def add_partitions(self, topic: str, count: int) -> None:
        """Give a topic `count` more partitions; followers and groups read them from their beginning."""
        self._broker.add_partitions(topic, count)

    def set_down(self, reason: str = "all brokers are down") -> None:
        """Take the broker away: nothing is delivered in either direction until `set_up`."""
        self._broker.set_down(reason)

    def set_up(self) -> None:
        """Bring the broker back; what was sent within the delivery time-out is delivered, the rest lost."""
        self._broker.set_up()


class MemoryClient(OwnedClient):
    """`MemoryBus` as one principal sees it.

    While the broker is down, what is sent waits in the queue, and a publish at most the delivery time-out.
    """

    def __init__(self, broker: "MemoryBroker", catalog: Catalog, principal: str) -> None:
        super().__init__(catalog, principal)
        self._broker = broker

    async def _send(self, record: Record) -> None:
        await trio.lowlevel.checkpoint()
        self._broker.enqueue(record)

    async def _publish(self, record: Record) -> Position:
        with trio.move_on_after(self._broker.delivery_timeout):
            await self._broker.wait_up()
            return self._broker.append(record)
        raise BrokenError(
            f"{record.topic}: not delivered within {self._broker.delivery_timeout} s: {self._broker.down}"
        )

    @asynccontextmanager
    async def _subscribe(self, topics: list[Topic], group: str) -> AsyncIterator[Subscription]:
        subscription = MemorySubscription(self._broker, topics, group)
        self._broker.join(group, subscription)
        try:
            await trio.lowlevel.checkpoint()
            yield subscription
        finally:
            subscription.closed = True
            self._broker.leave(group, subscription)

    @asynccontextmanager
    async def _follow(self, topics: list[Topic], replay: int) -> AsyncIterator[Follower]:
        follower = MemoryFollower(self._broker, topics, replay)
        try:
            await trio.lowlevel.checkpoint()
            yield follower
        finally:
            follower.closed = True
            self._broker.changed.unpark_all()


class _Reader:
    """What subscriptions and followers share: positions, and one `receive` at a time."""

    def __init__(self, broker: "MemoryBroker", topics: list[Topic]) -> None:
        self.topics = [topic.name for topic in topics]
        self.closed = False
        self._broker = broker
        self._positions: dict[TopicPartition, int] = {}
        self._alone = trio.Lock()

    async def _next(self) -> Batch:
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            self._alone.acquire_nowait()
        except trio.WouldBlock:
            raise trio.BusyResourceError("another task is in receive") from None
        try:
            while True:
                if self.closed:
                    raise ClosedError("the consumer was closed")
                self._begin_new_partitions()
                batch = self._broker.read(self._positions)
                if batch:
                    # Past this point nothing may raise, or the batch would be lost.
                    await trio.lowlevel.cancel_shielded_checkpoint()
                    return Batch(batch)
                await self._broker.changed.park()
        finally:
            self._alone.release()

    def _begin_new_partitions(self) -> None:
        """Start to read partitions that were added, where the reader has them all."""


class MemorySubscription(_Reader, Subscription):
    """A member of a group on a `MemoryBus`."""

    def __init__(self, broker: "MemoryBroker", topics: list[Topic], group: str) -> None:
        super().__init__(broker, topics)
        self._committed = broker.groups[group].committed
        self._tracker = OffsetTracker()

    async def receive(self) -> Batch:
        """Wait for the next batch of this member's partitions."""
        batch = await self._next()
        self._tracker.delivered(batch)
        return batch

    def done(self, record: Received) -> None:
        """Mark a record as handled, and commit the contiguous run."""
        offset = self._tracker.done(record)
        if offset is not None:
            self._committed[record.topic, record.partition] = offset

    def rebalanced(self, share: list[TopicPartition]) -> None:
        """Take over a new share of the partitions; what is in work of the lost ones is forgotten."""
        self._tracker.forget([partition for partition in self._positions if partition not in share])
        self._positions = {
            partition: self._positions.get(partition, self._committed.get(partition, 0))
            for partition in share
        }


class MemoryFollower(_Reader, Follower):
    """A reader of every partition on a `MemoryBus`."""

    def __init__(self, broker: "MemoryBroker", topics: list[Topic], replay: int) -> None:
        super().__init__(broker, topics)
        ends = broker.ends(self.topics)
        self._positions = {partition: max(0, end - replay) for partition, end in ends.items()}
        self._catch_up = CatchUp({p: end for p, end in ends.items() if self._positions[p] < end})
        self._caught_up = trio.Event()
        if self._catch_up.complete:
            self._caught_up.set()

    async def receive(self) -> Batch:
        """Wait for the next batch of any partition."""
        batch = await self._next()
        for record in batch:
            self._catch_up.reached((record.topic, record.partition), record.offset + 1)
        if self._catch_up.complete:
            self._caught_up.set()
        return batch

    async def caught_up(self) -> None:
        """Wait until everything that stood in the topics at the start was returned."""
        await self._caught_up.wait()

    def _begin_new_partitions(self) -> None:
        for partition in self._broker.partitions(self.topics):
            self._positions.setdefault(partition, 0)


@define
class _Group:
    """A consumer group: its members, and what was committed."""

    members: list[MemorySubscription] = field(factory=list)
    committed: dict[TopicPartition, int] = field(factory=dict)


class MemoryBroker:
    """The logs of all topics, and the groups that read them.

    Args:
        topics: the declarations by name.
        clock, delivery_timeout: as in `MemoryBus`.
    """

    def __init__(
        self, topics: Mapping[str, Topic], *, clock: Callable[[], int], delivery_timeout: float
    ) -> None:
        self.delivery_timeout = delivery_timeout
        self.down: str | None = None
        self.history: dict[str, list[Received]] = {name: [] for name in topics}
        self.groups: defaultdict[str, _Group] = defaultdict(_Group)
        self.changed = trio.lowlevel.ParkingLot()
        self._clock = clock
        self._logs: dict[str, list[list[Received]]] = {
            name: [[] for _ in range(topic.partitions)] for name, topic in topics.items()
        }
        self._spread = 0
        self._waiting: list[tuple[float, Record]] = []  # deadline and record, sent while down

    async def wait_up(self) -> None:
        """Return once the broker is not down."""
        await trio.lowlevel.checkpoint()
        while self.down is not None:
            await self.changed.park()

    def set_down(self, reason: str) -> None:
        """Stop to deliver."""
        self.down = reason
        self.changed.unpark_all()

    def set_up(self) -> None:
        """Deliver again, what waits in time first."""
        self.down = None
        waiting, self._waiting = self._waiting, []
        for deadline, record in waiting:
            if trio.current_time() <= deadline:
                self.append(record)
        self.changed.unpark_all()

    def enqueue(self, record: Record) -> None:
        """Append a record now, or once the broker is up again."""
        if self.down is None:
            self.append(record)
        else:
            self._waiting.append((trio.current_time() + self.delivery_timeout, record))

    def append(
        self, record: Record, *, partition: int | None = None, timestamp: int | None = None
    ) -> Position:
        """Put a record at the end of its partition."""
        log = self._logs[record.topic]
        if partition is None:
            partition = self._partition_of(record.key, len(log))
        received = Received(
            topic=record.topic,
            partition=partition,
            offset=len(log[partition]),
            timestamp=self._clock() if timestamp is None else timestamp,
            value=record.value,
            key=record.key,
            headers=record.headers,
        )
        log[partition].append(received)
        self.history[record.topic].append(received)
        self.changed.unpark_all()
        return Position(record.topic, partition, received.offset)

    def _partition_of(self, key: bytes | None, count: int) -> int:
        if key is not None:
            return zlib.crc32(key) % count
        self._spread += 1
        return (self._spread - 1) % count

    def partitions(self, names: Iterable[str]) -> Iterator[TopicPartition]:
        """Give every partition of these topics."""
        for name in names:
            for number in range(len(self._logs[name])):
                yield name, number

    def ends(self, names: Iterable[str]) -> dict[TopicPartition, int]:
        """Return for each partition the offset that the next record will have."""
        return {(name, number): len(self._logs[name][number]) for name, number in self.partitions(names)}

    def read(self, positions: dict[TopicPartition, int]) -> list[Received]:
        """Return up to `MAX_BATCH` records from the positions on, and move the positions behind them."""
        batch: list[Received] = []
        if self.down is not None:
            return batch
        for (name, number), position in positions.items():
            records = self._logs[name][number][position : position + MAX_BATCH - len(batch)]
            positions[name, number] = position + len(records)
            batch += records
        return batch

    def add_partitions(self, name: str, count: int) -> None:
        """Give a topic more partitions."""
        self._logs[name].extend([] for _ in range(count))
        for group in self.groups.values():
            self._share(group)

    def join(self, group_name: str, member: MemorySubscription) -> None:
        """Add a member to a group, and share the partitions anew."""
        group = self.groups[group_name]
        group.members.append(member)
        self._share(group)

    def leave(self, group_name: str, member: MemorySubscription) -> None:
        """Take a member out of a group, and share the partitions anew."""
        group = self.groups[group_name]
        group.members.remove(member)
        self._share(group)

    def _share(self, group: _Group) -> None:
        shares: list[list[TopicPartition]] = [[] for _ in group.members]
        names = dict.fromkeys(name for member in group.members for name in member.topics)
        for turn, partition in enumerate(self.partitions(names)):
            able = [share for member, share in zip(group.members, shares, strict=True)
                    if partition[0] in member.topics]  # fmt: skip
            able[turn % len(able)].append(partition)
        for member, share in zip(group.members, shares, strict=True):
            member.rebalanced(share)
        self.changed.unpark_all()
