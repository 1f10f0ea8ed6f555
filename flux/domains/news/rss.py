"""News from RSS and Atom feeds of public broadcasters, without a key: every feed is a source of its own."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from urllib.parse import urlsplit

import trio
from attrs import define, field, frozen

from flux.domains.news.articles import latest
from flux.domains.news.contract import NAME, Article
from flux.domains.news.rss_shape import parse_feed
from flux.domains.sources import Board, Query, Source, SourceError, SourcePolicy
from flux.domains.sources.http import Answer

FEED_TYPES = (
    "application/rss+xml",
    "application/rdf+xml",
    "application/atom+xml",
    "application/xml",
    "text/xml",
)

TOGETHER = 1.0
"""Seconds after which a slow feed is not waited for, where others have answered; ``auto`` waits 1.5 s."""

KEPT = timedelta(hours=1)
"""How long the last articles of a feed are shown while only others answer."""

REASONS = 3
"""Feeds whose failures are told where all fail."""


@frozen
class Feed:
    """A feed.

    Args:
        name: of its source: ``rss-bbc``.
        title: whose it is, for people.
        url: its address.
        publisher: the `source` of its articles; None: as the feed calls itself.
    """

    name: str
    title: str
    url: str
    publisher: str | None = None


FEEDS = tuple(
    Feed(f"rss-{name}", title, url, title)
    for name, title, url in (
        ("bbc", "BBC News", "https://feeds.bbci.co.uk/news/world/rss.xml"),
        ("dw", "DW", "https://rss.dw.com/rdf/rss-en-world"),
        ("france24", "France 24", "https://www.france24.com/en/rss"),
        ("npr", "NPR", "https://feeds.npr.org/1004/rss.xml"),
        ("un", "UN News", "https://news.un.org/feed/subscribe/en/news/all/rss.xml"),
    )
)
"""World news of public broadcasters and of the United Nations, in English."""


def feeds_of(urls: Sequence[str]) -> tuple[Feed, ...]:
    """Return feeds by their addresses; none: those that Flux knows.

    A source is named by its feed's host, ``rss-example.org``; a second one there ``rss-example.org-2``.
    """
    feeds: dict[str, Feed] = {}
    for url in dict.fromkeys(urls):
        host = urlsplit(url).hostname or "feed"
        same = sum(feed.title == host for feed in feeds.values())
        name = f"rss-{host}-{same + 1}" if same else f"rss-{host}"
        feeds[name] = Feed(name, host, url)
    return tuple(feeds.values()) or FEEDS


def policy(feed: Feed) -> SourcePolicy:
    """Return how a feed is asked.

    Feeds publish no rate; several of these ask in their ``ttl`` (RSS 2.0) for 5 to 15 minutes between visits,
    so the scheduler's five minutes are kept to, and a request of a client in between is served from memory.
    """
    return SourcePolicy(
        name=feed.name,
        title=feed.title,
        url=feed.url,
        rate=1 / 30,
        burst=5,
        ttl=240.0,
        media_types=FEED_TYPES,
        body_limit=1 << 20,
        connections=1,
        cached=1,
    )


@define(eq=False)
class _Reader:
    """One feed, and what it had last.

    Args:
        feed: which.
        source: asks it.
        query: asks for the feed's address as it is.
        now: the wall clock, aware.
    """

    feed: Feed
    source: Source
    query: Query
    now: Callable[[], datetime]
    _last: tuple[tuple[Article, ...], datetime] | None = field(default=None, init=False)

    async def read(self) -> tuple[Article, ...]:
        """Return the feed's articles; raises `SourceError`."""
        return await self.source.get(self.query, partial(self._parse, self.now()))

    def last(self) -> tuple[Article, ...]:
        """Return what the feed had last, unless that is too long ago."""
        if self._last is None or self.now() - self._last[1] > KEPT:
            return ()
        return self._last[0]

    def _parse(self, now: datetime, answer: Answer) -> tuple[Article, ...]:
        articles = parse_feed(answer.body, self.feed.title, now, publisher=self.feed.publisher)
        # Noted here because a slow answer comes when nobody waits for it any more.
        self._last = (articles, now)
        return articles


class RssNews:
    """A `NewsProvider`: the newest articles of several feeds.

    Args:
        feeds: at least one.
        board: where the health of each stands.
        urls: by source name, addresses instead of the feeds'.
        now: the wall clock, aware.
    """

    source = "rss"

    def __init__(
        self, feeds: Sequence[Feed], board: Board, urls: Mapping[str, str], *, now: Callable[[], datetime]
    ) -> None:
        self._readers = [_reader(feed, board, urls, now) for feed in feeds]

    @property
    def sources(self) -> tuple[Source, ...]:
        """One for each feed."""
        return tuple(reader.source for reader in self._readers)

    async def latest(self) -> tuple[Article, ...]:
        """Return the newest articles of all feeds, newest first, each once.

        All feeds are asked at the same time. After a second those that have answered are enough. Of a feed
        that is slow or fails, what it had last stands in, for an hour.

        Cancellation: the feeds are read nevertheless, for the next time.

        Raises:
            SourceError: no feed could be read.
        """
        found: dict[str, tuple[Article, ...]] = {}
        failed: dict[str, SourceError] = {}
        some = trio.Event()

        async def read(reader: _Reader) -> None:
            try:
                found[reader.feed.name] = await reader.read()
                some.set()
            except SourceError as error:
                failed[reader.feed.name] = error

        async def read_all() -> None:
            async with trio.open_nursery() as readers:
                for reader in self._readers:
                    readers.start_soon(read, reader)
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read_all)
            await trio.sleep(TOGETHER)
            await some.wait()
            nursery.cancel_scope.cancel()
        if not found:
            raise _all_failed([failed[reader.feed.name] for reader in self._readers])
        return latest(
            found[reader.feed.name] if reader.feed.name in found else reader.last()
            for reader in self._readers
        )


def _reader(feed: Feed, board: Board, urls: Mapping[str, str], now: Callable[[], datetime]) -> _Reader:
    source = Source(policy(feed), domain=NAME, board=board, urls=urls)
    # A source's address ends without a slash; a feed's may need its own.
    slash = "/" if urls.get(feed.name, feed.url).endswith("/") else ""
    return _Reader(feed, source, Query(slash, in_thread=True), now)


def _all_failed(errors: Sequence[SourceError]) -> SourceError:
    """Return one failure for all."""
    if len(errors) == 1:
        return errors[0]
    reasons = [str(error) for error in errors[:REASONS]]
    if len(errors) > REASONS:
        reasons.append(f"and {len(errors) - REASONS} more")
    return SourceError(
        f"no news feed can be read: {'; '.join(reasons)}",
        asked=any(error.asked for error in errors),
        known=all(error.known for error in errors),
        reached=any(error.reached for error in errors),
    )
