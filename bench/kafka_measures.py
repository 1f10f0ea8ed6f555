"""What the Kafka bus costs beside bare confluent-kafka loops, on the broker that is given."""

import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack, contextmanager
from itertools import chain
from random import Random
from typing import Any

import msgspec
import trio
from attrs import evolve, frozen
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from flux.bff.delivery import Delivery
from flux.bff.options import BffOptions
from flux.bff.pump import Pump
from flux.bff.seats import Seats
from flux.bff.single_flight import SingleFlight
from flux.bff.snapshots import Snapshots
from flux.domains.crypto import CRYPTO
from flux.domains.crypto.views import TICKER
from flux.messages import Record, Stamp, wall_clock
from flux.transport.kafka.bus import Client, Follower, Position, Subscription, Topic
from flux.transport.kafka.config import KafkaConfig
from flux.transport.kafka.confluent import ConfluentBus
from flux.transport.kafka.embedded import EmbeddedBroker

READER, WRITER = "bff", "crypto"
PARTITIONS = 32
RECORDS = 150_000
"""As many ticker events as the embedded broker keeps in so many partitions, with some room: 5 MiB each."""

PLAIN_RECORDS = 600_000
PLAIN = b"x" * 100
"""The value of a plain record, which has a key and no headers."""

WAIT_SECONDS = 60.0
RATE = 1_000
LATENCY_SECONDS = 3.0
WARM_SECONDS = 0.5
TASKS = 100
PUBLISHES = 10_000


class MeasureError(Exception):
    """A measure did not come to its end."""


@frozen
class Broker:
    """The broker of a run, with topics of this run alone.

    Args:
        bus: the bus, not running.
        config: its settings, for the bare loops too.
        plain: is filled with plain records.
        bulk: is filled with ticker events.
        paced: gets events at a steady rate.
        awaited: gets events one by one.
        rejected: stays empty; the pump reads it beside the ticker.
    """

    bus: ConfluentBus
    config: KafkaConfig
    plain: Topic
    bulk: Topic
    paced: Topic
    awaited: Topic
    rejected: Topic


@contextmanager
def broker(bootstrap_servers: str | None) -> Iterator[Broker]:
    """Give the broker at that address, or an embedded one, with topics that go when the block ends."""
    run = f"bench.{time.time_ns():x}"
    partitions = {"plain": PARTITIONS, "bulk": PARTITIONS, "paced": 1, "awaited": 4, "rejected": 1}
    topics = {
        name: Topic(f"{run}.{name}", producer=WRITER, consumer=READER, partitions=count)
        for name, count in partitions.items()
    }
    with ExitStack() as stack:
        host = None
        if bootstrap_servers is None:
            host = stack.enter_context(EmbeddedBroker())
            bootstrap_servers = host.bootstrap_servers
        bus = ConfluentBus(
            topics.values(), bootstrap_servers=bootstrap_servers, broker=host, client_id="bench"
        )
        config = KafkaConfig(bootstrap_servers, client_id="bench", embedded=host is not None)
        if host is None:
            stack.callback(_delete, config, [topic.name for topic in topics.values()])
        trio.run(bus.create_topics)
        yield Broker(bus, config, **topics)


def _delete(config: KafkaConfig, names: list[str]) -> None:
    for outcome in AdminClient(config.common()).delete_topics(names).values():
        outcome.exception(WAIT_SECONDS)


def fill(target: Broker) -> None:
    """Put the plain records into their topic, and the ticker events, as the crypto service writes them."""
    room = {"queue.buffering.max.messages": 1_000_000, "queue.buffering.max.kbytes": 1_000_000}
    producer = Producer(target.config.producer() | {"linger.ms": 20} | room)
    stamp = Stamp(WRITER, wall_clock, Random(1))
    plain = (Record(target.plain.name, PLAIN, _product(number)) for number in range(PLAIN_RECORDS))
    ticks = (
        stamp.record(target.bulk.name, ticker(number), key=_product(number).decode())
        for number in range(RECORDS)
    )
    for number, record in enumerate(chain(plain, ticks)):
        # Round robin, so that every partition holds as much.
        producer.produce(
            record.topic,
            record.value,
            record.key,
            headers=list(record.headers) or None,
            partition=number % PARTITIONS,
        )
        if number % 1000 == 0:
            producer.poll(0)
    if producer.flush(WAIT_SECONDS):
        raise MeasureError("the broker did not take the records")


def _product(number: int) -> bytes:
    return b"P%d-USD" % (number % 64)


