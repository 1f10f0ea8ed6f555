"""The real weather sources over real HTTP on loopback, alone and behind the weather service."""

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
import trio
from fake_site import FakeSite, answer_json, late, status  # from tests/sources
from structlog.typing import EventDict
from weather_answers import (  # from tests/sources
    FORECAST,
    PARISES,
    SEARCH,
    WEATHERAPI,
    open_meteo,
    places,
    weatherapi,
    weatherapi_error,
)

from flux.domains.location import Location
from flux.domains.providers import ProviderError, ProviderOptions, UnknownPlaceError
from flux.domains.sources import Board, SourceError
from flux.domains.sources.board import SourceState
from flux.domains.weather.provider import WeatherProvider
from flux.domains.weather.real import real
from flux.domains.weather.service import weather_service
from flux.errors import SettingsError
from flux.messages import wall_clock
from flux.transport.kafka.memory import MemoryBus

KEY = "s3cr3t-k3y"
DELHI = Location("Delhi", lat="28.61", lon="77.20")
COMMAND = "weather.service.command.fetch"
UPDATED = "weather.service.event.updated"
REJECTED = "weather.service.event.rejected"

Asking = Callable[..., AbstractAsyncContextManager[tuple[WeatherProvider, Board]]]


def addresses(site: FakeSite) -> dict[str, str]:
    """Return the addresses of all weather sources at the fake site."""
    return dict.fromkeys(("open-meteo", "open-meteo-geocoding", "weatherapi"), site.url)


@pytest.fixture
def asking(site: FakeSite) -> Asking:
    """What runs the provider that options choose, against the fake site."""

    @asynccontextmanager
    async def ask(**options: Any) -> AsyncIterator[tuple[WeatherProvider, Board]]:
        board = Board()
        chosen = real(ProviderOptions(mode="real", urls=addresses(site), **options), board, wall_clock)
        assert chosen.provider is not None
        async with trio.open_nursery() as nursery:
            for service in chosen.services:
                await nursery.start(service)
            yield chosen.provider, board
            nursery.cancel_scope.cancel()

    return ask


async def test_open_meteo_is_asked_for_what_the_contract_has(site: FakeSite, asking: Asking) -> None:
    """The variables are those of the answer's shape; the city is spelled as it was asked for."""
    site.script(FORECAST, answer_json(open_meteo()))
    async with asking() as (provider, _):
        weather = await provider.weather(Location(" DELHI ", "Delhi", "IN", "28.6139", "77.2090"))
    assert (weather.city, weather.region, weather.country) == (" DELHI ", "Delhi", "IN")
    assert (weather.lat, weather.lon, weather.temperature) == (28.6139, 77.209, 18.4)
    (request,) = site.requests
    current = "temperature_2m,relative_humidity_2m,apparent_temperature,is_day,weather_code,"
    assert request.params == {
        "latitude": "28.61",
        "longitude": "77.21",
        "current": current + "wind_speed_10m,wind_direction_10m,pressure_msl",
        "hourly": "temperature_2m,precipitation_probability",
        "forecast_hours": "26",
        "timezone": "GMT",
    }


async def test_neighbours_share_an_answer_for_a_quarter_of_an_hour(
    site: FakeSite, asking: Asking, loopback_clock: Any
) -> None:
    """Two places within a kilometre are one request, and each keeps its own name and coordinates."""
    site.script(FORECAST, answer_json(open_meteo()))
    async with asking() as (provider, _):
        here = await provider.weather(Location("Mitte", lat="52.5201", lon="13.4049"))
        there = await provider.weather(Location("Scheunenviertel", lat="52.5249", lon="13.4012"))
        await provider.weather(Location("Potsdam", lat="52.39", lon="13.06"))
        assert len(site.requests) == 2
        await trio.sleep(890)
        await provider.weather(Location("Mitte", lat="52.5201", lon="13.4049"))
        assert len(site.requests) == 2
        await trio.sleep(20)
        await provider.weather(Location("Mitte", lat="52.5201", lon="13.4049"))
        assert len(site.requests) == 3
    assert (here.city, here.lat) == ("Mitte", 52.5201)
    assert (there.city, there.lat) == ("Scheunenviertel", 52.5249)


