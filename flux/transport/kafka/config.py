"""librdkafka's settings: what Flux needs of every client, for a real broker and for the embedded one."""

from collections.abc import Mapping
from typing import Any

import structlog
from attrs import define, field, frozen

log = structlog.get_logger("flux.kafka")

_OVERHEAD_BYTES = 131_072
"""Room for key, headers and framing around the largest value (the catalogue's bounds, rounded up)."""


@define
class LibraryLog:
    """What librdkafka logs, at debug level: a broker that is away makes it talk all the time.

    Attributes:
        ended: the client was given up; what it still says while its thread ends is of no use to anyone.
    """

    ended: bool = field(default=False, init=False)

    def log(self, level: int, text: str, *args: object) -> None:
        """Take a line, as `logging.Logger.log` would."""
        if not self.ended:
            log.debug("librdkafka", text=text % args, level=level)


@frozen
class KafkaConfig:
    """How to reach a Kafka, and how long to wait for it.

    Args:
        bootstrap_servers: ``host:port``, several separated by commas.
        client_id: names this process in the broker's logs and quotas.
        extra: settings of librdkafka, passed through (TLS, SASL, timeouts).
        embedded: the broker is librdkafka's mock cluster, which needs shorter waits.
        message_timeout: seconds until an undelivered record is given up.
        max_value_bytes: how large a record's value may be.
    """

    bootstrap_servers: str
    client_id: str = "flux"
    extra: Mapping[str, Any] = field(factory=dict)
    embedded: bool = False
    message_timeout: float = 10
    max_value_bytes: int = 1_000_000

    @property
    def max_message_bytes(self) -> int:
        """The largest record with its key and headers."""
        return self.max_value_bytes + _OVERHEAD_BYTES

    def common(self) -> dict[str, Any]:
        """Return the settings of every kind of client."""
        settings: dict[str, Any] = {
            "log.connection.close": False,
            "socket.keepalive.enable": True,
            "socket.connection.setup.timeout.ms": 5000,
            # An absent broker is asked for again often enough to heal soon, and calls error_cb half as often
            # as with librdkafka's 100 ms.
            "reconnect.backoff.ms": 50 if self.embedded else 250,
            "reconnect.backoff.max.ms": 500 if self.embedded else 2000,
            "allow.auto.create.topics": False,
        }
        if self.embedded:
            settings["topic.metadata.refresh.interval.ms"] = 200
        settings.update(self.extra)
        settings["bootstrap.servers"] = self.bootstrap_servers
        settings["client.id"] = self.client_id
        settings["logger"] = LibraryLog()
        return settings

    def producer(self) -> dict[str, Any]:
        """Return the settings of the process's producer."""
        settings: dict[str, Any] = {
            "linger.ms": 0,
            # As Java's producer does, so that others can write to the same partitions by key.
            "partitioner": "murmur2_random",
            "queue.buffering.max.messages": 100_000,
            "queue.buffering.max.kbytes": 65_536,
        }
        settings.update(self.common())
        settings["enable.idempotence"] = True
        settings["message.timeout.ms"] = round(self.message_timeout * 1000)
        settings["message.max.bytes"] = self.max_message_bytes
        return settings

    def consumer(self, group: str) -> dict[str, Any]:
        """Return the settings of a consumer of that group.

        Auto-commit is off: with it, closing beside a dead broker takes the whole session time-out.
        """
        settings: dict[str, Any] = {
            "auto.offset.reset": "earliest",
            "fetch.queue.backoff.ms": 10,
            "queued.min.messages": 10_000,
            "queued.max.messages.kbytes": 16_384,
            "session.timeout.ms": 10_000,
            "heartbeat.interval.ms": 1000,
        }
        if self.embedded:
            # The mock cluster sleeps through the whole wait of an empty fetch, and lets a member that left
            # hold up the next one until its session is over.
            settings |= {
                "fetch.wait.max.ms": 10,
                "session.timeout.ms": 1500,
                "heartbeat.interval.ms": 100,
            }
        settings.update(self.common())
        settings["group.id"] = group
        settings["partition.assignment.strategy"] = "cooperative-sticky"
        settings["enable.auto.commit"] = False
        settings["enable.auto.offset.store"] = False
        return settings
