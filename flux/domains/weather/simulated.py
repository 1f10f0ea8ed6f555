"""The simulated weather source: every name with a letter in it is a place, and has a climate."""

import random
from collections.abc import Callable
from datetime import datetime

import trio

from flux.domains.location import Location
from flux.domains.providers import SIMULATED, SimulationOptions
from flux.domains.weather.climate import weather_at
from flux.domains.weather.contract import Weather
from flux.domains.weather.places import find_place

THERMOMETER_ERROR = 0.2
"""°C, standard deviation: two looks at the same moment differ a little, as two real ones do."""


class SimulatedWeather:
    """A `WeatherProvider`.

    Args:
        options: seed, delay of a fetch.
        now: the wall clock, aware.
    """

    source = SIMULATED

    def __init__(self, options: SimulationOptions, *, now: Callable[[], datetime]) -> None:
        self._delay = options.fetch_delay
        self._now = now
        self._rng = random.Random(options.seed)
        self._world = self._rng.getrandbits(32)

    async def weather(self, location: Location) -> Weather:
        """Return the weather there now.

        Raises:
            UnknownPlaceError: the city's name has no letter.
        """
        await trio.sleep(self._delay)
        place = find_place(location)
        error = self._rng.gauss(0.0, THERMOMETER_ERROR)
        return weather_at(place, self._now(), seed=self._world, error=error)