async def test_a_city_without_coordinates_is_looked_up_once(site: FakeSite, asking: Asking) -> None:
    """All Parises come of one search; region and country are filled in; each has its own weather."""
    site.script(SEARCH, answer_json(PARISES))
    site.script(
        FORECAST, lambda request: answer_json(open_meteo(temperature=float(request.params["latitude"])))
    )
    async with asking() as (provider, _):
        france = await provider.weather(Location("Paris"))
        texas = await provider.weather(Location("Paris", "Texas", "US"))
        both = await provider.weather(Location("Paris, Texas"))
    assert (france.region, france.country, france.temperature) == ("Île-de-France", "FR", 48.85)
    assert (france.lat, france.lon) == (48.85341, 2.3488)
    assert (texas.region, texas.country, texas.temperature) == ("Texas", "US", 33.66)
    assert (both.city, both.country, both.temperature) == ("Paris, Texas", "US", 33.66)
    (search,) = site.asked(SEARCH)
    assert search.params == {"name": "Paris", "count": "50", "language": "en", "format": "json"}
    assert len(site.asked(FORECAST)) == 2


async def test_a_place_that_open_meteo_does_not_know_is_remembered(site: FakeSite, asking: Asking) -> None:
    """It is no failure of the source, and not looked up again."""
    site.script(SEARCH, answer_json(places()))
    async with asking() as (provider, board):
        for _ in range(2):
            with pytest.raises(UnknownPlaceError, match="'Xyzzy'"):
                await provider.weather(Location("Xyzzy"))
        assert len(site.requests) == 1
        states = {row.name: row.state for row in board.rows()}
    assert states == {"open-meteo": SourceState.UNKNOWN, "open-meteo-geocoding": SourceState.UP}


async def test_a_place_found_before_is_known_while_the_geocoding_is_down(
    site: FakeSite, asking: Asking, loopback_clock: Any
) -> None:
    """The weather goes on where the search has been answered once; a new name is a failure."""
    site.script(SEARCH, answer_json(PARISES), status(503))
    site.script(FORECAST, answer_json(open_meteo()))
    async with asking() as (provider, _):
        first = await provider.weather(Location("Paris", "Texas"))
        await trio.sleep(25 * 3600)
        assert await provider.weather(Location("Paris", "Texas")) == first
        with pytest.raises(SourceError, match="geocoding"):
            await provider.weather(Location("London"))
    assert len(site.asked(SEARCH)) > 2
    assert len(site.asked(FORECAST)) == 2


async def test_open_meteos_refusal_is_a_failure_with_its_reason(site: FakeSite, asking: Asking) -> None:
    """It is not tried again, for it would be the same."""
    site.script(FORECAST, answer_json({"error": True, "reason": "No data is available"}, 400))
    async with asking() as (provider, board):
        with pytest.raises(SourceError, match="Open-Meteo refuses the request: No data is available"):
            await provider.weather(DELHI)
        assert board.rows()[0].state is SourceState.DOWN
    assert len(site.requests) == 1


async def test_open_meteo_is_left_alone_while_its_limit_is_passed(site: FakeSite, asking: Asking) -> None:
    """One request finds out, and no retry makes it worse."""
    reason = "Hourly API request limit exceeded. Please try again in the next hour."
    site.script(FORECAST, answer_json({"error": True, "reason": reason}, 429))
    messages = []
    async with asking() as (provider, _):
        for _ in range(2):
            with pytest.raises(SourceError) as failure:
                await provider.weather(DELHI)
            messages.append(str(failure.value))
    assert messages[0] == f"Open-Meteo wants fewer requests: {reason}"
    assert "is asked again in" in messages[1]
    assert len(site.requests) == 1


async def test_a_refusal_by_a_proxy_is_told_by_its_status(site: FakeSite, asking: Asking) -> None:
    """What is no JSON has nothing to read, and its Retry-After is obeyed."""
    site.script(FORECAST, status(429, retry_after="600"))
    async with asking() as (provider, _):
        with pytest.raises(SourceError, match="429"):
            await provider.weather(DELHI)
        with pytest.raises(SourceError, match=r"is asked again in (600|599) s"):
            await provider.weather(DELHI)
    assert len(site.requests) == 1


async def test_a_place_without_a_temperature_is_an_error_for_that_place_only(
    site: FakeSite, asking: Asking
) -> None:
    """Clients keep what they had rather than an empty card; the source is up."""
    site.script(FORECAST, answer_json(open_meteo(temperature=None)))
    async with asking() as (provider, board):
        known = []
        for _ in range(3):
            with pytest.raises(ProviderError, match="no temperature for Delhi") as caught:
                await provider.weather(DELHI)
            known.append(caught.value.known)
        assert board.rows()[0].state is SourceState.UP
    assert known == [False, True, True]  # one warning in the log, not one for each who asks


