"""An onlooker on Kafka that owes Flux nothing: plain confluent-kafka, every partition, every record."""

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import trio
from attrs import define, field, frozen
from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition

COMMANDS = (
    "weather.service.command.fetch",
    "crypto.service.command.topmovers.refresh",
    "crypto.service.command.topcoins.refresh",
    "news.service.command.refresh",
    "stock.service.command.topperformers.refresh",
)
EVENTS = (
    "weather.service.event.updated",
    "crypto.movers.event.updated",
    "crypto.topcoins.event.updated",
    "crypto.ticker.event.updated",
    "news.service.event.updated",
    "stock.service.event.updated",
)
REJECTED = tuple(f"{domain}.service.event.rejected" for domain in ("weather", "crypto", "news", "stock"))
TOPICS = (*COMMANDS, *EVENTS, *REJECTED)

FETCH, MOVERS_REFRESH, COINS_REFRESH, NEWS_REFRESH, STOCK_REFRESH = COMMANDS
WEATHER, MOVERS, COINS, TICKER, NEWS, STOCK = EVENTS

WAIT = 15.0
"""Seconds until a wait counts as failed."""


@frozen
class Seen:
    """A record as the onlooker saw it."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    value: bytes | None
    key: bytes | None
    headers: Mapping[str, bytes]

    @property
    def json(self) -> Any:
        """The value, decoded."""
        assert self.value is not None
        return json.loads(self.value)

    def at(self, *path: str) -> Any:
        """Return what the value has at a path of fields; None where it has not, or is no JSON at all."""
        try:
            found = self.json
            for name in path:
                found = found[name]
        except (AssertionError, ValueError, LookupError, TypeError, RecursionError):
            return None
        return found


def _seen(message: Message) -> Seen:
    return Seen(
        topic=message.topic(),
        partition=message.partition(),
        offset=message.offset(),
        timestamp=message.timestamp()[1],
        value=message.value(),
        key=message.key(),
        headers=dict(message.headers() or ()),
    )


@define(eq=False)
class KafkaWatch:
    """Reads all topics from the beginning in a thread of its own, and produces what tests ask for.

    Args:
        bootstrap_servers: of the broker that is watched.
        topics: what to watch; they must exist.
    """

    bootstrap_servers: str
    topics: Sequence[str] = TOPICS
    records: list[Seen] = field(factory=list)
    _next: dict[tuple[str, int], int] = field(factory=dict)
    _waiters: set[tuple[Any, trio.Event]] = field(factory=set)
    _lock: threading.Lock = field(factory=threading.Lock)
    _stopping: threading.Event = field(factory=threading.Event)
    _thread: threading.Thread | None = None
    _producer: Producer = field(init=False)
    _probe: Consumer = field(init=False)
    _partitions: list[TopicPartition] = field(factory=list)

    def start(self) -> "KafkaWatch":
        """Begin to watch; returns once every topic is there.

        Raises:
            AssertionError: a topic is missing.
        """
        basics = {"bootstrap.servers": self.bootstrap_servers, "log_level": 0}
        self._producer = Producer(basics | {"linger.ms": 0, "message.timeout.ms": 10_000})
        reader = basics | {
            "group.id": "onlooker",
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 10,
            "auto.offset.reset": "earliest",
        }
        self._probe = Consumer(reader)
        deadline = time.monotonic() + WAIT
        while missing := self._missing():
            assert time.monotonic() < deadline, f"topics missing on Kafka: {missing}"
            time.sleep(0.05)
        self._thread = threading.Thread(target=self._read, args=(Consumer(reader),), name="kafka watch")
        self._thread.start()
        return self

    def _missing(self) -> set[str]:
        found = self._probe.list_topics(timeout=WAIT).topics
        missing = {t for t in self.topics if t not in found or not found[t].partitions}
        self._partitions = [
            TopicPartition(t, p, 0) for t in self.topics if t in found for p in found[t].partitions
        ]
        return missing

    def stop(self) -> None:
        """End the thread and close the clients."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(10)
        self._probe.close()
        self._producer.flush(1)

    def _read(self, consumer: Consumer) -> None:
        consumer.assign(self._partitions)
        while not self._stopping.is_set():
            first = consumer.poll(0.05)
            batch = [first, *consumer.consume(500, 0)] if first is not None else []
            good = [_seen(m) for m in batch if m.error() is None]
            with self._lock:
                for record in good:
                    self._next[record.topic, record.partition] = record.offset + 1
                self.records.extend(good)
                waiters = self._waiters if good else set()
                if good:
                    self._waiters = set()
            for token, event in waiters:
                try:
                    token.run_sync_soon(event.set)
                except trio.RunFinishedError:
                    continue  # the test that waited is over
        consumer.close()

    def mark(self) -> int:
        """Return a place in `records`, for `after`."""
        return len(self.records)

    def seen(
        self, topic: str, matches: Callable[[Seen], bool] = lambda _: True, *, after: int = 0
    ) -> list[Seen]:
        """Return the records of a topic that match, so far."""
        return [r for r in self.records[after:] if r.topic == topic and matches(r)]

    async def wait_record(
        self,
        topic: str,
        matches: Callable[[Seen], bool] = lambda _: True,
        *,
        after: int = 0,
        timeout: float = WAIT,  # noqa: ASYNC109 - a failed wait tells what was seen instead
    ) -> Seen:
        """Return the first record of a topic that matches, also one that is already there.

        Raises:
            AssertionError: none came in time.
        """
        found: list[Seen] = []

        def there() -> bool:
            found[:] = self.seen(topic, matches, after=after)[:1]
            return bool(found)

        with trio.move_on_after(timeout):
            await self._until(there)
        if found:
            return found[0]
        values = [r.value for r in self.seen(topic, after=after)]
        raise AssertionError(f"no such record on {topic} within {timeout:g} s; seen: {values[-5:]}")

    async def caught_up(self) -> None:
        """Wait until everything that is on Kafka now has been seen: the fence of negative checks."""
        ends = await trio.to_thread.run_sync(self._ends)
        with trio.fail_after(WAIT):
            await self._until(lambda: all(self._next.get(at, 0) >= end for at, end in ends.items()))

    def _ends(self) -> dict[tuple[str, int], int]:
        return {
            (p.topic, p.partition): self._probe.get_watermark_offsets(p, timeout=WAIT, cached=False)[1]
            for p in self._partitions
        }

    async def _until(self, condition: Callable[[], bool]) -> None:
        while True:
            event = trio.Event()
            with self._lock:
                if condition():
                    return
                self._waiters.add((trio.lowlevel.current_trio_token(), event))
            await event.wait()

    async def produce(
        self,
        topic: str,
        value: Any,
        *,
        key: str | None = None,
        headers: Mapping[str, str | bytes] | None = None,
        partition: int | None = None,
    ) -> Seen:
        """Put a record on Kafka as anyone could, and return it as Kafka has it.

        Args:
            topic: where to.
            value: bytes as they are, None a tombstone, anything else as JSON.
            key: decides the partition.
            headers: metadata, if any.
            partition: None lets the key decide.
        """
        raw = value if value is None or isinstance(value, bytes) else json.dumps(value).encode()
        delivered: list[Message] = []
        problems: list[KafkaError] = []

        def report(error: KafkaError | None, message: Message) -> None:
            (delivered if error is None else problems).append(message if error is None else error)

        def send() -> None:
            self._producer.produce(
                topic,
                raw,
                key=key,
                headers=list((headers or {}).items()),
                on_delivery=report,
                **({} if partition is None else {"partition": partition}),
            )
            self._producer.flush(WAIT)

        await trio.to_thread.run_sync(send)
        assert delivered, f"Kafka did not take a record on {topic}: {problems}"
        return _seen(delivered[0])
