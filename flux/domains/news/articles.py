"""What every news source shares: bounds of an article's parts, its id, and one list out of several (pure)."""

import hashlib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import islice
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from flux.domains.news.contract import Article
from flux.domains.news.plain_text import plain_text, web_link
from flux.messages import iso_time

TITLE_LIMIT = 300
DESCRIPTION_LIMIT = 1_000
PUBLISHER_LIMIT = 100
CATEGORY_LIMIT = 40
"""Characters of an article's texts."""

CATEGORIES = 5
"""Categories of an article."""

LATEST = 30
"""How many articles are the latest; the page shows as many."""

ARTICLES = 250
"""Articles of one answer that are read; the sources are asked for fewer."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def make_article(
    *,
    title: str | None,
    link: str | None,
    now: datetime,
    guid: str | None = None,
    description: str | None = None,
    image: str | None = None,
    publisher: str | None = None,
    published: datetime | None = None,
    categories: Iterable[str] = (),
) -> Article | None:
    """Return an article of what a source says of it, made fit for people.

    Args:
        title: text or HTML, as are `description` and `publisher`.
        link: an address, as is `image`; one that may not be followed is left out.
        now: aware.
        guid: the publisher's own id, where it has one; it counts only where there is no link.
        description: the first lines.
        image: a picture.
        publisher: who published it.
        published: aware; a time to come becomes `now`, one before 1970 none.
        categories: words; at most five are taken.

    Returns:
        None where there is no title.
    """
    text = plain_text(title or "", TITLE_LIMIT)
    if text is None:
        return None
    url = web_link(link)
    words = (plain_text(word, CATEGORY_LIMIT) for word in islice(categories, 4 * CATEGORIES))
    category = tuple(dict.fromkeys(word.lower() for word in words if word))[:CATEGORIES]
    return Article(
        id=article_id(url or f"{publisher} {guid or text}"),
        title=text,
        description=plain_text(description or "", DESCRIPTION_LIMIT),
        url=url,
        image=web_link(image),
        source=plain_text(publisher or "", PUBLISHER_LIMIT),
        publishedAt=None if published is None or published < EPOCH else iso_time(min(published, now)),
        category=category,
    )


def article_id(identity: str) -> str:
    """Return the id of an article, the same each time it is fetched.

    Args:
        identity: its link, of which neither the fragment nor what counts visitors matters; or what else
            tells it apart.
    """
    try:
        parts = urlsplit(identity)
        pairs = parse_qsl(parts.query, keep_blank_values=True, max_num_fields=100)
        asked = [pair for pair in pairs if not _counts_visitors(pair[0])]
        identity = urlunsplit(parts._replace(query=urlencode(asked), fragment="")) or identity
    except ValueError:  # no link, or one with very many parameters: as it is
        pass
    return hashlib.blake2b(identity.encode("utf-8", "replace"), digest_size=8).hexdigest()


def latest(lists: Iterable[Sequence[Article]], count: int = LATEST) -> tuple[Article, ...]:
    """Return the newest of all articles, newest first, each id and each title once; undated ones come last.

    Args:
        lists: of one source or several, each newest first as far as it has no dates.
        count: how many.
    """
    articles = [article for one in lists for article in one]
    # Sorting is stable, also when reversed: what came first stays first.
    articles.sort(key=lambda article: article.publishedAt or "", reverse=True)
    ids: set[str | None] = set()
    titles: set[str] = set()
    newest: list[Article] = []
    for article in articles:
        title = (article.title or "").casefold()
        if article.id in ids or title in titles:
            continue
        ids.add(article.id)
        titles.add(title)
        newest.append(article)
    return tuple(newest[:count])


def _counts_visitors(name: str) -> bool:
    return name.startswith(("utm_", "at_"))
