"""Every source of the real world on one fake site, with documented answers rebuilt by hand."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from attrs import define
from fake_coinbase import FakeCoinbase, coinbase_in_thread  # from tests/sources
from fake_site import Answering, FakeSite, answer_json, site_in_thread  # from tests/sources
from news_answers import feed, gdelt_article, newsdata_answer, newsdata_article, rss  # from tests/sources
from ports import free_port  # from tests/machine
from weather_answers import candidate, open_meteo, places, weatherapi  # from tests/sources

from flux.domains.registry import DOMAINS

FEEDS = ("rss-bbc", "rss-dw", "rss-france24", "rss-npr", "rss-un")
SOURCES = ("open-meteo", "open-meteo-geocoding", "coingecko", "coinbase", *FEEDS, "finnhub")
"""Those that a Flux without other settings asks, with Finnhub's key."""

PATHS = {
    "open-meteo": "/open-meteo/v1/forecast",
    "open-meteo-geocoding": "/open-meteo-geocoding/v1/search",
    "weatherapi": "/weatherapi/v1/forecast.json",
    "coingecko": "/coingecko/coins/markets",
    "gdelt": "/gdelt/api/v2/doc/doc",
    "newsdata": "/newsdata/api/1/latest",
    "finnhub": "/finnhub/quote",
    **{feed: f"/{feed}" for feed in FEEDS},
}
"""By source, the path that it is asked for."""

CITY = {"city": "London", "country": "United Kingdom"}
"""A location that has to be looked up."""

CALM = {"HTTP__PING_INTERVAL": "3600", "HTTP__PING_TIMEOUT": "3600"}
"""Clients live in real time: no jump of the program's clock makes them late with a pong."""

LONDON = candidate("London", 51.50853, -0.12574, "GB", "United Kingdom", admin1="England")

QUOTE = {
    "c": 261.74,
    "d": 1.2,
    "dp": 0.4606,
    "h": 263.31,
    "l": 260.68,
    "o": 261.07,
    "pc": 260.54,
    "t": 1769871600,
}

COIN = {
    "id": "bitcoin",
    "symbol": "btc",
    "name": "Bitcoin",
    "image": "https://coin-images.coingecko.com/coins/images/1/large/bitcoin.png",
    "current_price": 70187.5,
    "market_cap": 1381651251183,
    "market_cap_rank": 1,
    "total_volume": 20154184933,
    "price_change_percentage_24h": 3.12,
    "price_change_percentage_1h_in_currency": None,
    "price_change_percentage_24h_in_currency": 3.12,
    "last_updated": "2026-01-31T10:15:00.000Z",
}


@define(eq=False)
class FakeWorld:
    """The sources of a Flux under test.

    Args:
        site: where all are that speak HTTP.
        exchange: the feed of ticks.
    """

    site: FakeSite
    exchange: FakeCoinbase

    @property
    def settings(self) -> dict[str, str]:
        """The environment, without ``FLUX_``, of a Flux that asks this world."""
        urls = {name: f"{self.site.url}/{name}" for name in PATHS} | {"coinbase": self.exchange.url}
        return {
            "PROVIDERS__URLS": json.dumps(urls),
            "PROVIDERS__FINNHUB_KEY": "a-key",
            "PROVIDERS__SYMBOLS": "AAPL",
        }

    def well(self, temperature: float = 21.4) -> None:
        """All sources answer."""
        answers: dict[str, Any] = {
            "open-meteo": open_meteo(temperature=temperature),
            "open-meteo-geocoding": places(LONDON),
            "weatherapi": weatherapi(),
            "coingecko": [COIN],
            "gdelt": {"articles": [gdelt_article()]},
            "newsdata": newsdata_answer(newsdata_article()),
            "finnhub": QUOTE,
        }
        for name, data in answers.items():
            self.site.script(PATHS[name], answer_json(data))
        for name in FEEDS:
            item = (
                f"Something happened at {name}",
                f"https://{name}.example/1",
                "Sat, 31 Jan 2026 10:15:00 GMT",
            )
            self.site.script(PATHS[name], feed(rss(name, [item])))
        self.exchange.status = 101

    def ill(self, trouble: Answering) -> None:
        """All sources that speak HTTP answer so; the exchange refuses whoever connects anew."""
        for path in PATHS.values():
            self.site.script(path, trouble)
        self.exchange.status = 503

    def asked(self, name: str) -> int:
        """Return how often a source was asked so far."""
        return len(self.site.asked(PATHS[name]))


@contextmanager
def open_world() -> Iterator[FakeWorld]:
    """A world in threads of its own, all of it well."""
    with site_in_thread() as site, coinbase_in_thread(trades=0.1, heartbeats=1.0) as exchange:
        world = FakeWorld(site, exchange)
        world.well()
        yield world


def nowhere() -> dict[str, str]:
    """The environment, without ``FLUX_``, of a Flux at whose sources' addresses nothing listens."""
    urls = {name: f"http://127.0.0.1:{free_port()}" for name in SOURCES}
    urls["coinbase"] = urls["coinbase"].replace("http", "ws")
    return {"PROVIDERS__URLS": json.dumps(urls), "PROVIDERS__FINNHUB_KEY": "a-key"}


def every(seconds: float) -> dict[str, str]:
    """The environment, without ``FLUX_``, of a Flux that refreshes everything so often."""
    topics = [command.topic.name for domain in DOMAINS for command in domain.commands]
    return {"BFF__INTERVALS": json.dumps(dict.fromkeys(topics, seconds))}
