"""The simulated weather, stocks and news: plausible, moving, repeatable."""

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from flux.domains.crypto.simulated import SimulatedCrypto
from flux.domains.location import Location
from flux.domains.news.newsroom import latest_articles
from flux.domains.news.simulated import SimulatedNews
from flux.domains.providers import SimulationOptions, UnknownPlaceError
from flux.domains.stock.companies import COMPANIES
from flux.domains.stock.exchange import Exchange
from flux.domains.stock.simulated import SimulatedStocks
from flux.domains.weather.climate import weather_at
from flux.domains.weather.conditions import CONDITIONS
from flux.domains.weather.places import find_place
from flux.domains.weather.simulated import SimulatedWeather
from flux.errors import LocalError

START = datetime(2026, 1, 31, 10, 2, 3, 456789, UTC)

times = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
cities = st.text(st.characters(categories=["L", "N", "Zs", "P"]), min_size=1, max_size=100)


def clock() -> Callable[[], datetime]:
    """Return a clock that moves an hour at each look."""
    start = [START]

    def now() -> datetime:
        start[0] += timedelta(hours=1)
        return start[0]

    return now


@settings(deadline=None)
@given(cities, st.floats(-90, 90), st.floats(-180, 180), times, st.integers(0, 2**32))
def test_the_weather_is_plausible_everywhere(
    city: str, lat: float, lon: float, now: datetime, seed: int
) -> None:
    """Whatever the place and time, the figures are of this Earth, and the words fit the code."""
    place = find_place(Location("x" + city[1:], lat=repr(lat), lon=repr(lon)))
    weather = weather_at(place, now, seed=seed)
    assert weather.temperature is not None
    assert weather.humidity is not None
    assert weather.pressure is not None
    assert weather.windSpeed is not None
    assert -60 <= weather.temperature <= 55
    assert 0 <= weather.humidity <= 100
    assert 960 <= weather.pressure <= 1060
    assert 0 <= weather.windSpeed <= 120
    assert weather.windDirection is not None
    assert 0 <= weather.windDirection < 360
    assert weather.conditionCode is not None
    assert weather.condition == CONDITIONS[weather.conditionCode]
    assert len(weather.hourly) == 24
    assert all(0 <= (hour.precipitationProbability or 0) <= 100 for hour in weather.hourly)
    begins = [datetime.fromisoformat(hour.time) for hour in weather.hourly]
    assert timedelta(0) < begins[0] - now <= timedelta(hours=1)
    assert {b - a for a, b in pairwise(begins)} == {timedelta(hours=1)}


def test_a_forecast_comes_true() -> None:
    """What is said of an hour ahead is what is observed then."""
    place = find_place(Location("Delhi"))
    hour = weather_at(place, START, seed=1).hourly[5]
    assert weather_at(place, datetime.fromisoformat(hour.time), seed=1).temperature == hour.temperature


def test_days_are_warmer_than_nights_and_summers_than_winters() -> None:
    """The sun's daily and yearly course is felt, on both halves of the Earth."""

    def mean(city: str, month: int, hour: int) -> float:
        place = find_place(Location(city, lon="0", lat=str(find_place(Location(city)).lat)))
        days = (datetime(2026, month, day, hour, tzinfo=UTC) for day in range(1, 29))
        weathers = [weather_at(place, day, seed=3) for day in days]
        return sum(weather.temperature or 0 for weather in weathers) / len(weathers)

    assert mean("Oslo", 7, 15) > mean("Oslo", 7, 3) + 2
    assert mean("Oslo", 7, 12) > mean("Oslo", 1, 12) + 10
    assert mean("Sydney", 1, 12) > mean("Sydney", 7, 12) + 5
    assert mean("Singapore", 1, 12) > mean("Oslo", 7, 12)


def test_the_sun_is_up_by_day_where_the_city_is() -> None:
    """Noon in London is not noon in Tokyo."""
    noon = datetime(2026, 3, 20, 12, 30, tzinfo=UTC)
    assert weather_at(find_place(Location("London")), noon, seed=1).isDay
    assert not weather_at(find_place(Location("Tokyo")), noon, seed=1).isDay


def test_every_kind_of_weather_occurs_somewhere() -> None:
    """Rain comes with a high chance of it, snow with frost."""
    seen = set()
    for number in range(100):
        place = find_place(Location(f"town {number}"))
        for day in range(0, 360, 30):
            weather = weather_at(place, START + timedelta(days=day), seed=1)
            seen.add(weather.conditionCode)
            if weather.conditionCode in (71, 73, 75):
                assert (weather.temperature or 0) < 1
    assert {0, 1, 2, 3, 61, 63} <= seen
    assert seen & {71, 73, 75}


async def test_a_known_city_has_its_country_and_coordinates(autojump_clock: Any) -> None:
    """What the command does not say is filled in, what it says stands."""
    provider = SimulatedWeather(SimulationOptions(seed=1), now=lambda: START)
    delhi = await provider.weather(Location(" DELHI "))
    assert (delhi.city, delhi.country, delhi.lat, delhi.lon) == (" DELHI ", "IN", 28.61, 77.2)
    told = await provider.weather(Location("Delhi", "NY", "US", "42.28", "-74.92"))
    assert (told.region, told.country, told.lat, told.lon) == ("NY", "US", 42.28, -74.92)
    unknown = await provider.weather(Location("Xyzzy"))
    assert unknown.lat is not None
    assert -45 <= unknown.lat <= 65


