"""The weather service: a location in, the weather there out."""

from flux.domains.choosing import choose
from flux.domains.commands import Query, Route
from flux.domains.domain import ServiceContext
from flux.domains.location import city_key, parse_location
from flux.domains.sources import Choice
from flux.domains.weather.contract import NAME, REJECTED
from flux.domains.weather.provider import WeatherProvider
from flux.domains.weather.real import real
from flux.domains.weather.simulated import SimulatedWeather
from flux.domains.weather.views import FETCHES
from flux.domains.worker import CommandWorker
from flux.messages import Command
from flux.nurseries.service import Service
from flux.nurseries.together import together


def weather_service(context: ServiceContext) -> Service:
    """Return the service; ready once its sources run and it has subscribed to its commands."""
    simulated: WeatherProvider = SimulatedWeather(context.simulation, now=context.now)
    choice, found = choose(NAME, context, real, simulated)
    worker = CommandWorker(context, rejected=REJECTED, routes=[weather_route(choice)])
    return together(*found.services, worker.run)


def weather_route(choice: Choice[WeatherProvider]) -> Route:
    """Return how a location command is served; a malformed location is refused."""

    def query(command: Command) -> Query:
        location = parse_location(command.data)
        key = city_key(location.city)
        return Query(
            key=key,
            fetch=lambda: choice.fetch(key, lambda provider: provider.weather(location)),
            on_error={"city": location.city},
        )

    return Route(command=FETCHES, source=choice.source, query=query)
