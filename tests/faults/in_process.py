"""Flux inside the test's own process, with a weather source that misbehaves as the test likes."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import trio
from attrs import define, evolve

from flux import app
from flux.domains.domain import Domain, ServiceContext
from flux.domains.location import Location
from flux.domains.registry import DOMAINS
from flux.domains.sources.choice import Choice
from flux.domains.weather import WEATHER
from flux.domains.weather.contract import NAME, REJECTED, Weather
from flux.domains.weather.provider import WeatherProvider
from flux.domains.weather.service import weather_route
from flux.domains.weather.simulated import SimulatedWeather
from flux.domains.worker import CommandWorker
from flux.nurseries import Service
from flux.runtime import Running, find
from flux.settings import load_settings

FETCH_DEADLINE = 0.5
"""Seconds, here: a source that hangs has failed after that."""

Trouble = Callable[[], Awaitable[None]]
"""Awaited before each fetch: may raise, or hang."""


@define(eq=False)
class TroubledWeather:
    """The simulated source, which gets into trouble first.

    Args:
        inner: the real one.
        trouble: what befalls it.
    """

    inner: SimulatedWeather
    trouble: Trouble
    source: str = "troubled"

    async def weather(self, location: Location) -> Weather:
        """Return the weather there now, or fail."""
        await self.trouble()
        return await self.inner.weather(location)


def troubled(trouble: Trouble) -> Sequence[Domain]:
    """Return the domains, weather with such a source."""

    def service(context: ServiceContext) -> Service:
        limits = evolve(context.limits, fetch_deadline=FETCH_DEADLINE)
        provider = TroubledWeather(SimulatedWeather(context.simulation, now=context.now), trouble)
        choice: Choice[WeatherProvider] = Choice(NAME, context.providers, real=None, simulated=provider)
        worker = CommandWorker(
            evolve(context, limits=limits), rejected=REJECTED, routes=[weather_route(choice)]
        )
        return worker.run

    return [evolve(WEATHER, service=service), *(domain for domain in DOMAINS if domain is not WEATHER)]


@asynccontextmanager
async def flux_here(directory: Path, domains: Sequence[Domain], **settings: Any) -> AsyncIterator[Running]:
    """Flux in this process, ready.

    Args:
        directory: of the runtime file.
        domains: instead of the registry's.
        settings: by dotted name, the dot written as two underscores.
    """
    given = {name.replace("__", "."): value for name, value in settings.items()}
    loaded = load_settings(None, {"http.port": 0, "runtime_dir": directory} | given, environ={})
    with patch.object(app, "DOMAINS", tuple(domains)):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(app.run_all, loaded)
            with trio.fail_after(20):
                while (found := find(directory)) is None:  # noqa: ASYNC110 - a file tells nobody of its coming
                    await trio.sleep(0.01)
            yield found
            nursery.cancel_scope.cancel()