async def test_another_shape_names_the_field_and_counts_as_down(site: FakeSite, asking: Asking) -> None:
    """A source that changed its interface is seen on the board, with what is missing."""
    changed = open_meteo()
    del changed["current"]["pressure_msl"]
    site.script(FORECAST, answer_json(changed))
    async with asking() as (provider, board):
        with pytest.raises(SourceError, match="pressure_msl"):
            await provider.weather(DELHI)
        assert "pressure_msl" in board.rows()[0].reason


async def test_weatherapi_is_asked_with_the_key(site: FakeSite, asking: Asking) -> None:
    """The city goes as text, and what it says of the place fills the gaps."""
    site.script(WEATHERAPI, answer_json(weatherapi()))
    async with asking(weather_source="weatherapi", weatherapi_key=KEY) as (provider, _):
        assert provider.source == "weatherapi"
        named = await provider.weather(Location("New Delhi", country="IN"))
        placed = await provider.weather(DELHI)
    assert (named.city, named.region, named.country) == ("New Delhi", "Delhi", "IN")
    assert (named.lat, named.lon, named.conditionCode) == (28.6, 77.2, 63)
    assert (placed.city, placed.country, placed.lat) == ("Delhi", "India", 28.61)
    asked = [dict(request.params) for request in site.requests]
    assert asked == [
        {"q": q, "days": "2", "aqi": "no", "alerts": "no", "key": KEY}
        for q in ("New Delhi, IN", "28.61,77.20")
    ]


async def test_a_place_that_weatherapi_does_not_know_is_remembered(site: FakeSite, asking: Asking) -> None:
    """The month's calls are few."""
    site.script(WEATHERAPI, answer_json(weatherapi_error(1006, "No matching location found."), 400))
    async with asking(weather_source="weatherapi", weatherapi_key=KEY) as (provider, board):
        for _ in range(2):
            with pytest.raises(UnknownPlaceError, match="'Xyzzy'"):
                await provider.weather(Location("Xyzzy"))
        assert board.rows()[0].state is SourceState.UP
    assert len(site.requests) == 1


async def test_a_key_that_is_refused_is_left_alone_and_never_shown(
    site: FakeSite, asking: Asking, logged: list[EventDict]
) -> None:
    """The failure names the setting; the key stands in no message, log line or board."""
    site.script(WEATHERAPI, answer_json(weatherapi_error(2006, f"API key {KEY} is invalid."), 401))
    messages = []
    async with asking(weather_source="weatherapi", weatherapi_key=KEY) as (provider, board):
        for _ in range(2):
            with pytest.raises(SourceError) as failure:
                await provider.weather(DELHI)
            messages.append(str(failure.value))
        rows = board.rows()
    assert "setting providers.weatherapi_key" in messages[0]
    assert "is asked again in" in messages[1]
    assert len(site.requests) == 1
    assert KEY not in f"{messages} {rows} {logged}"


def test_without_its_key_weatherapi_says_what_to_set(logged: list[EventDict]) -> None:
    """There is no provider then, the board says why, and the log once."""
    board = Board()
    chosen = real(ProviderOptions(weather_source="weatherapi"), board, wall_clock)
    assert (chosen.provider, chosen.services) == (None, ())
    assert "providers.weatherapi_key" in chosen.missing
    (row,) = board.rows()
    assert (row.name, row.state, row.reason) == ("weatherapi", SourceState.MISSING, chosen.missing)
    assert len(logged) == 1


def test_a_source_that_is_not_there_is_a_wrong_setting() -> None:
    """The message names the setting and what it may be."""
    with pytest.raises(SettingsError, match=r"weather_source is 'frog'.*open-meteo, weatherapi"):
        real(ProviderOptions(weather_source="frog"), Board(), wall_clock)


async def serve(
    bus: MemoryBus, context: Any, data: Mapping[str, Any], *, commands: int = 1
) -> list[dict[str, Any]]:
    """Run the weather service until it has answered commands, one after another; return these events."""
    value = json.dumps({"event": "locationUpdate", "userId": "u", "data": data}).encode()
    before = len(bus.records(UPDATED))
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            await nursery.start(weather_service(context))
            for number in range(1, commands + 1):
                bus.inject(COMMAND, value, b"x")
                while len(bus.records(UPDATED)) - before + len(bus.records(REJECTED)) < number:  # noqa: ASYNC110 - the bus tells nobody
                    await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
    return [json.loads(record.value or b"") for record in bus.records(UPDATED)[before:]]


