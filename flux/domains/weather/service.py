"""The weather service: a location in, the weather there out."""

from flux.domains.commands import Query, Route
from flux.domains.domain import ServiceContext
from flux.domains.location import city_key, parse_location
from flux.domains.providers import Mode
from flux.domains.sources import Choice, Real
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
    chosen: Real[WeatherProvider] = Real(provider=None)
    if context.providers.mode_of(NAME) is not Mode.SIMULATED:
        chosen = real(context.providers, context.board, context.now)
    choice: Choice[WeatherProvider] = Choice(
        NAME,
        context.providers,
        real=chosen.provider,
        simulated=SimulatedWeather(context.simulation, now=context.now),
        missing=chosen.missing,
        source=chosen.source,
    )
    worker = CommandWorker(context, rejected=REJECTED, routes=[weather_route(choice)])
    return together(*chosen.services, worker.run)


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
