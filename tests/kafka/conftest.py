"""The bus under test, of every kind, and the clock that goes with it."""

from collections.abc import Iterable
from typing import Any

import pytest
import trio.testing
from bus_checker import Subject

from flux.transport.kafka.bus import Bus, Topic
from flux.transport.kafka.confluent import ConfluentBus
from flux.transport.kafka.embedded import EmbeddedBroker
from flux.transport.kafka.memory import MemoryBus


class SharedMemory:
    """Makes a memory bus once, then gives the same one, as a broker would."""

    def __init__(self) -> None:
        self.bus: MemoryBus | None = None

    def __call__(self, topics: Iterable[Topic], **options: Any) -> Bus:
        """Return the bus."""
        if self.bus is None:
            delivery_timeout = options.pop("message_timeout", 10)
            self.bus = MemoryBus(topics, delivery_timeout=delivery_timeout, **options)
        return self.bus


@pytest.fixture(params=["memory", "embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def subject(request: pytest.FixtureRequest) -> Subject:
    """A bus of each kind."""
    match request.param:
        case "memory":
            return Subject("memory", SharedMemory())
        case "embedded":
            broker: EmbeddedBroker = request.getfixturevalue("embedded_broker")
            return Subject(
                "embedded",
                lambda topics, **options: ConfluentBus(
                    topics, bootstrap_servers=broker.bootstrap_servers, broker=broker, **options
                ),
            )
        case _:
            bootstrap_servers = request.getfixturevalue("apache_kafka").bootstrap_servers
            return Subject(
                "kafka",
                lambda topics, **options: ConfluentBus(
                    topics, bootstrap_servers=bootstrap_servers, **options
                ),
            )


@pytest.fixture
def clock(request: pytest.FixtureRequest) -> trio.abc.Clock | None:
    """A virtual clock for the bus in memory; the real one where threads and sockets take part."""
    if "subject" in request.fixturenames and request.getfixturevalue("subject").kind != "memory":
        return None
    return trio.testing.MockClock(autojump_threshold=0)
