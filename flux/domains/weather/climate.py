"""The simulated weather: a smooth function of place and time, so that a forecast comes true (pure).

The temperature is a yearly mean by latitude, plus season, plus the sun's daily cycle, plus passing fronts.
Fronts are sums of sines whose phases come from a hash of the city: each city has its own weather, the same
for the same seed, and what is said of an hour ahead is what will be observed then.
"""

import hashlib
import math
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from attrs import frozen

from flux.domains.weather.conditions import CONDITIONS
from flux.domains.weather.contract import Hour, Weather
from flux.domains.weather.places import Place
from flux.messages import iso_time

HOURS = 24

_DAY = 86_400.0
_PERIODS = (11 * 3_600.0, 31 * 3_600.0, 83 * 3_600.0)  # of fronts; without a common multiple below a month


@frozen
class Sky:
    """The state of the air at one moment.

    Args:
        temperature: °C.
        humidity: %.
        cloud, wet: from 0 to 1.
        wind: km/h; wind_from: degrees.
        pressure: hPa.
        is_day: whether the sun is above the horizon.
    """

    temperature: float
    humidity: float
    cloud: float
    wet: float
    wind: float
    wind_from: float
    pressure: float
    is_day: bool


def sky_at(place: Place, time: datetime, *, seed: int) -> Sky:
    """Return the air's state at a place and time.

    Args:
        place: where.
        time: aware.
        seed: of the world.
    """
    seconds = time.timestamp()
    latitude = math.radians(place.lat)
    season = _season(time)
    sun = _sun_height(latitude, place.lon, time)
    front = _noise(place, seconds, "front", seed)
    wetness = _noise(place, seconds, "wet", seed)
    gusts = _noise(place, seconds, "wind", seed)
    wet = min(1.0, max(0.0, 0.35 * (wetness + front) - 0.05))
    cloud = min(1.0, max(0.0, 0.45 + 0.5 * wetness))
    mean = 27.5 - 38.0 * math.sin(abs(latitude)) ** 2
    seasonal = 16.0 * math.sin(latitude) * season
    swing = 5.0 * (1 - 0.6 * cloud) * _daily(place.lon, seconds)
    temperature = mean + seasonal + swing - 4.0 * front
    humidity = 62.0 + 25.0 * wet + 12.0 * wetness - 2.2 * swing
    return Sky(
        temperature=temperature,
        humidity=min(100.0, max(8.0, humidity)),
        cloud=cloud,
        wet=wet,
        wind=max(0.5, 13.0 + 9.0 * gusts + 6.0 * front),
        wind_from=(_phase(place.key, "direction", 0, seed) / (2 * math.pi) * 360 + 70 * gusts) % 360,
        pressure=1014.0 - 11.0 * front - 5.0 * wet,
        is_day=sun > 0,
    )


def weather_at(place: Place, time: datetime, *, seed: int, error: float = 0.0) -> Weather:
    """Return what a station would report.

    Args:
        place: where.
        time: of the observation, aware.
        seed: of the world.
        error: of the thermometer, °C.
    """
    sky = sky_at(place, time, seed=seed)
    temperature = sky.temperature + error
    code = condition_code(sky)
    next_hour = time.astimezone(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    ahead = (next_hour + timedelta(hours=n) for n in range(HOURS))
    return Weather(
        city=place.city,
        region=place.region,
        country=place.country,
        lat=place.lat,
        lon=place.lon,
        temperature=round(temperature, 1),
        feelsLike=round(apparent_temperature(temperature, sky.humidity, sky.wind), 1),
        humidity=round(sky.humidity),
        condition=CONDITIONS[code],
        conditionCode=code,
        windSpeed=round(sky.wind, 1),
        windDirection=round(sky.wind_from) % 360,
        pressure=round(sky.pressure, 1),
        isDay=sky.is_day,
        observedAt=iso_time(time),
        hourly=tuple(_hour(place, hour, seed) for hour in ahead),
    )


def condition_code(sky: Sky) -> int:
    """Return the WMO 4677 code that fits the state of the air."""
    if sky.wet > 0.08:
        strength = 2 if sky.wet > 0.35 else 1 if sky.wet > 0.2 else 0
        if sky.temperature <= 0.5:
            return (71, 73, 75)[strength]
        if strength == 2 and sky.temperature > 22:
            return 95
        return 51 if sky.wet < 0.12 else (61, 63, 65)[strength]
    if sky.humidity > 95 and sky.wind < 8:
        return 45
    return 0 if sky.cloud < 0.15 else 1 if sky.cloud < 0.35 else 2 if sky.cloud < 0.7 else 3


def apparent_temperature(temperature: float, humidity: float, wind: float) -> float:
    """Return how warm it feels, °C: the Australian apparent temperature (Steadman 1994).

    Args:
        temperature: °C.
        humidity: %.
        wind: km/h.
    """
    vapour = humidity / 100 * 6.105 * math.exp(17.27 * temperature / (237.7 + temperature))  # hPa
    return temperature + 0.33 * vapour - 0.70 * wind / 3.6 - 4.0


def _hour(place: Place, time: datetime, seed: int) -> Hour:
    sky = sky_at(place, time, seed=seed)
    chance = min(1.0, 0.04 + 0.25 * sky.cloud**2 + 1.6 * sky.wet)
    return Hour(iso_time(time), round(sky.temperature, 1), round(100 * chance))


def _season(time: datetime) -> float:
    """Return from -1 (northern midwinter, with the month that the air lags behind) to 1."""
    return math.sin(2 * math.pi * (time.timetuple().tm_yday - 111) / 365.25)


def _daily(lon: float, seconds: float) -> float:
    """Return from -1 to 1: the warmest is at three in the afternoon, by the sun's time."""
    local = (seconds + lon / 360 * _DAY) % _DAY
    return math.cos(2 * math.pi * (local / _DAY - 15 / 24))


def _sun_height(latitude: float, lon: float, time: datetime) -> float:
    """Return the sine of the sun's height above the horizon."""
    day = time.timetuple().tm_yday
    declination = math.radians(-23.44) * math.cos(2 * math.pi * (day + 10) / 365.25)
    hour_angle = 2 * math.pi * ((time.timestamp() + lon / 360 * _DAY) % _DAY / _DAY - 0.5)
    return math.sin(latitude) * math.sin(declination) + math.cos(latitude) * math.cos(declination) * math.cos(
        hour_angle
    )


def _noise(place: Place, seconds: float, what: str, seed: int) -> float:
    """Return from -1 to 1, changing smoothly over hours and days."""
    waves = (
        math.sin(2 * math.pi * seconds / period + _phase(place.key, what, turn, seed))
        for turn, period in enumerate(_PERIODS)
    )
    return sum(waves) / len(_PERIODS)


@lru_cache(maxsize=4_096)  # a fetch asks for the same ten 25 times
def _phase(key: str, what: str, turn: int, seed: int) -> float:
    digest = hashlib.blake2b(f"{seed}:{what}:{turn}:{key}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64 * 2 * math.pi
