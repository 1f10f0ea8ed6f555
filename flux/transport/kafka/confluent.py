"""The bus over librdkafka (confluent-kafka): a real Apache Kafka, or the embedded broker."""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import trio

from flux.errors import BrokenError
from flux.messages import Record
from flux.transport.kafka.admin import Admin, TopicInfo
from flux.transport.kafka.bus import Bus, BusStatus, Follower, Position, Subscription, Topic
from flux.transport.kafka.catalog import MAX_VALUE_BYTES, Catalog
from flux.transport.kafka.config import KafkaConfig
from flux.transport.kafka.consumer import ConsumerThread
from flux.transport.kafka.embedded import EmbeddedBroker
from flux.transport.kafka.follower import ConfluentFollower, FollowPlan
from flux.transport.kafka.handover import Handover
from flux.transport.kafka.link import Link
from flux.transport.kafka.owned import OwnedClient
from flux.transport.kafka.producer import KafkaProducer
from flux.transport.kafka.subscription import ConfluentSubscription, GroupPlan


class ConfluentBus(Bus):
    """A process's connection to Kafka.

    `run` must run for `send` and `publish`, and for `status` to follow the broker; subscriptions and
    followers work without it.

    Args:
        topics: the declared topics.
        bootstrap_servers: ``host:port``, several separated by commas.
        config: settings of librdkafka, passed through (TLS, SASL); what the bus itself depends on cannot be
            changed (idempotence, commits, statistics).
        embedded: the broker is an `EmbeddedBroker`, of this process or another.
        broker: the embedded broker, where it is this process's: it creates the topics.
        client_id: names this process in the broker's logs.
        max_value_bytes: how large a record's value may be.
        message_timeout: seconds until an undelivered record is given up.

    Raises:
        LocalError: a topic is declared wrongly.
    """

    def __init__(
        self,
        topics: Iterable[Topic],
        *,
        bootstrap_servers: str,
        config: Mapping[str, Any] | None = None,
        embedded: bool = False,
        broker: EmbeddedBroker | None = None,
        client_id: str = "flux",
        max_value_bytes: int = MAX_VALUE_BYTES,
        message_timeout: float = 10,
    ) -> None:
        self.catalog = Catalog(topics, max_value_bytes=max_value_bytes)
        self._config = KafkaConfig(
            bootstrap_servers,
            client_id=client_id,
            extra=config or {},
            embedded=embedded or broker is not None,
            message_timeout=message_timeout,
            max_value_bytes=max_value_bytes,
        )
        self._broker = broker
        self._link = Link()
        self._admin = Admin(self._config)
        self._producer = KafkaProducer(self._config, self._link, probe_topic=next(iter(self.catalog), None))

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve delivery reports and watch the broker until cancelled; see `KafkaProducer.run`."""
        await self._producer.run(task_status=task_status)

    def client(self, principal: str) -> "ConfluentClient":
        """Return the bus as that principal sees it."""
        return ConfluentClient(self.catalog, self._config, self._producer, self._link, principal)

    async def create_topics(self) -> list[str]:
        """Create those of the declared topics that are missing.

        On an embedded broker of another process, which only that one can do, make sure that they exist.
        """
        if self._broker is not None:
            await trio.lowlevel.checkpoint()
            return self._broker.create_topics(self.catalog.values())
        if not self._config.embedded:
            return await self._admin.create_topics(self.catalog.values())
        infos = await self.list_topics()
        missing = [name for name, info in infos.items() if not info.exists]
        if missing:
            raise BrokenError(f"the embedded broker's owner has not created {', '.join(missing)}")
        return []

    async def list_topics(self) -> dict[str, TopicInfo]:
        """Return what the broker has of the declared topics, by name.

        Raises:
            BrokenError: the broker did not answer.
        """
        return await self._admin.list_topics(self.catalog.values())

    async def records_since(self, topic: str, milliseconds: int) -> int:
        """Return how far back `follow` must go to have all records since a Kafka timestamp.

        Raises:
            BrokenError: the broker did not answer.
        """
        return await self._admin.records_since(topic, milliseconds)

    @property
    def status(self) -> BusStatus:
        """Whether the broker answered last."""
        return self._link.status

    async def wait_connected(self) -> None:
        """Return once the broker answers."""
        await self._link.wait_connected()


class ConfluentClient(OwnedClient):
    """`ConfluentBus` as one principal sees it."""

    def __init__(
        self, catalog: Catalog, config: KafkaConfig, producer: KafkaProducer, link: Link, principal: str
    ) -> None:
        super().__init__(catalog, principal)
        self._config = config
        self._producer = producer
        self._link = link

    async def _send(self, record: Record) -> None:
        await self._producer.send(record)

    async def _publish(self, record: Record) -> Position:
        return await self._producer.publish(record)

    @asynccontextmanager
    async def _subscribe(self, topics: list[Topic], group: str) -> AsyncIterator[Subscription]:
        handover = Handover()
        plan = GroupPlan([topic.name for topic in topics], group)
        settings = {"on_commit": plan.on_commit}
        thread = ConsumerThread(self._config, group, plan, handover, self._link, settings)
        async with thread.running():
            yield ConfluentSubscription(handover, plan)

    @asynccontextmanager
    async def _follow(self, topics: list[Topic], replay: int) -> AsyncIterator[Follower]:
        follower = ConfluentFollower()
        plan = FollowPlan([topic.name for topic in topics], replay, follower.handover, self._link)
        # librdkafka demands a group; nothing is committed to it.
        group = f"{self._config.client_id}.{self.principal}.follower"
        thread = ConsumerThread(self._config, group, plan, follower.handover, self._link)
        async with thread.running():
            yield follower
