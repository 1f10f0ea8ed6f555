"""The Kafka bus: topics with owners, over a real Apache Kafka, an embedded broker, or memory.

* ``bus``: the interface: `Bus`, `Client`, `Subscription`, `Follower`, `Topic`.
* ``catalog``, ``offsets``: what all buses share: ownership and bounds; which offset may be committed.
* ``confluent``: the bus over librdkafka, made of ``producer``, ``consumer`` and ``admin``.
* ``embedded``: a broker inside this process.
* ``memory``: a bus without a broker, for unit tests.
"""