def ticker(number: int) -> bytes:
    """Return a ticker event as the crypto service writes it, of the usual size."""
    price = f"{60_000 + number % 1000}.{number % 100:02}"
    data = {
        "type": "ticker",
        "sequence": 90_000_000_000 + number,
        "product_id": f"P{number % 64}-USD",
        "price": price,
        "open_24h": "59876.54",
        "volume_24h": "12345.67890123",
        "low_24h": "58765.43",
        "high_24h": "61234.56",
        "best_bid": price,
        "best_ask": price,
        "side": "buy",
        "time": "2026-01-31T08:30:00.123456Z",
        "trade_id": number,
    }
    event = {"status": "success", "data": data, "source": "bench", "timestamp": "2026-01-31T08:30:00.123Z"}
    return msgspec.json.encode(event)


# Reading: from the first record to the last.


def bare_plain(target: Broker) -> float:
    """Return the plain records per second of a loop around `poll` that looks at each value."""
    return _bare_poll(target, target.plain, PLAIN_RECORDS)


def bare_ticks(target: Broker) -> float:
    """Return the ticker events per second of such a loop."""
    return _bare_poll(target, target.bulk, RECORDS)


def _bare_poll(target: Broker, topic: Topic, records: int) -> float:
    consumer = Consumer(target.config.consumer("bench.bare"))
    try:
        consumer.assign([TopicPartition(topic.name, number, 0) for number in range(PARTITIONS)])
        seen, began = 0, 0.0
        deadline = time.monotonic() + WAIT_SECONDS
        while seen < records:
            message = consumer.poll(0.1)
            if message is None:
                _check(deadline, seen)
            elif message.error() is None and message.value():
                seen += 1
                began = began or time.perf_counter()
        return (seen - 1) / (time.perf_counter() - began)
    finally:
        consumer.close()


def flux_plain(target: Broker) -> float:
    """Return the plain records per second that a follower gives to a trio task that looks at each value."""
    return _flux_batches(target, target.plain, PLAIN_RECORDS)


def flux_ticks(target: Broker) -> float:
    """Return the ticker events per second of such a task."""
    return _flux_batches(target, target.bulk, RECORDS)


def _flux_batches(target: Broker, topic: Topic, records: int) -> float:
    async def main() -> float:
        seen, first, began = 0, 0, 0.0
        with trio.fail_after(WAIT_SECONDS):
            async with target.bus.client(READER).follow([topic.name], replay=sys.maxsize) as follower:
                while seen < records:
                    for value in (await follower.receive()).values:
                        if value:
                            seen += 1
                    if not first:
                        first, began = seen, time.perf_counter()
                return (seen - first) / (time.perf_counter() - began)

    return trio.run(main)


def flux_pump(target: Broker) -> float:
    """Return the ticker events per second that the BFF reads, checks and gives to its Socket.IO server."""

    async def main() -> float:
        feed = evolve(TICKER, topic=target.bulk)
        domain = evolve(CRYPTO, commands=(), feeds=(feed,), requests=(), rejected=target.rejected)
        server, seats = _Counting(), Seats(domain.feeds)
        seats.open("a client")
        seats.join("a client", feed)
        snapshots = Snapshots(1)
        pump = Pump(
            _FromBeginning(target.bus.client(READER)),
            server,
            [domain],
            delivery=Delivery(server, seats, snapshots, wall_clock),
            snapshots=snapshots,
            flights=SingleFlight(1),
            now=wall_clock,
            options=BffOptions(),
        )
        with trio.fail_after(WAIT_SECONDS):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(pump.run)
                await server.finished.wait()
                nursery.cancel_scope.cancel()
        return (RECORDS - 1) / (server.ended - server.began)

    return trio.run(main)


def _check(deadline: float, seen: int) -> None:
    if time.monotonic() > deadline:
        raise MeasureError(f"only {seen} records came")


