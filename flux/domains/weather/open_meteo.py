"""Open-Meteo: the weather without a key, for non-commercial use; its data is under CC BY 4.0.

A location without coordinates is looked up by its geocoding API first.
"""

import math
from collections.abc import Callable, Mapping
from datetime import datetime

import trio

from flux.domains.location import Location
from flux.domains.sources import Board, Query, Source, SourceError, SourcePolicy
from flux.domains.sources.cache import Cache
from flux.domains.sources.episode import Episode
from flux.domains.weather.contract import NAME, Weather
from flux.domains.weather.open_meteo_places import (
    COUNT,
    Candidate,
    choose,
    name_and_hints,
    read_places,
    unknown,
)
from flux.domains.weather.open_meteo_places import TITLE as GEOCODING_TITLE
from flux.domains.weather.open_meteo_shape import CURRENT, HOURLY, REFUSED, TITLE, read_forecast
from flux.domains.weather.report import HOURS

# The terms allow 600 requests a minute, 5,000 an hour, 10,000 a day, together: 390 + 0.1/s and 100 + 0.01/s
# make at most 9,994 in a day, and less than 600 in any minute. A client may have few requests open at once.
FORECAST = SourcePolicy(
    name="open-meteo",
    title=TITLE,
    url="https://api.open-meteo.com",
    rate=0.1,
    burst=390,
    ttl=900.0,  # its `current` changes every quarter of an hour
    body_limit=256 << 10,
    connections=3,
)
GEOCODING = SourcePolicy(
    name="open-meteo-geocoding",
    title=GEOCODING_TITLE,
    url="https://geocoding-api.open-meteo.com",
    rate=0.01,
    burst=100,
    ttl=86_400.0,  # places stay where they are; a new name is found a day later
    body_limit=256 << 10,
    connections=3,
)
STATUSES = frozenset({200}) | REFUSED


class OpenMeteo:
    """A `WeatherProvider`.

    Args:
        board: where the health of its sources stands.
        urls: by source name, instead of its own addresses.
        now: the wall clock, aware.
    """

    source = FORECAST.name

    def __init__(self, board: Board, urls: Mapping[str, str], now: Callable[[], datetime]) -> None:
        self._now = now
        self._forecast = Source(FORECAST, domain=NAME, board=board, urls=urls)
        self._geocoding = Source(GEOCODING, domain=NAME, board=board, urls=urls)
        self.sources = (self._forecast, self._geocoding)
        self._places: Cache[tuple[Candidate, ...]] = Cache(GEOCODING.cached)
        self._gaps = Episode()

    async def weather(self, location: Location) -> Weather:
        """Return the weather there now.

        Cancellation: requests under way go on for those who ask the same.

        Raises:
            SourceError: it failed, or has nothing for that place now.
            UnknownPlaceError: no place is called so.
        """
        lat, lon, region, country = await self._place(location)
        params = {
            "latitude": rounded(lat),
            "longitude": rounded(lon),
            "current": ",".join(CURRENT),
            "hourly": ",".join(HOURLY),
            "forecast_hours": str(HOURS + 2),  # they begin with the running hour, and the clock may move on
            "timezone": "GMT",
        }
        query = Query("/v1/forecast", params, STATUSES)
        report = await self._forecast.get(query, lambda answer: read_forecast(answer, self._now()))
        if report.temperature is None:
            raise no_temperature(TITLE, location, self._gaps)
        return report.weather(location, lat, lon, region, country)

    async def _place(self, location: Location) -> tuple[float, float, str | None, str | None]:
        """Return latitude and longitude, and region and country as far as they had to be looked up."""
        if location.lat is not None and location.lon is not None:
            return float(location.lat), float(location.lon), None, None
        name, hints = name_and_hints(location)
        params = {"name": name, "count": str(COUNT), "language": "en", "format": "json"}
        query = Query("/v1/search", params, STATUSES)
        try:
            candidates = await self._geocoding.get(query, lambda answer: read_places(answer, self._now()))
        except SourceError:
            # A place is where it was yesterday.
            earlier = self._places.get(name, 0.0)
            if not earlier:
                raise
            candidates = earlier
        else:
            self._places.put(name, candidates, math.inf)
        place = choose(candidates, name, hints)
        if place is None:
            raise unknown(location)
        return place.latitude, place.longitude, place.admin1, place.country_code or place.country


def no_temperature(title: str, location: Location, gaps: Episode) -> SourceError:
    """Return the failure for a place of which a source reports no temperature; the log is told of the first.

    Args:
        title: the source's name for people.
        location: the place.
        gaps: the failures of this kind so far.
    """
    known = not gaps.begins(trio.current_time())
    return SourceError(f"{title} has no temperature for {location.city} at the moment", known=known)


def rounded(degrees: float) -> str:
    """Return a coordinate as it is asked for: to about a kilometre, so that neighbours share an answer.

    The finest weather models have a grid of one kilometre; and nobody's house is told to a third party.
    """
    return f"{round(degrees, 2) + 0.0:.2f}"  # + 0.0: no minus before a zero
