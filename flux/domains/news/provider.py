"""What the news service needs of a source."""

from typing import Protocol

from flux.domains.news.contract import Article


class NewsProvider(Protocol):
    """A source of global news.

    Attributes:
        source: its name, as it stands in every event.
    """

    @property
    def source(self) -> str: ...  # noqa: D102 - the class says it

    async def latest(self) -> tuple[Article, ...]:
        """Return the latest articles, newest first.

        Raises:
            ProviderError: the source failed.
        """
        ...
