"""The news service: a refresh in, the latest articles out."""

from flux.domains.commands import Route
from flux.domains.domain import ServiceContext
from flux.domains.news.contract import NAME, REJECTED
from flux.domains.news.provider import NewsProvider
from flux.domains.news.simulated import SimulatedNews
from flux.domains.news.views import NEWS_REFRESH
from flux.domains.sources.choice import Choice
from flux.domains.worker import CommandWorker
from flux.nurseries.service import Service


def news_service(context: ServiceContext) -> Service:
    """Return the service; ready once it has subscribed to its commands."""
    choice: Choice[NewsProvider] = Choice(
        NAME, context.providers, real=None, simulated=SimulatedNews(context.simulation, now=context.now)
    )
    routes = [Route.refresh(NEWS_REFRESH, choice, lambda provider: provider.latest())]
    return CommandWorker(context, rejected=REJECTED, routes=routes).run
