"""The news domain's topics and payload types, as the contract has them."""

from attrs import field, frozen

from flux.domains.domain import command_topic, event_topic
from flux.messages import Event

NAME = "news"

REFRESH = command_topic("news.service.command.refresh", NAME)
UPDATED = event_topic("news.service.event.updated", NAME)
REJECTED = event_topic("news.service.event.rejected", NAME)


@frozen(kw_only=True)
class Article:
    """A news item.

    Args:
        id: stable over refreshes.
        title, description: plain text.
        url: of the article.
        image: URL, where there is a picture.
        source: who published it.
        publishedAt: ISO 8601, UTC.
        category: words such as ``science``.
    """

    id: str | None = None
    title: str | None = None
    description: str | None = None
    url: str | None = None
    image: str | None = None
    source: str | None = None
    publishedAt: str | None = None
    category: tuple[str, ...] = field(factory=tuple)


@frozen
class NewsUpdated(Event[tuple[Article, ...]]):
    """`news.service.event.updated`: the latest articles, newest first."""
