"""The buses that one set of tests runs over: in memory, on the embedded broker, on a real Apache Kafka."""

import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import trio
from attrs import field, frozen

from flux.messages import Received, Record
from flux.transport.kafka.bus import Bus, Client, Follower, Subscription, Topic

PRODUCER, CONSUMER, STRANGER = "producer", "consumer", "stranger"


@frozen
class Subject:
    """A kind of bus under test.

    Args:
        kind: memory, embedded or kafka.
        make: makes a bus over the same broker each time; takes the topics and options of the bus.
        prefix: makes this test's names its own on a broker that others use too.
    """

    kind: str
    make: Callable[..., Bus]
    prefix: str = field(factory=lambda: uuid.uuid4().hex[:8])

    def topic(self, name: str = "things", *, partitions: int = 2) -> Topic:
        """Return a topic of this test."""
        return Topic(f"{self.prefix}.{name}", PRODUCER, CONSUMER, partitions, timedelta(hours=1))

    def group(self, name: str = "group") -> str:
        """Return a group of this test."""
        return f"{self.prefix}.{name}"

    @asynccontextmanager
    async def open(self, *topics: Topic, **options: Any) -> AsyncIterator["Open"]:
        """Run a bus with these topics created; a whole test may take 40 s of its clock."""
        bus = self.make(topics, **options)
        with trio.fail_after(40):
            async with trio.open_nursery() as nursery:
                await nursery.start(bus.run)
                await bus.wait_connected()
                await bus.create_topics()
                yield Open(bus, bus.client(PRODUCER), bus.client(CONSUMER))
                nursery.cancel_scope.cancel()


@frozen
class Open:
    """A running bus, with the two sides of its topics."""

    bus: Bus
    producer: Client
    consumer: Client


def record(topic: Topic, value: str, key: str | None = None) -> Record:
    """Return a record with text for its value and key."""
    return Record(topic.name, value.encode(), key.encode() if key is not None else None)


def text(received: Received) -> str:
    """Return a received record's value as text."""
    assert received.value is not None
    return received.value.decode()


async def take(reader: Subscription | Follower, count: int) -> list[Received]:
    """Receive batches until there are that many records."""
    records: list[Received] = []
    while len(records) < count:
        records += await reader.receive()
    return records


async def takes_nothing(reader: Subscription | Follower, seconds: float = 1.5) -> bool:
    """Return whether nothing arrives for so long."""
    with trio.move_on_after(seconds):
        await reader.receive()
        return False
    return True
