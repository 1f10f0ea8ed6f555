"""A second member of a service's consumer group that takes its share and never does a thing with it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from attrs import define, field
from confluent_kafka import Consumer
from kafka_watch import FETCH

GROUP = "flux.weather"


@define(eq=False)
class Rival:
    """Joins, polls, leaves; what it was given and did not finish goes back to the others.

    Args:
        bootstrap_servers: of the broker.
        records: how many it was given.
    """

    bootstrap_servers: str
    records: int = 0
    _leaving: threading.Event = field(factory=threading.Event)
    _thread: threading.Thread | None = None

    def join(self) -> "Rival":
        """Join the group; each join is a rebalance."""
        self._leaving.clear()
        self._thread = threading.Thread(target=self._poll, name="rival")
        self._thread.start()
        return self

    def leave(self) -> None:
        """Leave the group, which is a rebalance too; returns when the thread has ended."""
        self._leaving.set()
        if self._thread is not None:
            self._thread.join(30)
            assert not self._thread.is_alive()
            self._thread = None

    def _poll(self) -> None:
        consumer = Consumer(
            {
                "bootstrap.servers": self.bootstrap_servers,
                "group.id": GROUP,
                "partition.assignment.strategy": "cooperative-sticky",
                "session.timeout.ms": 1500,
                "heartbeat.interval.ms": 200,
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "log_level": 0,
            }
        )
        consumer.subscribe([FETCH])
        while not self._leaving.is_set():
            message = consumer.poll(0.05)
            self.records += message is not None and message.error() is None
        consumer.close()


@contextmanager
def rival(bootstrap_servers: str) -> Iterator[Rival]:
    """A rival that has joined; it has left when the block ends."""
    member = Rival(bootstrap_servers).join()
    try:
        yield member
    finally:
        member.leave()
