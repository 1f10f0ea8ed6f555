"""WeatherAPI.com: the weather with a key; it finds cities by name itself."""

from collections.abc import Mapping

from flux.domains.location import Location
from flux.domains.sources import Board, Query, Source, SourcePolicy
from flux.domains.sources.episode import Episode
from flux.domains.weather.contract import NAME, Weather
from flux.domains.weather.open_meteo import no_temperature, rounded
from flux.domains.weather.open_meteo_places import unknown
from flux.domains.weather.weatherapi_shape import KEY_SETTING, TITLE, read_forecast

# The free plan allows 100,000 calls a month: 300 + 0.037/s make 99,400 in one of 31 days.
FORECAST = SourcePolicy(
    name="weatherapi",
    title=TITLE,
    url="https://api.weatherapi.com",
    rate=0.037,
    burst=300,
    ttl=900.0,  # its `current` is renewed every 10 to 15 minutes
    body_limit=512 << 10,  # two days have about 60 KiB
)
STATUSES = frozenset({200, 400, 401, 403})


class WeatherApi:
    """A `WeatherProvider`.

    Args:
        key: of the account.
        board: where the health of its source stands.
        urls: by source name, instead of its own address.
    """

    source = FORECAST.name

    def __init__(self, key: str, board: Board, urls: Mapping[str, str]) -> None:
        self._forecast = Source(
            FORECAST, domain=NAME, board=board, urls=urls, params={"key": key}, key_setting=KEY_SETTING
        )
        self.sources = (self._forecast,)
        self._gaps = Episode()

    async def weather(self, location: Location) -> Weather:
        """Return the weather there now.

        Cancellation: a request under way goes on for those who ask the same.

        Raises:
            SourceError: it failed, or has nothing for that place now.
            UnknownPlaceError: no place is called so.
        """
        params = {"q": place_query(location), "days": "2", "aqi": "no", "alerts": "no"}
        found = await self._forecast.get(Query("/v1/forecast.json", params, STATUSES), read_forecast)
        if not found:
            raise unknown(location)
        where, report = found
        if report.temperature is None:
            raise no_temperature(TITLE, location, self._gaps)
        lat = where.lat if location.lat is None else float(location.lat)
        lon = where.lon if location.lon is None else float(location.lon)
        return report.weather(location, lat, lon, where.region, where.country)


def place_query(location: Location) -> str:
    """Return a location as the parameter `q`.

    Beside names and coordinates, `q` takes ``auto:ip``, ``metar:...``, ``id:...``, addresses of the Internet
    and the word ``bulk``: none of them is a city, and the first would tell where Flux runs.

    Raises:
        UnknownPlaceError: a city never has such a name.
    """
    if location.lat is not None and location.lon is not None:
        return f"{rounded(float(location.lat))},{rounded(float(location.lon))}"
    city = location.city.strip()
    if ":" in city or city.casefold() == "bulk" or not any(letter.isalpha() for letter in city):
        raise unknown(location)
    return ", ".join(part for part in (city, location.region, location.country) if part)
