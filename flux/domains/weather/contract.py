"""The weather domain's topics and payload types, as the contract has them."""

from attrs import field, frozen

from flux.domains.domain import command_topic, event_topic
from flux.messages import Event

NAME = "weather"

FETCH = command_topic("weather.service.command.fetch", NAME, partitions=4)
UPDATED = event_topic("weather.service.event.updated", NAME, partitions=4)
REJECTED = event_topic("weather.service.event.rejected", NAME)


@frozen
class Hour:
    """One hour of the forecast.

    Args:
        time: ISO 8601, UTC, the hour's beginning.
        temperature: °C.
        precipitationProbability: %; None where the source has none.
    """

    time: str
    temperature: float
    precipitationProbability: float | None


@frozen(kw_only=True)
class Weather:
    """The weather at a place; only the city is always there (the contract's example has little more).

    Args:
        city, region, country: of the place.
        lat, lon: decimal degrees.
        temperature, feelsLike: °C.
        humidity: %.
        condition: in words; conditionCode is its WMO 4677 code, as Open-Meteo has it.
        windSpeed: km/h; windDirection: degrees, where it comes from.
        pressure: hPa at sea level.
        isDay: whether the sun is up.
        observedAt: ISO 8601, UTC.
        hourly: the next 24 hours.
    """

    city: str
    region: str | None = None
    country: str | None = None
    lat: float | None = None
    lon: float | None = None
    temperature: float | None = None
    feelsLike: float | None = None
    humidity: float | None = None
    condition: str | None = None
    conditionCode: int | None = None
    windSpeed: float | None = None
    windDirection: float | None = None
    pressure: float | None = None
    isDay: bool | None = None
    observedAt: str | None = None
    hourly: tuple[Hour, ...] = field(factory=tuple)


@frozen
class WeatherUpdated(Event[Weather]):
    """`weather.service.event.updated`; an error names its city beside the message.

    Args:
        city: whose fetch failed, as the command spelled it; None with a success (`data` has it).
    """

    city: str | None = None