class _Counting:
    """Stands for the Socket.IO server: takes what the BFF emits, and counts it."""

    def __init__(self) -> None:
        self.count = 0
        self.began = self.ended = 0.0
        self.finished = trio.Event()

    def on(self, event: str, handler: Callable[..., Any], namespace: str = "/") -> None:
        """Do nothing."""

    def emit(
        self,
        event: str,  # noqa: ARG002 - the port's own signature, also below
        data: Any = None,  # noqa: ARG002
        to: str | None = None,  # noqa: ARG002
        *,
        conflate: str | None = None,  # noqa: ARG002
    ) -> None:
        """Count an event."""
        self.count += 1
        if self.count == 1:
            self.began = time.perf_counter()
        elif self.count == RECORDS:
            self.ended = time.perf_counter()
            self.finished.set()

    def enter_room(self, sid: str, room: str) -> None:
        """Do nothing."""

    def leave_room(self, sid: str, room: str) -> None:
        """Do nothing."""

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Do nothing."""
        yield


class _FromBeginning(Client):
    """A client whose followers begin where the topics begin, also those that would take only what comes."""

    def __init__(self, client: Client) -> None:
        self.principal = client.principal
        self._client = client

    async def send(self, record: Record) -> None:
        """As the client."""
        await self._client.send(record)

    async def publish(self, record: Record) -> Position:
        """As the client."""
        return await self._client.publish(record)

    def subscribe(self, topics: Sequence[str], *, group: str) -> AbstractAsyncContextManager[Subscription]:
        """As the client."""
        return self._client.subscribe(topics, group=group)

    def follow(self, topics: Sequence[str], *, replay: int) -> AbstractAsyncContextManager[Follower]:  # noqa: ARG002 - all of it is read
        """Follow from the beginning."""
        return self._client.follow(topics, replay=sys.maxsize)


# Latency: from the stamp in the event to the reader.


def bare_latency(target: Broker) -> float:
    """Return the p99 of the milliseconds that an event takes to a loop around `poll`."""
    consumer = Consumer(target.config.consumer("bench.bare"))
    try:
        high = consumer.get_watermark_offsets(TopicPartition(target.paced.name, 0), timeout=10)[1]
        consumer.assign([TopicPartition(target.paced.name, 0, high)])
        consumer.poll(0.5)
        took: list[float] = []
        with _sending(target):
            deadline = time.monotonic() + LATENCY_SECONDS
            while time.monotonic() < deadline:
                message = consumer.poll(0.05)
                if message is not None and message.error() is None:
                    took.append((time.monotonic_ns() - int(message.value())) / 1e6)
        return _p99(took)
    finally:
        consumer.close()


def flux_latency(target: Broker) -> float:
    """Return the p99 of the milliseconds that an event takes to a trio task behind a follower."""
    took: list[float] = []

    async def main() -> None:
        async with target.bus.client(READER).follow([target.paced.name], replay=0) as follower:
            await follower.caught_up()
            with _sending(target), trio.move_on_after(LATENCY_SECONDS):
                while True:
                    records, now = await follower.receive(), time.monotonic_ns()
                    took.extend((now - int(record.value or b"0")) / 1e6 for record in records)

    trio.run(main)
    return _p99(took)


def _p99(took: list[float]) -> float:
    warm = took[int(WARM_SECONDS * RATE) :]
    if len(warm) < RATE:
        raise MeasureError(f"only {len(took)} paced events came")
    return sorted(warm)[int(len(warm) * 0.99)]


@contextmanager
def _sending(target: Broker) -> Iterator[None]:
    """Have another process send events at the rate, each with the time in it."""
    arguments = [target.config.bootstrap_servers, target.paced.name, str(RATE)]
    with subprocess.Popen([sys.executable, "-m", "bench.kafka_sender", *arguments]) as process:  # noqa: S603 - our own
        try:
            yield
        finally:
            process.terminate()


# Publishing: 100 tasks, each with one publish outstanding.


def bare_publishes(target: Broker) -> float:
    """Return the awaited publishes per second of tasks around a bare Producer and a thread that polls."""
    producer = Producer(target.config.producer())
    stopping = threading.Event()

    def poll() -> None:
        while not stopping.is_set():
            producer.poll(0.1)

    async def publish(record: Record) -> None:
        token, event = trio.lowlevel.current_trio_token(), trio.Event()
        producer.produce(
            record.topic,
            record.value,
            record.key,
            headers=list(record.headers),
            on_delivery=lambda _error, _message: token.run_sync_soon(event.set),
        )
        await event.wait()

    thread = threading.Thread(target=poll)
    thread.start()
    try:
        return trio.run(_publishing, target, publish)
    finally:
        stopping.set()
        thread.join()


def flux_publishes(target: Broker) -> float:
    """Return the awaited publishes per second of tasks that share the bus."""

    async def main() -> float:
        async with trio.open_nursery() as nursery:
            await nursery.start(target.bus.run)
            await target.bus.wait_connected()
            rate = await _publishing(target, target.bus.client(WRITER).publish)
            nursery.cancel_scope.cancel()
        return rate

    return trio.run(main)


async def _publishing(target: Broker, publish: Callable[[Record], Awaitable[object]]) -> float:
    stamp = Stamp(WRITER, wall_clock, Random(1))
    records = [stamp.record(target.awaited.name, ticker(n), key=f"P{n}-USD") for n in range(TASKS)]
    for record in records:  # the connection and the topic are known from here on
        await publish(record)

    async def work(record: Record) -> None:
        for _ in range(PUBLISHES // TASKS):
            await publish(record)

    began = time.perf_counter()
    with trio.fail_after(WAIT_SECONDS):
        async with trio.open_nursery() as nursery:
            for record in records:
                nursery.start_soon(work, record)
    return PUBLISHES / (time.perf_counter() - began)
