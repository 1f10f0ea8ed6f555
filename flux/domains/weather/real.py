"""The weather domain's real provider, as the settings choose it."""

from collections.abc import Callable
from datetime import datetime

from flux.domains.providers import WEATHER_SOURCES, ProviderOptions
from flux.domains.sources import Board, Real
from flux.domains.weather import weatherapi
from flux.domains.weather.contract import NAME
from flux.domains.weather.open_meteo import OpenMeteo
from flux.domains.weather.provider import WeatherProvider
from flux.errors import SettingsError

NO_KEY = "WeatherAPI.com needs a key: set providers.weatherapi_key, or providers.weather_source to open-meteo"


def real(
    providers: ProviderOptions,
    board: Board,
    now: Callable[[], datetime],
) -> Real[WeatherProvider]:
    """Return the provider that is set up.

    Args:
        providers: which source, its key, its address.
        board: where the health of its sources stands.
        now: the wall clock, aware.

    Raises:
        SettingsError: there is no such source.
    """
    name = providers.weather_source
    provider: OpenMeteo | weatherapi.WeatherApi
    if name == "open-meteo":
        provider = OpenMeteo(board, providers.urls, now)
    elif name != "weatherapi":
        allowed = ", ".join(WEATHER_SOURCES)
        raise SettingsError(f"providers.weather_source is {name!r}; it must be one of {allowed}")
    elif not providers.weatherapi_key:
        board.health(weatherapi.FORECAST.name, NAME).missing(NO_KEY)
        return Real(provider=None, missing=NO_KEY, source=name)
    else:
        provider = weatherapi.WeatherApi(providers.weatherapi_key, board, providers.urls)
    return Real(provider=provider, services=tuple(source.run for source in provider.sources))
