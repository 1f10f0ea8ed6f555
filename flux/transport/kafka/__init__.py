"""The Kafka bus: topics with owners, over a real Apache Kafka, an embedded broker, or memory.

* ``bus``: the interface: `Bus`, `Client`, `Subscription`, `Follower`, `Topic`.
* ``catalog``, ``owned``, ``offsets``: what all buses share: ownership and bounds, checked before all else;
  which offset may be committed.
* ``confluent``: the bus over librdkafka, made of ``producer``, ``consumer`` and ``admin``.
* ``embedded``: a broker inside this process.
* ``memory``: a bus without a broker, for unit tests.
"""

from flux.transport.kafka.admin import PartitionInfo, TopicInfo
from flux.transport.kafka.bus import (
    Bus,
    BusStatus,
    Client,
    Follower,
    OwnershipError,
    Position,
    Subscription,
    Topic,
)
from flux.transport.kafka.catalog import OPERATOR
from flux.transport.kafka.confluent import ConfluentBus
from flux.transport.kafka.embedded import EmbeddedBroker
from flux.transport.kafka.memory import MemoryBus

__all__ = [
    "OPERATOR",
    "Bus",
    "BusStatus",
    "Client",
    "ConfluentBus",
    "EmbeddedBroker",
    "Follower",
    "MemoryBus",
    "OwnershipError",
    "PartitionInfo",
    "Position",
    "Subscription",
    "Topic",
    "TopicInfo",
]
