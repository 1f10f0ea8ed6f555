"""What the weather service needs of a source."""

from typing import Protocol

from flux.domains.location import Location
from flux.domains.weather.contract import Weather


class WeatherProvider(Protocol):
    """A source of the weather at a place.

    Attributes:
        source: its name, as it stands in every event.
    """

    @property
    def source(self) -> str: ...  # noqa: D102 - the class says it

    async def weather(self, location: Location) -> Weather:
        """Return the weather there now, its `city` spelled as the location's.

        Cancellation: nothing is kept of the request.

        Raises:
            ProviderError: the source failed.
            UnknownPlaceError: the source does not know the place.
        """
        ...
