"""What WeatherAPI.com's forecast answers, as far as it is used (pure).

Source: its documentation of ``/v1/forecast.json`` and its list of error codes, which come as
``{"error": {"code": number, "message": text}}`` with status 400, 401 or 403.
"""

from datetime import UTC, datetime
from typing import Annotated

import msgspec
from attrs import frozen
from msgspec import Meta

from flux.domains.sources import SourceError, decode
from flux.domains.sources.http import Answer
from flux.domains.weather.report import (
    Celsius,
    Degrees,
    Felt,
    Hectopascal,
    KmPerHour,
    Latitude,
    Longitude,
    Name,
    Percent,
    Report,
    hours_after,
)
from flux.domains.weather.weatherapi_conditions import WMO_CODES

TITLE = "WeatherAPI.com"
NO_MATCH = 1006
INTERNAL = 9999
KEY_SETTING = "providers.weatherapi_key"
USED_UP = 2007
_KEY = f"check the key in the setting {KEY_SETTING}"
KEY_ERRORS = {
    1002: f"{TITLE} got no key; {_KEY}",
    2006: f"{TITLE} does not know the key; {_KEY}",
    USED_UP: f"the calls that {TITLE} allows the key in a month are used up",
    2008: f"{TITLE} has disabled the key; {_KEY}",
    2009: f"the key's plan at {TITLE} has no forecasts; {_KEY}",
}
LEFT_ALONE = 3_600.0
"""Seconds until a key that was refused is tried again: someone has to do something first."""

_Epoch = Annotated[int, Meta(ge=0, le=1 << 33)]
_Flag = Annotated[int, Meta(ge=0, le=1)]


@frozen
class Where:
    """The place that matched."""

    region: Name
    country: Name
    lat: Latitude
    lon: Longitude


@frozen
class Condition:
    """In words and by its own code."""

    text: Name
    code: int


@frozen
class Current:
    """The weather now."""

    last_updated_epoch: _Epoch
    temp_c: Celsius | None
    feelslike_c: Felt | None
    humidity: Percent | None
    is_day: _Flag | None
    condition: Condition
    wind_kph: KmPerHour | None
    wind_degree: Degrees | None
    pressure_mb: Hectopascal | None


@frozen
class HourAhead:
    """An hour of a day."""

    time_epoch: _Epoch
    temp_c: Celsius | None
    chance_of_rain: Percent | None
    chance_of_snow: Percent | None


@frozen
class Day:
    """A day of the place's own calendar."""

    hour: Annotated[tuple[HourAhead, ...], Meta(max_length=100)]


@frozen
class Days:
    """The forecast."""

    forecastday: Annotated[tuple[Day, ...], Meta(max_length=14)]


@frozen
class Forecast:
    """The whole answer."""

    location: Where
    current: Current
    forecast: Days


@frozen
class Error:
    """What went wrong, by number."""

    code: int


@frozen
class Refusal:
    """The answer where something went wrong."""

    error: Error


_FORECAST = msgspec.json.Decoder(Forecast)
_REFUSAL = msgspec.json.Decoder(Refusal)


def read_forecast(answer: Answer) -> tuple[Where, Report] | tuple[()]:
    """Return the place that matched and what was reported of it; empty where no place matches.

    Raises:
        SourceError: refused, or not of the documented shape.
    """
    if answer.status != 200:
        code = decode(_REFUSAL, answer.body, TITLE).error.code
        if code == NO_MATCH:
            return ()
        raise refusal(code)
    forecast = decode(_FORECAST, answer.body, TITLE)
    current = forecast.current
    observed = datetime.fromtimestamp(current.last_updated_epoch, UTC)
    hours = (hour for day in forecast.forecast.forecastday for hour in day.hour)
    return forecast.location, Report(
        observed=observed,
        temperature=current.temp_c,
        feels_like=current.feelslike_c,
        humidity=current.humidity,
        condition=current.condition.text,
        code=WMO_CODES.get(current.condition.code),
        wind=current.wind_kph,
        wind_from=current.wind_degree,
        pressure=current.pressure_mb,
        is_day=None if current.is_day is None else bool(current.is_day),
        hours=hours_after(
            observed,
            ((datetime.fromtimestamp(h.time_epoch, UTC), h.temp_c, _precipitation(h)) for h in hours),
        ),
    )


def refusal(code: int) -> SourceError:
    """Return the failure that an error code tells."""
    if code in KEY_ERRORS:
        refused_key = "" if code == USED_UP else KEY_SETTING
        return SourceError(KEY_ERRORS[code], retry_after=LEFT_ALONE, key_setting=refused_key)
    return SourceError(f"{TITLE} refuses the request (error {code})", passing=code == INTERNAL)


def _precipitation(hour: HourAhead) -> float | None:
    """Return the probability of rain or snow, whichever is likelier."""
    chances = [chance for chance in (hour.chance_of_rain, hour.chance_of_snow) if chance is not None]
    return max(chances, default=None)
