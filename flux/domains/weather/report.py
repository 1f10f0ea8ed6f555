"""What a source reports of the weather, before it is said of which city: its figures and hours (pure)."""

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated

from attrs import frozen
from msgspec import Meta

from flux.domains.location import Location
from flux.domains.sources.text import one_line
from flux.domains.weather.contract import Hour, Weather
from flux.messages import iso_time

HOURS = 24
TEXT_LIMIT = 100
"""Characters of a condition, a region, a country; as many as a client may send of each."""

Celsius = Annotated[float, Meta(ge=-100, le=70)]
"""The records are -89 and 57 °C."""

Felt = Annotated[float, Meta(ge=-150, le=110)]
"""°C: with the wind of the coldest place, the damp of the hottest."""

Percent = Annotated[float, Meta(ge=0, le=100)]
KmPerHour = Annotated[float, Meta(ge=0, le=500)]
"""The record is 408 km/h."""

Degrees = Annotated[float, Meta(ge=0, le=360)]
Hectopascal = Annotated[float, Meta(ge=800, le=1200)]
"""The records at sea level are 870 and 1085 hPa; calculated from a high plain it may be more."""

Latitude = Annotated[float, Meta(ge=-90, le=90)]
Longitude = Annotated[float, Meta(ge=-180, le=180)]
Name = Annotated[str, Meta(max_length=500)]


@frozen(kw_only=True)
class Report:
    """The weather somewhere.

    Args:
        observed: aware.
        temperature, feels_like: °C.
        humidity: %.
        condition: in words; code is its WMO 4677 code.
        wind: km/h; wind_from: degrees.
        pressure: hPa at sea level.
        is_day: whether the sun is up.
        hours: the next 24.
    """

    observed: datetime
    temperature: float | None
    feels_like: float | None
    humidity: float | None
    condition: str | None
    code: int | None
    wind: float | None
    wind_from: float | None
    pressure: float | None
    is_day: bool | None
    hours: tuple[Hour, ...]

    def weather(
        self, location: Location, lat: float, lon: float, region: str | None, country: str | None
    ) -> Weather:
        """Return it as the weather of a location.

        Args:
            location: as asked for; what it says of region and country stands.
            lat: decimal degrees.
            lon: the same.
            region: as the source knows it.
            country: the same.
        """
        return Weather(
            city=location.city,
            region=location.region or plain(region),
            country=location.country or plain(country),
            lat=lat,
            lon=lon,
            temperature=self.temperature,
            feelsLike=self.feels_like,
            humidity=self.humidity,
            condition=plain(self.condition),
            conditionCode=self.code,
            windSpeed=self.wind,
            windDirection=None if self.wind_from is None else self.wind_from % 360,
            pressure=self.pressure,
            isDay=self.is_day,
            observedAt=iso_time(self.observed),
            hourly=self.hours,
        )


def hours_after(
    observed: datetime, hours: Iterable[tuple[datetime, float | None, float | None]]
) -> tuple[Hour, ...]:
    """Return the next 24 hours; one without a temperature is left out.

    Args:
        observed: aware; the hours begin after it.
        hours: beginning (aware), temperature °C, probability of precipitation %.
    """
    ahead = sorted((hour for hour in hours if hour[0] > observed), key=lambda hour: hour[0])[:HOURS]
    return tuple(Hour(iso_time(time), warm, wet) for time, warm, wet in ahead if warm is not None)


def plain(text: str | None) -> str | None:
    """Return a source's text as one bounded line; None where nothing is left."""
    return one_line(text or "", TEXT_LIMIT)
