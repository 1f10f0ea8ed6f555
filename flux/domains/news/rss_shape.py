"""RSS 0.9x, 1.0, 2.0 and Atom to articles (pure): read by feedparser, then made fit for people.

feedparser gets bytes that were checked (`feed_text`) in a file object: a plain string it would take for an
address to fetch or a file to open. Its own cleaning of HTML is off; no HTML leaves here.
"""

import io
from calendar import timegm
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import feedparser

from flux.domains.news.articles import PUBLISHER_LIMIT, make_article
from flux.domains.news.contract import Article
from flux.domains.news.feed_text import feed_text
from flux.domains.news.plain_text import plain_text
from flux.domains.sources.failures import SourceError

ENTRIES = 100
"""Entries of a feed that are read; feeds have their newest first."""


def parse_feed(
    body: bytes, title: str, now: datetime, *, publisher: str | None = None
) -> tuple[Article, ...]:
    """Return the articles of a feed, in its order.

    A feed with mistakes (``bozo``) is taken as far as it has entries, as readers do.

    Args:
        body: as it was received.
        title: the source's name for people.
        now: aware; no article is newer.
        publisher: whose feed it is; None: as the feed calls itself.

    Raises:
        SourceError: not a feed, or one that cannot be read.
    """
    text = feed_text(body, title)
    try:
        parsed = feedparser.parse(
            io.BytesIO(text),
            response_headers={"content-type": "application/xml; charset=utf-8"},
            sanitize_html=False,
            resolve_relative_uris=False,
        )
    except Exception:  # noqa: BLE001 - feedparser lets out what the parsers under it raise
        raise SourceError(f"{title} answered a feed that cannot be read") from None
    if not parsed.entries and (parsed.bozo or not parsed.version):
        raise SourceError(f"{title} answered something that is not a feed, or is broken")
    name = publisher or plain_text(_text(parsed.feed, "title"), PUBLISHER_LIMIT) or title
    articles = (_article(entry, name, now) for entry in parsed.entries[:ENTRIES])
    return tuple(article for article in articles if article is not None)


def _article(entry: Mapping[str, Any], publisher: str, now: datetime) -> Article | None:
    return make_article(
        title=_text(entry, "title"),
        link=_text(entry, "link"),
        guid=_text(entry, "id") or None,
        description=_text(entry, "summary"),
        image=next(_pictures(entry), None),
        publisher=publisher,
        published=_time(entry, "published_parsed") or _time(entry, "updated_parsed"),
        categories=(_text(tag, "label") or _text(tag, "term") for tag in entry.get("tags") or ()),
        now=now,
    )


def _pictures(entry: Mapping[str, Any]) -> Iterator[str]:
    """Yield the addresses of an entry's pictures (Media RSS, enclosures)."""
    for media in entry.get("media_content") or ():
        if _text(media, "medium") == "image" or _text(media, "type").startswith("image/"):
            yield _text(media, "url")
    for media in entry.get("media_thumbnail") or ():
        yield _text(media, "url")
    for link in entry.get("links") or ():
        if _text(link, "rel") == "enclosure" and _text(link, "type").startswith("image/"):
            yield _text(link, "href")


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    return value if isinstance(value, str) else ""


def _time(entry: Mapping[str, Any], name: str) -> datetime | None:
    """Return a time that feedparser understood; it gives them in UTC."""
    # Not entry.get: of a missing update feedparser gives the publication, with a DeprecationWarning.
    value = dict.get(entry, name) if isinstance(entry, dict) else None
    try:
        return datetime.fromtimestamp(timegm(value), UTC) if value else None
    except (ValueError, OverflowError, OSError, TypeError):
        return None
