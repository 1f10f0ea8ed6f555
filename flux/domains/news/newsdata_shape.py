"""The latest news of newsdata.io to articles (pure).

It refuses with ``{"status": "error", "results": {"message": text, "code": word}}``, most often with one of
the status codes that it documents.
"""

import re
from datetime import UTC, datetime
from itertools import islice

import msgspec
from attrs import field, frozen

from flux.domains.news.articles import ARTICLES, latest, make_article
from flux.domains.news.contract import Article
from flux.domains.sources import SourceError, decode
from flux.domains.sources.http import PASSING, Answer

TITLE = "newsdata.io"

REFUSED = frozenset({400, 401, 403, 409, 415, 422, 429, 500})
"""Status codes of its refusals, which say why."""

KEY_SETTING = "providers.newsdata_key"
_KEY = f"check the key in the setting {KEY_SETTING}"
_USED_UP = "the key's requests for these 15 minutes are used up"

KEY_ERRORS = {
    "Unauthorized": f"the key is not valid; {_KEY}",
    "AccessDenied": f"the key's plan does not allow this; {_KEY}",
    "ApiKeyDisabled": f"the key is disabled; {_KEY}",
}
LIMIT_ERRORS = {
    "RateLimitExceeded": _USED_UP,
    "ApiLimitExceeded": "the key's requests for today are used up",
    "TooManyRequests": _USED_UP,
}
"""What its error codes mean for people; the source's own text may repeat what was asked."""

BY_STATUS = {401: "Unauthorized", 403: "AccessDenied", 429: "RateLimitExceeded"}
"""The code that a status stands for where the code itself says nothing that is known."""

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
        results: why; clients are known to take it in a list, too.
    """

    results: NewsdataError | tuple[NewsdataError, ...] = field(factory=NewsdataError)


@frozen
class _Head:
    status: str


_HEAD = msgspec.json.Decoder(_Head)
_ANSWER = msgspec.json.Decoder(NewsdataAnswer)
_REFUSAL = msgspec.json.Decoder(NewsdataRefusal)


def parse_latest(answer: Answer, now: datetime) -> tuple[Article, ...]:
    """Return the articles, newest first.

    Raises:
        SourceError: it refused, or answered in another shape than it documents.
    """
    if answer.status in REFUSED or decode(_HEAD, answer.body, TITLE).status == "error":
        raise _refusal(answer)
    results = decode(_ANSWER, answer.body, TITLE).results
    articles = (_article(item, now) for item in islice(results, ARTICLES))
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


def _refusal(answer: Answer) -> SourceError:
    reasons = KEY_ERRORS | LIMIT_ERRORS
    code = _code(answer.body)
    if code not in reasons:
        code = BY_STATUS.get(answer.status, "")
    pause = answer.retry_after
    if pause is None and code in LIMIT_ERRORS:
        pause = PAUSE
    return SourceError(
        f"{TITLE} refused: {reasons.get(code, 'it gave no reason that is known')}",
        passing=answer.status in PASSING,
        retry_after=pause,
        key_setting=KEY_SETTING if code in KEY_ERRORS else "",
    )


def _code(body: bytes) -> str:
    """Return the word that tells why; empty where there is none that can be read."""
    try:
        results = decode(_REFUSAL, body, TITLE).results
    except SourceError:
        return ""
    if isinstance(results, NewsdataError):
        return results.code
    return results[0].code if results else ""
