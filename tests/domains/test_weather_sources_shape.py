"""What Open-Meteo and WeatherAPI.com answer is read, or refused with the field's name."""

import json
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from weather_answers import (  # from tests/sources
    NOON,
    PARIS,
    PARIS_ONTARIO,
    PARIS_TEXAS,
    PARISES,
    candidate,
    open_meteo,
    places,
    weatherapi,
    weatherapi_error,
)

from flux.domains.location import Location
from flux.domains.providers import UnknownPlaceError
from flux.domains.sources import SourceError
from flux.domains.sources.http import Answer
from flux.domains.weather import open_meteo_shape, weatherapi_shape
from flux.domains.weather.conditions import CONDITIONS
from flux.domains.weather.open_meteo import rounded
from flux.domains.weather.open_meteo_places import choose, name_and_hints, read_places
from flux.domains.weather.open_meteo_shape import TOO_MANY, read_forecast
from flux.domains.weather.weatherapi import place_query
from flux.domains.weather.weatherapi_conditions import WMO_CODES

LEFT_OUT = object()
FIGURES = (
    "temperature",
    "feelsLike",
    "humidity",
    "conditionCode",
    "windSpeed",
    "windDirection",
    "pressure",
    "isDay",
)


def answer(data: Any, status: int = 200) -> Answer:
    """Return an answer in JSON."""
    return Answer(status, json.dumps(data).encode())


def changed(data: dict[str, Any], path: str, value: Any) -> Answer:
    """Return an answer with another value at a path, or without it."""
    *above, last = path.split(".")
    inside: Any = data
    for name in above:
        inside = inside[int(name) if name.isdigit() else name]
    if value is LEFT_OUT:
        del inside[last]
    else:
        inside[last] = value
    return answer(data)


def lists(data: dict[str, Any]) -> dict[str, list[Any]]:
    """Return the lists of Open-Meteo's hourly forecast."""
    hourly: dict[str, list[Any]] = data["hourly"]
    return hourly


def test_open_meteos_forecast_is_read_whole() -> None:
    """Every figure of the contract is there, in its unit."""
    report = read_forecast(answer(open_meteo()), NOON)
    weather = report.weather(Location("Delhi"), 28.61, 77.2, "Delhi", "IN")
    assert (weather.city, weather.region, weather.country) == ("Delhi", "Delhi", "IN")
    assert (weather.lat, weather.lon) == (28.61, 77.2)
    assert (weather.temperature, weather.feelsLike, weather.humidity) == (18.4, 17.2, 51)
    assert (weather.condition, weather.conditionCode) == ("Partly cloudy", 2)
    assert (weather.windSpeed, weather.windDirection, weather.pressure) == (8.6, 300, 1016.3)
    assert weather.isDay is True
    assert weather.observedAt == "2026-01-31T10:45:00.000Z"
    first, *_, last = weather.hourly
    assert (first.time, first.temperature, first.precipitationProbability) == (
        "2026-01-31T11:00:00.000Z",
        15.1,
        1,
    )
    assert (last.time, last.temperature) == ("2026-02-01T10:00:00.000Z", 17.4)
    assert len(weather.hourly) == 24


def test_the_hour_of_the_observation_is_not_one_of_the_next() -> None:
    """On the full hour the forecast begins with the one after it."""
    noon = NOON.replace(hour=12, minute=0)
    hours = read_forecast(answer(open_meteo(noon)), noon).hours
    assert (len(hours), hours[0].time) == (24, "2026-01-31T13:00:00.000Z")


def test_local_times_become_utc() -> None:
    """A source that ignores the time zone asked for is understood by the offset that it tells."""
    data = open_meteo()
    data["utc_offset_seconds"] = 19_800
    report = read_forecast(answer(data), NOON)
    assert report.observed == NOON - timedelta(hours=5, minutes=30)
    assert report.hours[0].time == "2026-01-31T05:30:00.000Z"


@pytest.mark.parametrize("name", open_meteo_shape.CURRENT)
def test_open_meteo_may_have_no_value(name: str) -> None:
    """A null in `current` is the one figure that is missing."""
    report = read_forecast(changed(open_meteo(), f"current.{name}", None), NOON)
    weather = report.weather(Location("Delhi"), 1, 2, None, None)
    missing = [figure for figure in FIGURES if getattr(weather, figure) is None]
    assert len(missing) == 1
    assert (weather.condition is None) == (name == "weather_code")


