"""What Open-Meteo and WeatherAPI.com answer, rebuilt with their documented fields."""

from datetime import UTC, datetime, timedelta
from typing import Any

NOON = datetime(2026, 1, 31, 10, 45, tzinfo=UTC)
FORECAST = "/v1/forecast"
SEARCH = "/v1/search"
WEATHERAPI = "/v1/forecast.json"


def open_meteo(now: datetime = NOON, temperature: float | None = 18.4) -> dict[str, Any]:
    """Return a forecast as Open-Meteo gives it, from the running hour on."""
    hour = now.replace(minute=0, second=0, microsecond=0)
    times = [f"{hour + timedelta(hours=n):%Y-%m-%dT%H:%M}" for n in range(26)]
    quarter = now - timedelta(minutes=now.minute % 15)
    return {
        "latitude": 28.625,
        "longitude": 77.25,
        "generationtime_ms": 0.08,
        "utc_offset_seconds": 0,
        "timezone": "GMT",
        "timezone_abbreviation": "GMT",
        "elevation": 216.0,
        "current_units": {"time": "iso8601", "interval": "seconds", "temperature_2m": "°C"},
        "current": {
            "time": f"{quarter:%Y-%m-%dT%H:%M}",
            "interval": 900,
            "temperature_2m": temperature,
            "relative_humidity_2m": 51,
            "apparent_temperature": 17.2,
            "is_day": 1,
            "weather_code": 2,
            "wind_speed_10m": 8.6,
            "wind_direction_10m": 300,
            "pressure_msl": 1016.3,
        },
        "hourly_units": {"time": "iso8601", "temperature_2m": "°C", "precipitation_probability": "%"},
        "hourly": {
            "time": times,
            "temperature_2m": [15.0 + n / 10 for n in range(26)],
            "precipitation_probability": list(range(26)),
        },
    }


def candidate(name: str, lat: float, lon: float, code: str, country: str, **admin: str) -> dict[str, Any]:
    """Return a place as Open-Meteo's geocoding gives it; empty fields are left out."""
    return {
        "id": 2988507,
        "name": name,
        "latitude": lat,
        "longitude": lon,
        "elevation": 42.0,
        "feature_code": "PPL",
        "country_code": code,
        "timezone": "GMT",
        "population": 1,
        "country": country,
        **admin,
    }


def places(*candidates: dict[str, Any]) -> dict[str, Any]:
    """Return an answer of the geocoding; without candidates there is no `results` in it."""
    return {**({"results": list(candidates)} if candidates else {}), "generationtime_ms": 0.5}


PARIS = candidate("Paris", 48.85341, 2.3488, "FR", "France", admin1="Île-de-France", admin2="Paris")
PARIS_TEXAS = candidate("Paris", 33.66094, -95.55551, "US", "United States", admin1="Texas", admin2="Lamar")
PARIS_ONTARIO = candidate("Paris", 43.2, -80.38333, "CA", "Canada", admin1="Ontario")
PARISES = places(PARIS, PARIS_TEXAS, PARIS_ONTARIO)


def weatherapi(now: datetime = NOON, code: int = 1189, text: str = "Moderate rain") -> dict[str, Any]:
    """Return a forecast of two days as WeatherAPI.com gives it; the days are those of Delhi (UTC+5:30)."""
    zone = timedelta(hours=5, minutes=30)
    midnight = (now + zone).replace(hour=0, minute=0, second=0, microsecond=0) - zone
    condition = {"text": text, "icon": "//cdn.weatherapi.com/weather/64x64/day/302.png", "code": code}

    def hour(begins: datetime, number: int) -> dict[str, Any]:
        return {
            "time_epoch": int(begins.timestamp()),
            "time": f"{begins + zone:%Y-%m-%d %H:%M}",
            "temp_c": 10.0 + number,
            "temp_f": 50.0,
            "is_day": 0,
            "condition": condition,
            "will_it_rain": 0,
            "chance_of_rain": number,
            "will_it_snow": 0,
            "chance_of_snow": 0,
        }

    return {
        "location": {
            "name": "New Delhi",
            "region": "Delhi",
            "country": "India",
            "lat": 28.6,
            "lon": 77.2,
            "tz_id": "Asia/Kolkata",
            "localtime_epoch": int(now.timestamp()),
            "localtime": f"{now + zone:%Y-%m-%d %H:%M}",
        },
        "current": {
            "last_updated_epoch": int(now.timestamp()),
            "last_updated": f"{now + zone:%Y-%m-%d %H:%M}",
            "temp_c": 18.4,
            "temp_f": 65.1,
            "is_day": 1,
            "condition": condition,
            "wind_mph": 5.4,
            "wind_kph": 8.6,
            "wind_degree": 360,
            "wind_dir": "N",
            "pressure_mb": 1016.0,
            "humidity": 51,
            "cloud": 25,
            "feelslike_c": 17.2,
            "vis_km": 4.0,
            "uv": 5.0,
        },
        "forecast": {
            "forecastday": [
                {
                    "date": f"{midnight + zone + timedelta(days=day):%Y-%m-%d}",
                    "day": {"maxtemp_c": 22.0, "mintemp_c": 9.0, "daily_chance_of_rain": 23},
                    "astro": {"sunrise": "07:09 AM"},
                    "hour": [hour(midnight + timedelta(hours=n, days=day), n) for n in range(24)],
                }
                for day in range(2)
            ]
        },
    }


def weatherapi_error(code: int, message: str = "Told so.") -> dict[str, Any]:
    """Return a refusal of WeatherAPI.com."""
    return {"error": {"code": code, "message": message}}
