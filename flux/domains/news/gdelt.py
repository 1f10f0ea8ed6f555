"""News from the GDELT DOC 2.0 API, without a key: what the world's newsrooms published lately, in English."""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial

from flux.domains.news.contract import NAME, Article
from flux.domains.news.gdelt_shape import TITLE, parse_articles
from flux.domains.sources import Board, Query, Source, SourcePolicy
from flux.domains.sources.http import Answer

POLICY = SourcePolicy(
    name="gdelt",
    title=TITLE,
    url="https://api.gdeltproject.org",
    rate=1 / 5,  # "limit requests to one every 5 seconds", as its own refusal says
    burst=1,
    ttl=240.0,  # its index is renewed every 15 minutes
    media_types=("application/json", "text/html", "text/plain"),  # refusals come as text
    deadline=9.0,  # two attempts, five seconds apart
    attempts=2,
    connections=1,
    cached=1,
)

QUERY = Query(
    "/api/v2/doc/doc",
    {
        "query": "(world OR government OR economy OR science OR election) sourcelang:english",
        "mode": "artlist",
        "format": "json",
        "maxrecords": "100",  # many articles are one agency's, under one title
        "sort": "datedesc",
        "timespan": "1d",
    },
    in_thread=True,
)


class GdeltNews:
    """A `NewsProvider`.

    Args:
        board: where its health stands.
        urls: by source name, another address.
        now: the wall clock, aware.
    """

    source = POLICY.name

    def __init__(self, board: Board, urls: Mapping[str, str], *, now: Callable[[], datetime]) -> None:
        self._source = Source(POLICY, domain=NAME, board=board, urls=urls)
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
        return await self._source.get(QUERY, partial(_parse, self._now()))


def _parse(now: datetime, answer: Answer) -> tuple[Article, ...]:
    return parse_articles(answer.body, now)
