"""The weather service: a location in, the weather there out."""

from functools import partial

from flux.domains.commands import Query, Route
from flux.domains.domain import ServiceContext
from flux.domains.location import city_key, parse_location
from flux.domains.weather.contract import REJECTED
from flux.domains.weather.provider import WeatherProvider
from flux.domains.weather.simulated import SimulatedWeather
from flux.domains.weather.views import FETCHES
from flux.domains.worker import CommandWorker
from flux.messages import Command
from flux.nurseries.service import Service


def weather_service(context: ServiceContext) -> Service:
    """Return the service; ready once it has subscribed to its commands."""
    routes = [weather_route(SimulatedWeather(context.options, now=context.now))]
    return CommandWorker(context, rejected=REJECTED, routes=routes).run


def weather_route(provider: WeatherProvider) -> Route:
    """Return how a location command is served; a malformed location is refused."""

    def query(command: Command) -> Query:
        location = parse_location(command.data)
        return Query(
            key=city_key(location.city),
            fetch=partial(provider.weather, location),
            on_error={"city": location.city},
        )

    return Route(command=FETCHES, source=provider.source, query=query)
