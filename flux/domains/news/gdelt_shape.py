"""The article list of the GDELT DOC 2.0 API to articles (pure).

It answers what it refuses with a sentence in plain text, most often with status 200 and as text/html.
"""

import re
from datetime import UTC, datetime
from itertools import islice

import msgspec
from attrs import field, frozen

from flux.domains.news.articles import ARTICLES, latest, make_article
from flux.domains.news.contract import Article
from flux.domains.sources import SourceError, decode
from flux.domains.sources.text import one_line

TITLE = "GDELT"

PATIENCE = 60.0
"""Seconds for which it is left alone once it complained; it allows a request every five."""

_SPACES = bytes.maketrans(bytes(range(32)), b" " * 32)
_ESCAPE = re.compile(rb'(\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4}))|\\')
"""A backslash with what it escapes in JSON (RFC 8259, section 7), or one that escapes nothing."""
_PRIVATE = re.compile(r"\S*(?:@|://)\S*")
_SPACED = (
    (re.compile(r" (['\u2019]) (?=(?:s|t|d|m|re|ve|ll)\b)"), r"\1"),
    (re.compile(r" ([,.;:!?%)\]])"), r"\1"),
    (re.compile(r"([(\[]) "), r"\1"),
)
"""What puts words and marks together again."""


@frozen
class GdeltArticle:
    """One article, of the fields only those that are used.

    Args:
        url: of the article.
        title: as the page has it; its words and marks are set apart by spaces.
        seendate: when GDELT found it, ``20260131T101500Z``.
        socialimage: the picture for social media, or empty.
        domain: of the publisher: ``example.org``.
    """

    url: str
    title: str
    seendate: str = ""
    socialimage: str = ""
    domain: str = ""


@frozen
class GdeltList:
    """An answer; without `articles` where nothing was found."""

    articles: tuple[GdeltArticle, ...] = field(factory=tuple)


_DECODER = msgspec.json.Decoder(GdeltList)


def parse_articles(body: bytes, now: datetime) -> tuple[Article, ...]:
    """Return the articles, newest first.

    Raises:
        SourceError: it refused, or answered in another shape than it documents.
    """
    text = body.lstrip()
    if text and text[:1] not in (b"{", b"["):
        raise _refusal(text[:500].decode("utf-8", "replace"))
    # Titles may hold raw control characters, which JSON forbids (between tokens a space is as good), and
    # backslashes before what needs none: an apostrophe, say.
    answer = decode(_DECODER, _ESCAPE.sub(rb"\1", body.translate(_SPACES)), TITLE)
    articles = (_article(item, now) for item in islice(answer.articles, ARTICLES))
    return latest([[article for article in articles if article is not None]])


def seen(text: str) -> datetime | None:
    """Return the time of a ``seendate``."""
    if re.fullmatch(r"[0-9]{8}T[0-9]{6}Z", text, re.ASCII) is None:
        return None
    try:
        return datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return None


def _article(item: GdeltArticle, now: datetime) -> Article | None:
    title = item.title[:1_000]
    for pattern, together in _SPACED:
        title = pattern.sub(together, title)
    return make_article(
        title=title,
        link=item.url,
        image=item.socialimage,
        publisher=item.domain,
        published=seen(item.seendate),
        now=now,
    )


def _refusal(text: str) -> SourceError:
    """Return what it complains of; pages, addresses and e-mail addresses are not repeated."""
    if text.startswith("<"):
        return SourceError(f"{TITLE} answered a page, not JSON", passing=True)
    if "limit requests" in text.lower():
        return SourceError(f"{TITLE} wants fewer requests", retry_after=PATIENCE)
    reason = one_line(_PRIVATE.sub("", text), 150) or "nothing"
    return SourceError(f"{TITLE} refused the request: {reason}")