async def test_a_command_is_answered_with_real_weather(
    site: FakeSite, bus: MemoryBus, make_context: Any
) -> None:
    """From the contract's own command to an event with every field of the payload, named by its source."""
    site.script(FORECAST, answer_json(open_meteo()))
    context = make_context("weather", providers=ProviderOptions(mode="real", urls=addresses(site)))
    (event,) = await serve(bus, context, {"city": "Delhi", "lat": "28.61", "lon": "77.20", "country": "IN"})
    assert list(event) == ["status", "data", "source", "timestamp"]
    assert (event["status"], event["source"]) == ("success", "open-meteo")
    hourly = event["data"].pop("hourly")
    assert event["data"] == {
        "city": "Delhi",
        "region": None,
        "country": "IN",
        "lat": 28.61,
        "lon": 77.2,
        "temperature": 18.4,
        "feelsLike": 17.2,
        "humidity": 51,
        "condition": "Partly cloudy",
        "conditionCode": 2,
        "windSpeed": 8.6,
        "windDirection": 300,
        "pressure": 1016.3,
        "isDay": True,
        "observedAt": "2026-01-31T10:45:00.000Z",
    }
    assert len(hourly) == 24
    assert hourly[0] == {
        "time": "2026-01-31T11:00:00.000Z",
        "temperature": 15.1,
        "precipitationProbability": 1,
    }


async def test_an_unknown_city_is_rejected_also_with_auto(
    site: FakeSite, bus: MemoryBus, make_context: Any
) -> None:
    """The simulation does not invent a place that the real source denies."""
    site.script(SEARCH, answer_json(places()))
    context = make_context("weather", providers=ProviderOptions(mode="auto", urls=addresses(site)))
    assert not await serve(bus, context, {"city": "Xyzzy"})
    (rejected,) = bus.records(REJECTED)
    assert "Xyzzy" in (rejected.header("flux_reason") or "")


async def test_a_source_that_is_down_is_an_error_for_the_city(
    site: FakeSite, bus: MemoryBus, make_context: Any
) -> None:
    """With `real` nothing stands in; the message is fit for people and has no address."""
    site.script(FORECAST, status(500))
    providers = ProviderOptions(weather="real", urls=addresses(site))
    (event,) = await serve(
        bus, make_context("weather", providers=providers), {"city": "Oslo", "lat": 1, "lon": 2}
    )
    assert (event["status"], event["city"], event["source"]) == ("error", "Oslo", "open-meteo")
    assert "Open-Meteo" in event["message"]
    assert "127.0.0.1" not in event["message"]


async def test_auto_shows_simulated_weather_while_nothing_real_comes(
    site: FakeSite, bus: MemoryBus, make_context: Any
) -> None:
    """The first command is answered in time by the simulation, marked so; a later one by the source."""
    site.script(FORECAST, late(answer_json(open_meteo()), 0.3))
    providers = ProviderOptions(mode="auto", patience=0.1, urls=addresses(site))
    data = {"city": "Oslo", "lat": 59.9, "lon": 10.7}
    events = await serve(bus, make_context("weather", providers=providers), data, commands=4)
    sources = [event["source"] for event in events]
    assert sources[0] == "simulated"
    assert sources[-1] == "open-meteo"
    assert len(site.requests) == 1  # the request went on, and its answer was kept


@pytest.mark.parametrize("mode", ["real", "auto"])
async def test_without_a_key_real_is_an_error_and_auto_simulates(
    mode: str, bus: MemoryBus, make_context: Any
) -> None:
    """The error says which setting is missing."""
    providers = ProviderOptions(weather=mode, weather_source="weatherapi")
    (event,) = await serve(bus, make_context("weather", providers=providers), {"city": "Oslo"})
    assert event["source"] == ("simulated" if mode == "auto" else "weatherapi")
    assert event["status"] == ("success" if mode == "auto" else "error")
    assert ("providers.weatherapi_key" in event.get("message", "")) is (mode == "real")


async def test_while_simulated_no_source_is_asked(site: FakeSite, bus: MemoryBus, make_context: Any) -> None:
    """The default makes no connection, and puts nothing on the board."""
    context = make_context("weather", providers=ProviderOptions(urls=addresses(site)))
    (event,) = await serve(bus, context, {"city": "Oslo"})
    assert event["source"] == "simulated"
    assert context.board.rows() == []
    assert site.connections == 0
