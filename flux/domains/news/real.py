"""The news domain's real provider, as the settings choose it."""

from collections.abc import Callable
from datetime import datetime

from flux.domains.news import newsdata
from flux.domains.news.contract import NAME
from flux.domains.news.gdelt import GdeltNews
from flux.domains.news.provider import NewsProvider
from flux.domains.news.rss import RssNews, feeds_of
from flux.domains.providers import NEWS_SOURCES, ProviderOptions
from flux.domains.sources import Board, Real
from flux.errors import SettingsError

NO_KEY = "newsdata.io needs a key: set providers.newsdata_key, or providers.news_source to rss"


def real(providers: ProviderOptions, board: Board, now: Callable[[], datetime]) -> Real[NewsProvider]:
    """Return the provider that is set up.

    Args:
        providers: which source, its feeds or its key, its address.
        board: where the health of its sources stands.
        now: the wall clock, aware.

    Raises:
        SettingsError: there is no such source.
    """
    name = providers.news_source
    provider: RssNews | GdeltNews | newsdata.NewsdataNews
    if name == "rss":
        provider = RssNews(feeds_of(providers.feeds), board, providers.urls, now=now)
    elif name == "gdelt":
        provider = GdeltNews(board, providers.urls, now=now)
    elif name != "newsdata":
        raise SettingsError(f"providers.news_source is {name!r}; it must be one of {', '.join(NEWS_SOURCES)}")
    elif not providers.newsdata_key:
        board.health(newsdata.POLICY.name, NAME).missing(NO_KEY)
        return Real(provider=None, missing=NO_KEY, source=name)
    else:
        provider = newsdata.NewsdataNews(providers.newsdata_key, board, providers.urls, now=now)
    return Real(provider=provider, services=tuple(source.run for source in provider.sources))
