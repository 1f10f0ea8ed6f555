"""The latest news of newsdata.io to articles (pure)."""

import re
from datetime import UTC, datetime

import msgspec
from attrs import field, frozen

from flux.domains.news.articles import latest, make_article
from flux.domains.news.contract import Article
from flux.domains.sources import SourceError, decode

TITLE = "newsdata.io"

REFUSALS = {
    "Unauthorized": "the key is not valid; check providers.newsdata_key",
    "AccessDenied": "the key's plan does not allow this",
    "ApiKeyDisabled": "the key is disabled",
    "RateLimitExceeded": "the key's requests for these 15 minutes are used up",
    "ApiLimitExceeded": "the key's requests for today are used up",
    "TooManyRequests": "the key's requests for these 15 minutes are used up",
}
"""What its error codes mean for people; the source's own text may repeat what was asked."""

LIMITED = frozenset(("RateLimitExceeded", "ApiLimitExceeded", "TooManyRequests"))
PAUSE = 900.0
"""Seconds for which it is left alone once a limit is reached: the span in which it counts."""


@frozen
class NewsdataArticle:
    """One article, of the fields only those that are used; many may be null.

    Args:
        article_id: its own id.
        title: plain text.
        link: of the article.
        description: the first lines.
        pubDate: ``2026-01-31 10:15:00``, UTC.
        image_url: a picture.
        source_id, source_name: the publisher.
        category: words such as ``world``.
    """

    article_id: str
    title: str | None = None
    link: str | None = None
    description: str | None = None
    pubDate: str | None = None  # noqa: N815 - the wire's own name
    image_url: str | None = None
    source_id: str | None = None
    source_name: str | None = None
    category: tuple[str, ...] | None = None


@frozen
class NewsdataError:
    """Why there is no answer.

    Args:
        code: a word such as ``Unauthorized``.
    """

    code: str = "unknown"


@frozen
class NewsdataAnswer:
    """An answer.

    Args:
        status: ``success``, or ``error``.
        results: the articles.
    """

    status: str
    results: tuple[NewsdataArticle, ...] = field(factory=tuple)


@frozen
class NewsdataRefusal:
    """An answer whose status is ``error``.

    Args:
        results: why.
    """

    results: NewsdataError = field(factory=NewsdataError)


@frozen
class _Head:
    status: str


_HEAD = msgspec.json.Decoder(_Head)
_ANSWER = msgspec.json.Decoder(NewsdataAnswer)
_REFUSAL = msgspec.json.Decoder(NewsdataRefusal)


def parse_latest(body: bytes, now: datetime) -> tuple[Article, ...]:
    """Return the articles, newest first.

    Raises:
        SourceError: it refused, or answered in another shape than it documents.
    """
    if decode(_HEAD, body, TITLE).status == "error":
        raise _refusal(decode(_REFUSAL, body, TITLE).results.code)
    answer = decode(_ANSWER, body, TITLE)
    articles = (_article(item, now) for item in answer.results)
    return latest([[article for article in articles if article is not None]])


def published(text: str | None) -> datetime | None:
    """Return the time of a ``pubDate``."""
    if text is None or re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:]{8}", text, re.ASCII) is None:
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        return None


def _article(item: NewsdataArticle, now: datetime) -> Article | None:
    return make_article(
        title=item.title,
        link=item.link,
        guid=item.article_id,
        description=item.description,
        image=item.image_url,
        publisher=item.source_name or item.source_id,
        published=published(item.pubDate),
        categories=item.category or (),
        now=now,
    )


def _refusal(code: str) -> SourceError:
    reason = REFUSALS.get(code, "it gave no reason that is known")
    return SourceError(f"{TITLE} refused: {reason}", retry_after=PAUSE if code in LIMITED else None)
