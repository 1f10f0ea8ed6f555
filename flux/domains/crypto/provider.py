"""What the crypto service needs of a source."""

from typing import Any, Protocol

from flux.domains.crypto.contract import Movers, TopCoins


class CryptoProvider(Protocol):
    """A source of market snapshots.

    Attributes:
        source: its name, as it stands in every event.
    """

    @property
    def source(self) -> str: ...  # noqa: D102 - the class says it

    async def movers(self) -> Movers:
        """Return what rose and fell most.

        Raises:
            ProviderError: the source failed.
        """
        ...

    async def top_coins(self) -> TopCoins:
        """Return the largest by market capitalisation.

        Raises:
            ProviderError: the source failed.
        """
        ...


class TickSource(Protocol):
    """A source of ticks on demand.

    Attributes:
        source: its name, as it stands in every event.
    """

    @property
    def source(self) -> str: ...  # noqa: D102 - the class says it

    def tick(self) -> dict[str, Any]:
        """Return the next tick: an object of the exchange's ``ticker`` channel, with a ``product_id``."""
        ...