def test_hours_without_a_temperature_are_left_out_and_without_a_probability_have_none() -> None:
    """A null in `hourly` costs no more than it must."""
    data = open_meteo()
    lists(data)["temperature_2m"][3] = None
    lists(data)["precipitation_probability"][5] = None
    hours = read_forecast(answer(data), NOON).hours
    assert [hour.time[11:13] for hour in hours[:5]] == ["11", "12", "14", "15", "16"]
    assert [hour.precipitationProbability for hour in hours[:5]] == [1, 2, 4, None, 6]
    assert len(hours) == 23


def test_a_code_without_words_stays() -> None:
    """WMO 4677 has more codes than Open-Meteo documents."""
    report = read_forecast(changed(open_meteo(), "current.weather_code", 30), NOON)
    assert (report.code, report.condition) == (30, None)


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("current", LEFT_OUT, "`current`"),
        ("current.temperature_2m", LEFT_OUT, "`temperature_2m`"),
        ("hourly.precipitation_probability", LEFT_OUT, "`precipitation_probability`"),
        ("utc_offset_seconds", LEFT_OUT, "`utc_offset_seconds`"),
        ("current.temperature_2m", "18.4", "$.current.temperature_2m"),
        ("current.temperature_2m", 400, "$.current.temperature_2m"),
        ("current.relative_humidity_2m", -1, "$.current.relative_humidity_2m"),
        ("current.wind_direction_10m", 361, "$.current.wind_direction_10m"),
        ("current.is_day", 2, "$.current.is_day"),
        ("current.time", "noon", "$.current.time"),
        ("current.time", "0001-01-01T00:00+14:00", "$.current.time"),
        ("hourly.time", ["x"] * 26, "$.hourly.time"),
        ("hourly.time", ["2026-01-31T11:00"], "$.hourly"),
        ("hourly.temperature_2m", 5, "$.hourly.temperature_2m"),
        ("hourly.temperature_2m", [1.0] * 10_000, "$.hourly.temperature_2m"),
        ("utc_offset_seconds", 1e9, "$.utc_offset_seconds"),
    ],
)
def test_what_does_not_fit_open_meteos_shape_is_named(path: str, value: Any, told: str) -> None:
    """A field that is missing, of a wrong type or out of every range is a failure that names it."""
    with pytest.raises(SourceError) as failure:
        read_forecast(changed(open_meteo(), path, value), NOON)
    assert told in str(failure.value)
    assert not failure.value.passing


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("Latitude must be in range of -90 to 90°.", "Open-Meteo refuses the request: Latitude must be"),
        ("no https://api.open-meteo.com/v1/forecast?x=1", "Open-Meteo refuses the request"),
        ("a\nb" + "x" * 1_000, "refuses the request: a bxxx"),
    ],
)
def test_open_meteos_refusal_is_told_without_addresses(reason: str, told: str) -> None:
    """What it says is the message, on one line, bounded."""
    with pytest.raises(SourceError) as failure:
        read_forecast(answer({"error": True, "reason": reason}, 400), NOON)
    assert told in str(failure.value)
    assert "://" not in str(failure.value)
    assert "\n" not in str(failure.value)
    assert len(str(failure.value)) < 150


@pytest.mark.parametrize(
    ("reason", "pause"),
    [
        ("Minutely API request limit exceeded. Please try again in one minute.", 60),
        ("Hourly API request limit exceeded. Please try again in the next hour.", 16 * 60),
        ("Daily API request limit exceeded. Please try again tomorrow.", (13 * 60 + 16) * 60),
        ("Too many concurrent requests", 1),
    ],
)
def test_open_meteo_is_left_alone_until_its_limit_begins_anew(reason: str, pause: float) -> None:
    """The limits go by the clock; a Retry-After, should there be one, goes first."""
    refused = answer({"error": True, "reason": reason}, TOO_MANY)
    for read in (read_forecast, read_places):
        with pytest.raises(SourceError, match="wants fewer requests: " + reason[:10]) as failure:
            read(refused, NOON)
        assert (failure.value.retry_after, failure.value.passing) == (pause, True)
    with pytest.raises(SourceError) as told:
        read_forecast(evolve(refused, retry_after=7.0), NOON)
    assert told.value.retry_after == 7


def parises(location: Location) -> dict[str, float]:
    """Return latitude and longitude of the Paris that is meant."""
    place = choose(read_places(answer(PARISES), NOON), *name_and_hints(location))
    assert place is not None
    return {"latitude": place.latitude, "longitude": place.longitude}


