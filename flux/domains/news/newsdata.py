"""News from newsdata.io, with a key."""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial

from flux.domains.news.contract import NAME, Article
from flux.domains.news.newsdata_shape import KEY_SETTING, PAUSE, REFUSED, TITLE, parse_latest
from flux.domains.sources import Board, Query, Source, SourcePolicy

POLICY = SourcePolicy(
    name="newsdata",
    title=TITLE,
    url="https://newsdata.io",
    # The free plan (newsdata.io/pricing): 200 requests a day, 30 in 15 minutes.
    rate=200 / 86_400,
    burst=10,
    ttl=600.0,  # at most 144 requests a day that succeed
    attempts=2,
    connections=1,
    cached=1,
    too_many_pause=PAUSE,
)

QUERY = Query("/api/1/latest", {"language": "en"}, frozenset({200}) | REFUSED, in_thread=True)


class NewsdataNews:
    """A `NewsProvider`.

    Args:
        key: of newsdata.io; it goes into a header, not into addresses.
        board: where its health stands.
        urls: by source name, another address.
        now: the wall clock, aware.
    """

    source = POLICY.name

    def __init__(
        self, key: str, board: Board, urls: Mapping[str, str], *, now: Callable[[], datetime]
    ) -> None:
        self._source = Source(
            POLICY,
            domain=NAME,
            board=board,
            urls=urls,
            headers={"X-ACCESS-KEY": key},
            key_setting=KEY_SETTING,
        )
        self._now = now

    @property
    def sources(self) -> tuple[Source, ...]:
        """The one that it asks."""
        return (self._source,)

    async def latest(self) -> tuple[Article, ...]:
        """Return the latest articles, newest first.

        Raises:
            SourceError: it failed.
        """
        return await self._source.get(QUERY, partial(parse_latest, now=self._now()))