@pytest.mark.parametrize("city", ["12345", "!!!", " . "])
async def test_a_name_without_a_letter_is_no_place(city: str, autojump_clock: Any) -> None:
    """The simulation knows every place but these."""
    provider = SimulatedWeather(SimulationOptions(seed=1), now=lambda: START)
    with pytest.raises(UnknownPlaceError):
        await provider.weather(Location(city))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.lists(st.floats(-100, 300_000), min_size=1, max_size=6))
def test_stocks_are_consistent_at_any_time(seed: int, waits: list[float]) -> None:
    """Low, open, price and high are in order, changes agree, volume grows within a session."""
    exchange, now = Exchange(COMPANIES, seed=seed, now=START), START
    volumes: dict[Any, float] = {}
    for seconds in waits:
        now += timedelta(seconds=seconds)
        stocks = exchange.top_performers(now)
        changes = [stock.changePercent or 0 for stock in stocks]
        assert changes == sorted(changes, reverse=True)
        assert len({stock.symbol for stock in stocks}) == 10
        for stock in stocks:
            low, high, price, close = stock.low, stock.high, stock.price, stock.previousClose
            assert low is not None
            assert high is not None
            assert price is not None
            assert close is not None
            assert stock.open is not None
            assert 0 < low <= min(stock.open, price)
            assert max(stock.open, price) <= high
            assert stock.change == round(price - close, 2)
            assert abs((stock.changePercent or 0) - (price / close - 1) * 100) < 0.02
            session = (stock.symbol, stock.open, close)
            assert (stock.volume or 0) >= volumes.get(session, 0)
            volumes[session] = stock.volume or 0


def test_the_next_session_opens_from_the_last_price() -> None:
    """A session's previous close is where the one before ended."""
    exchange = Exchange(COMPANIES[:1], seed=1, now=START)
    (before,) = exchange.top_performers(datetime(2026, 1, 31, 23, 59, 59, tzinfo=UTC))
    (after,) = exchange.top_performers(datetime(2026, 2, 1, 0, 0, 1, tzinfo=UTC))
    assert after.previousClose == before.price
    assert (after.volume or 0) < (before.volume or 0)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32), times)
def test_news_are_recent_ordered_and_harmless_to_open(seed: int, now: datetime) -> None:
    """Nothing is from the future, ids are unique, and links lead to a domain reserved for examples."""
    articles = latest_articles(seed, now)
    assert len(articles) == 20
    published = [datetime.fromisoformat(article.publishedAt or "") for article in articles]
    assert all(now - timedelta(minutes=22) <= time <= now for time in published)
    assert published == sorted(published, reverse=True)
    assert len({article.id for article in articles}) == 20
    for article in articles:
        assert (article.url or "").startswith("https://example.com/")
        assert article.title
        assert "{" not in article.title
        assert article.category


def test_an_article_keeps_its_id_and_text() -> None:
    """A later fetch has the same articles, and new ones before them."""
    first = latest_articles(1, START)
    later = latest_articles(1, START + timedelta(minutes=5))
    assert later[0] not in first
    assert set(later) & set(first) == set(first[:15])


@pytest.mark.parametrize("seed", [1, 2])
async def test_the_same_seed_gives_the_same_values(seed: int, autojump_clock: Any) -> None:
    """Every source can be repeated, and each fetch shows something new."""

    async def look() -> list[Any]:
        options = SimulationOptions(seed=seed)
        crypto = SimulatedCrypto(options, now=clock())
        weather = SimulatedWeather(options, now=clock())
        stocks, news = SimulatedStocks(options, now=clock()), SimulatedNews(options, now=clock())
        values: list[Any] = []
        for _ in range(2):
            values += [await crypto.movers(), await crypto.top_coins(), crypto.tick()]
            values += [await weather.weather(Location("Oslo")), await stocks.top_performers()]
            values += [await news.latest()]
        return values

    one, two = await look(), await look()
    assert one == two
    assert all(first != second for first, second in zip(one[:6], one[6:], strict=True))


async def test_without_a_seed_each_run_is_another(autojump_clock: Any) -> None:
    """No seed means chance, not the seed 0."""
    one, two = (SimulatedStocks(SimulationOptions(), now=lambda: START) for _ in range(2))
    assert await one.top_performers() != await two.top_performers()


async def test_a_fetch_takes_its_delay(autojump_clock: Any) -> None:
    """`fetch_delay` is obeyed by every fetch."""
    options = SimulationOptions(seed=1, fetch_delay=3)
    crypto = SimulatedCrypto(options, now=lambda: START)
    fetches = [
        crypto.movers,
        crypto.top_coins,
        SimulatedStocks(options, now=lambda: START).top_performers,
        SimulatedNews(options, now=lambda: START).latest,
        lambda: SimulatedWeather(options, now=lambda: START).weather(Location("Oslo")),
    ]
    for fetch in fetches:
        before = trio.current_time()
        await fetch()  # type: ignore[operator]  # a list of coroutine functions of several types
        assert trio.current_time() - before == pytest.approx(3)


def test_the_ticker_has_as_many_products_as_are_asked_for() -> None:
    """The option bounds the products; more than there are is all there are, none is a mistake."""

    def products(count: int) -> set[str]:
        source = SimulatedCrypto(SimulationOptions(seed=1, products=count), now=lambda: START)
        return {source.tick()["product_id"] for _ in range(1_000)}

    assert products(1) == {"BTC-USD"}
    assert products(2) == {"BTC-USD", "ETH-USD"}
    assert len(products(1_000)) > 30
    with pytest.raises(LocalError):
        products(0)


def test_chance_is_not_shared_with_the_rest_of_the_program() -> None:
    """A simulation draws from its own generator: Python's global one is left alone."""
    state = random.getstate()
    Exchange(COMPANIES, seed=1, now=START).top_performers(START)
    assert random.getstate() == state