@pytest.mark.parametrize(
    ("location", "meant"),
    [
        (Location("Paris"), PARIS),
        (Location("Paris", "Texas"), PARIS_TEXAS),
        (Location(" paris, TEXAS"), PARIS_TEXAS),
        (Location("Paris, Texas, USA"), PARIS_TEXAS),
        (Location("Paris", country="US"), PARIS_TEXAS),
        (Location("Paris", country="U.S.A."), PARIS_TEXAS),
        (Location("Paris", "Ontario", "Canada"), PARIS_ONTARIO),
        (Location("Paris", "ile-de-france"), PARIS),
        (Location("Paris", "Atlantis", "ZZ"), PARIS),
    ],
)
def test_the_place_that_fits_region_and_country_is_meant(location: Location, meant: dict[str, float]) -> None:
    """Among places of one name the hints decide, in any spelling; without a hit the likeliest stands."""
    assert parises(location).items() <= meant.items()


def test_a_place_called_exactly_so_goes_before_one_called_alike() -> None:
    """The search is fuzzy."""
    alike = candidate("Romeo", 42.8, -83.0, "US", "United States", admin1="Michigan")
    rome = candidate("Röme", 34.25, -85.16, "US", "United States", admin1="Georgia")
    found = read_places(answer(places(alike, rome)), NOON)
    place = choose(found, *name_and_hints(Location("rome", country="us")))
    assert place is not None
    assert place.admin1 == "Georgia"


def test_a_search_without_results_has_no_place() -> None:
    """Open-Meteo leaves the field out."""
    assert read_places(answer(places()), NOON) == ()
    assert choose((), "Xyzzy", ()) is None


@pytest.mark.parametrize("city", ["!!!", " . ", ",,", "—"])
def test_a_name_without_letter_or_digit_is_not_looked_up(city: str) -> None:
    """Nothing is called so."""
    with pytest.raises(UnknownPlaceError):
        name_and_hints(Location(city))


@settings(deadline=None)
@given(st.text(min_size=1, max_size=100), st.none() | st.text(max_size=100))
def test_any_name_can_be_compared(city: str, region: str | None) -> None:
    """Whatever the script, a name is looked up or refused."""
    try:
        name, hints = name_and_hints(Location(city, region))
    except UnknownPlaceError:
        return
    assert name
    choose(read_places(answer(PARISES), NOON), name, hints)


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("results.0.latitude", 91, "$.results[0].latitude"),
        ("results.0.latitude", LEFT_OUT, "`latitude`"),
        ("results.0.name", None, "$.results[0].name"),
        ("results.0.admin1", 5, "$.results[0].admin1"),
        ("results", {}, "$.results"),
    ],
)
def test_what_does_not_fit_the_geocodings_shape_is_named(path: str, value: Any, told: str) -> None:
    """A place without coordinates on this Earth is a failure that names the field."""
    data: dict[str, Any] = json.loads(json.dumps(PARISES))
    with pytest.raises(SourceError) as failure:
        read_places(changed(data, path, value), NOON)
    assert told in str(failure.value)


@settings(deadline=None)
@given(st.floats(-90, 90), st.floats(-180, 180))
def test_coordinates_are_rounded_to_about_a_kilometre(lat: float, lon: float) -> None:
    """What is asked is near, and zero has no sign."""
    for degrees in (lat, lon):
        assert abs(float(rounded(degrees)) - degrees) <= 0.005 + 1e-9
        assert rounded(degrees) != "-0.00"


def test_weatherapis_forecast_is_read_whole() -> None:
    """Every figure of the contract is there; north is 0 degrees; the hours go over midnight."""
    found = weatherapi_shape.read_forecast(answer(weatherapi()))
    assert found
    where, report = found
    assert (where.region, where.country, where.lat, where.lon) == ("Delhi", "India", 28.6, 77.2)
    weather = report.weather(Location("Delhi", country="IN"), 28.61, 77.2, where.region, where.country)
    assert (weather.city, weather.region, weather.country) == ("Delhi", "Delhi", "IN")
    assert (weather.temperature, weather.feelsLike, weather.humidity) == (18.4, 17.2, 51)
    assert (weather.condition, weather.conditionCode) == ("Moderate rain", 63)
    assert (weather.windSpeed, weather.windDirection, weather.pressure) == (8.6, 0, 1016)
    assert weather.isDay is True
    assert weather.observedAt == "2026-01-31T10:45:00.000Z"
    begins = [datetime.fromisoformat(hour.time) for hour in weather.hourly]
    assert begins[0] == NOON + timedelta(minutes=45)  # on the hour in Delhi
    assert {b - a for a, b in pairwise(begins)} == {timedelta(hours=1)}
    assert len(begins) == 24
    assert [hour.precipitationProbability for hour in weather.hourly[:2]] == [17, 18]


