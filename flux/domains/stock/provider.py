"""What the stock service needs of a source."""

from typing import Protocol

from flux.domains.stock.contract import Stock


class StockProvider(Protocol):
    """A source of share prices.

    Attributes:
        source: its name, as it stands in every event.
    """

    @property
    def source(self) -> str: ...  # noqa: D102 - the class says it

    async def top_performers(self) -> tuple[Stock, ...]:
        """Return the top performers, the strongest first.

        Raises:
            ProviderError: the source failed.
        """
        ...
