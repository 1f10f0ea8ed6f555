"""A client that asks the catalogue before all else: ownership and bounds are the same on every bus."""

from abc import abstractmethod
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

from flux.messages import Record
from flux.transport.kafka.bus import Client, Follower, Position, Subscription, Topic
from flux.transport.kafka.catalog import Catalog, check_replay


class OwnedClient(Client):
    """A bus as one principal sees it; what is left to a bus is to do what was found allowed.

    Args:
        catalog: the declared topics.
        principal: a role's name.
    """

    def __init__(self, catalog: Catalog, principal: str) -> None:
        self.principal = principal
        self._catalog = catalog

    async def send(self, record: Record) -> None:
        """Hand a record to the producer; see `Client.send`."""
        self._catalog.check_produce(self.principal, record)
        await self._send(record)

    async def publish(self, record: Record) -> Position:
        """Produce a record and wait for its report; see `Client.publish`."""
        self._catalog.check_produce(self.principal, record)
        return await self._publish(record)

    def subscribe(self, topics: Sequence[str], *, group: str) -> AbstractAsyncContextManager[Subscription]:
        """Join a group; see `Client.subscribe`."""
        return self._subscribe(self._catalog.check_consume(self.principal, topics), group)

    def follow(self, topics: Sequence[str], *, replay: int) -> AbstractAsyncContextManager[Follower]:
        """Read every partition; see `Client.follow`."""
        check_replay(replay)
        return self._follow(self._catalog.check_consume(self.principal, topics), replay)

    @abstractmethod
    async def _send(self, record: Record) -> None: ...

    @abstractmethod
    async def _publish(self, record: Record) -> Position: ...

    @abstractmethod
    def _subscribe(self, topics: list[Topic], group: str) -> AbstractAsyncContextManager[Subscription]: ...

    @abstractmethod
    def _follow(self, topics: list[Topic], replay: int) -> AbstractAsyncContextManager[Follower]: ...
