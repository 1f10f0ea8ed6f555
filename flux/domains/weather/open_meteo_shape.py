"""What Open-Meteo's forecast API answers, as far as it is used (pure).

Source: the documentation of ``/v1/forecast``: `current` and `hourly` hold one value, or one list of values of
equal length, for each variable asked for; a value that the weather models do not have is null. The units are
the documented defaults: °C, km/h, hPa, %. A refusal is ``{"error": true, "reason": text}`` with status 400,
or 429 where a limit is passed. The limits' counters begin anew by the clock: each minute, each full hour, at
midnight in UTC; the reason names the one, and there is no Retry-After (open-meteo's RateLimiter.swift).
"""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec
from attrs import fields, frozen
from msgspec import Meta

from flux.domains.sources import SourceError, decode
from flux.domains.sources.http import Answer
from flux.domains.weather.conditions import CONDITIONS
from flux.domains.weather.report import (
    Celsius,
    Degrees,
    Felt,
    Hectopascal,
    KmPerHour,
    Percent,
    Report,
    hours_after,
    plain,
)

TITLE = "Open-Meteo"
TOO_MANY = 429
REFUSED = frozenset({400, TOO_MANY})

_Time = Annotated[str, Meta(max_length=32)]
_MOST = Meta(max_length=16 * 24)  # hours of the longest forecast there is


@frozen
class Current:
    """The weather in the running quarter of an hour."""

    time: _Time
    temperature_2m: Celsius | None
    relative_humidity_2m: Percent | None
    apparent_temperature: Felt | None
    is_day: Annotated[int, Meta(ge=0, le=1)] | None
    weather_code: Annotated[int, Meta(ge=0, le=99)] | None
    wind_speed_10m: KmPerHour | None
    wind_direction_10m: Degrees | None
    pressure_msl: Hectopascal | None


@frozen
class Hourly:
    """The forecast, a list for each variable."""

    time: Annotated[tuple[_Time, ...], _MOST]
    temperature_2m: Annotated[tuple[Celsius | None, ...], _MOST]
    precipitation_probability: Annotated[tuple[Percent | None, ...], _MOST]


@frozen
class Forecast:
    """The whole answer; times are local by the offset, which is 0 for GMT."""

    current: Current
    hourly: Hourly
    utc_offset_seconds: Annotated[int, Meta(ge=-86_400, le=86_400)]


@frozen
class Refusal:
    """Why Open-Meteo did not answer."""

    reason: str


CURRENT = tuple(field.name for field in fields(Current) if field.name != "time")
HOURLY = tuple(field.name for field in fields(Hourly) if field.name != "time")

_FORECAST = msgspec.json.Decoder(Forecast)
_REFUSAL = msgspec.json.Decoder(Refusal)


def read_forecast(answer: Answer, now: datetime) -> Report:
    """Return what was reported.

    Args:
        answer: of the forecast API.
        now: aware; decides how long a refusal holds.

    Raises:
        SourceError: refused, or not of the documented shape.
    """
    if answer.status in REFUSED:
        raise refusal(answer, TITLE, now)
    forecast = decode(_FORECAST, answer.body, TITLE)
    current, hourly = forecast.current, forecast.hourly
    if not len(hourly.time) == len(hourly.temperature_2m) == len(hourly.precipitation_probability):
        raise SourceError(f"{TITLE} answered in another shape than it documents: lists of unequal length "
                          "- at `$.hourly`")  # fmt: skip
    offset = timedelta(seconds=forecast.utc_offset_seconds)
    observed = _moment(current.time, offset, "$.current.time")
    hours = (_moment(time, offset, "$.hourly.time") for time in hourly.time)
    code = current.weather_code
    return Report(
        observed=observed,
        temperature=current.temperature_2m,
        feels_like=current.apparent_temperature,
        humidity=current.relative_humidity_2m,
        condition=None if code is None else CONDITIONS.get(code),
        code=code,
        wind=current.wind_speed_10m,
        wind_from=current.wind_direction_10m,
        pressure=current.pressure_msl,
        is_day=None if current.is_day is None else bool(current.is_day),
        hours=hours_after(
            observed, zip(hours, hourly.temperature_2m, hourly.precipitation_probability, strict=True)
        ),
    )


def refusal(answer: Answer, title: str, now: datetime) -> SourceError:
    """Return the failure that a refusal tells."""
    reason = plain(decode(_REFUSAL, answer.body, title).reason) or ""
    # An address in it may be the one that was asked.
    why = f": {reason}" if reason and "://" not in reason else ""
    if answer.status != TOO_MANY:
        return SourceError(f"{title} refuses the request{why}")
    pause = answer.retry_after if answer.retry_after is not None else until_reset(reason, now)
    return SourceError(f"{title} wants fewer requests{why}", passing=True, retry_after=pause)


def until_reset(reason: str, now: datetime) -> float:
    """Return the seconds until the limit that a reason names begins anew, and a minute for the counting."""
    hour = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    if reason.startswith("Daily"):
        return (hour.replace(hour=0) + timedelta(days=1) - now).total_seconds() + 60
    if reason.startswith("Hourly"):
        return (hour + timedelta(hours=1) - now).total_seconds() + 60
    # Of requests at the same time it queues a few.
    return 1.0 if "concurrent" in reason else 60.0


def _moment(text: str, offset: timedelta, path: str) -> datetime:
    """Return a local time as UTC."""
    try:
        time = datetime.fromisoformat(text)
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC) - offset
    except (ValueError, OverflowError):
        raise SourceError(
            f"{TITLE} answered in another shape than it documents: no ISO 8601 time - at `{path}`"
        ) from None