def test_snow_counts_as_precipitation() -> None:
    """The likelier of rain and snow is told, and one of them may be missing."""
    data = weatherapi()
    hours = data["forecast"]["forecastday"][0]["hour"]
    hours[17].update(chance_of_rain=None, chance_of_snow=80)
    hours[18].update(chance_of_rain=None, chance_of_snow=None)
    found = weatherapi_shape.read_forecast(answer(data))
    assert found
    assert [hour.precipitationProbability for hour in found[1].hours[:3]] == [80, None, 19]


def test_every_condition_of_weatherapi_has_a_wmo_code_with_words() -> None:
    """Clients need one table; a condition that is new keeps its words."""
    assert len(WMO_CODES) == 48
    assert set(WMO_CODES.values()) <= set(CONDITIONS)
    found = weatherapi_shape.read_forecast(answer(weatherapi(code=1999, text="Frogs\n")))
    assert found
    weather = found[1].weather(Location("x"), 1, 2, None, None)
    assert (weather.conditionCode, weather.condition) == (None, "Frogs")


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("location", LEFT_OUT, "`location`"),
        ("current.temp_c", LEFT_OUT, "`temp_c`"),
        ("current.condition.code", "1000", "$.current.condition.code"),
        ("current.last_updated_epoch", 1 << 60, "$.current.last_updated_epoch"),
        ("current.humidity", 101, "$.current.humidity"),
        ("forecast.forecastday.0.hour.3.time_epoch", LEFT_OUT, "`time_epoch`"),
        ("forecast.forecastday", [{"hour": []}] * 15, "$.forecast.forecastday"),
        ("location.country", "x" * 501, "$.location.country"),
    ],
)
def test_what_does_not_fit_weatherapis_shape_is_named(path: str, value: Any, told: str) -> None:
    """A field that is missing, of a wrong type or out of every range is a failure that names it."""
    data: dict[str, Any] = json.loads(json.dumps(weatherapi()))
    with pytest.raises(SourceError) as failure:
        weatherapi_shape.read_forecast(changed(data, path, value))
    assert told in str(failure.value)


@pytest.mark.parametrize(
    ("status", "code", "told", "passing", "alone"),
    [
        (401, 1002, "setting providers.weatherapi_key", False, True),
        (401, 2006, "setting providers.weatherapi_key", False, True),
        (403, 2007, "in a month are used up", False, True),
        (403, 2008, "has disabled the key", False, True),
        (403, 2009, "has no forecasts", False, True),
        (400, 1005, "error 1005", False, False),
        (400, 9999, "error 9999", True, False),
    ],
)
def test_weatherapis_refusals_say_what_to_do(
    status: int, code: int, told: str, passing: bool, alone: bool
) -> None:
    """Trouble with a key leaves the source alone for an hour; an internal error may pass."""
    with pytest.raises(SourceError) as failure:
        weatherapi_shape.read_forecast(answer(weatherapi_error(code), status))
    assert told in str(failure.value)
    assert failure.value.passing is passing
    assert failure.value.retry_after == (3_600 if alone else None)


def test_no_match_at_weatherapi_is_no_failure() -> None:
    """Nothing is wrong with the source."""
    assert weatherapi_shape.read_forecast(answer(weatherapi_error(1006), 400)) == ()


def test_weatherapi_is_asked_for_cities_only() -> None:
    """No city makes it look up an address of the Internet, an airport, or where Flux runs."""
    assert place_query(Location("Paris", "Texas", "US")) == "Paris, Texas, US"
    assert place_query(Location("Paris", "Texas", "US", "33.66094", "-95.55551")) == "33.66,-95.56"
    for city in ("auto:ip", "METAR:EGLL", "id:2801268", "100.0.0.1", "::1", "Bulk", "10001", "!"):
        with pytest.raises(UnknownPlaceError):
            place_query(Location(city))
