"""The names of all real sources, as they stand in events, in metrics and in ``providers.urls``."""

from flux.domains.crypto.coinbase.feed import SOURCE as COINBASE
from flux.domains.crypto.coingecko import POLICY as COINGECKO
from flux.domains.news.gdelt import POLICY as GDELT
from flux.domains.news.newsdata import POLICY as NEWSDATA
from flux.domains.news.rss import FEEDS
from flux.domains.stock.finnhub import POLICY as FINNHUB
from flux.domains.weather.open_meteo import FORECAST as OPEN_METEO
from flux.domains.weather.open_meteo import GEOCODING
from flux.domains.weather.weatherapi import FORECAST as WEATHERAPI

WEBSOCKET_SOURCES = frozenset({COINBASE})

FEED_PREFIX = "rss-"
"""Before the host of a feed that the settings name; any host may be one."""

_POLICIES = (OPEN_METEO, GEOCODING, WEATHERAPI, COINGECKO, GDELT, NEWSDATA, FINNHUB)

SOURCE_NAMES = frozenset(
    {*(policy.name for policy in _POLICIES), *(feed.name for feed in FEEDS), *WEBSOCKET_SOURCES}
)
"""Every source that Flux knows without settings."""
