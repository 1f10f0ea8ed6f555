"""Every real source that Flux knows, with one ordinary fetch of each."""

from flux.doctor.sources import DIRECT, Probe
from flux.domains.crypto.provider import CryptoProvider
from flux.domains.crypto.real import FirstTick, real_ticks
from flux.domains.crypto.real import real as real_crypto
from flux.domains.location import Location
from flux.domains.news.provider import NewsProvider
from flux.domains.news.real import real as real_news
from flux.domains.providers import NEWS_SOURCES, WEATHER_SOURCES
from flux.domains.stock.provider import StockProvider
from flux.domains.stock.real import real as real_stock
from flux.domains.weather.provider import WeatherProvider
from flux.domains.weather.real import real as real_weather

PLACE = Location("London", country="United Kingdom")
"""Without coordinates, so that the place has to be looked up, too."""


async def _weather(provider: WeatherProvider) -> str:
    report = await provider.weather(PLACE)
    return f"{report.temperature:g} °C, {(report.condition or 'no words for it').lower()} in {report.city}"


async def _coins(provider: CryptoProvider) -> str:
    coins = (await provider.top_coins()).topCoins
    return f"{len(coins)} coins; {coins[0].symbol} at {coins[0].price:,g} {coins[0].currency}"


async def _tick(feed: FirstTick) -> str:
    return f"a tick of {await feed.first()}"


async def _news(provider: NewsProvider) -> str:
    articles = await provider.latest()
    return f"{len(articles)} articles, the newest of {articles[0].publishedAt}" if articles else "no articles"


async def _stocks(provider: StockProvider) -> str:
    stocks = await provider.top_performers()
    return f"{len(stocks)} shares; {stocks[0].symbol} at {stocks[0].price:,g} {stocks[0].currency}"


def _weather_by(source: str) -> Probe:
    options = {"weather_source": source}
    return Probe(domain="weather", source=source, options=options, real=real_weather, ask=_weather)


def _news_by(source: str) -> Probe:
    return Probe(domain="news", source=source, options={"news_source": source}, real=real_news, ask=_news)


PROBES = (
    *(_weather_by(source) for source in WEATHER_SOURCES),
    Probe(
        domain="crypto",
        source="coingecko",
        real=real_crypto,
        ask=_coins,
        spare_key="providers.coingecko_key",
    ),
    Probe(domain="crypto", source="coinbase", real=real_ticks, ask=_tick, way=DIRECT),
    *(_news_by(source) for source in NEWS_SOURCES),
    Probe(domain="stock", source="finnhub", real=real_stock, ask=_stocks),
)
