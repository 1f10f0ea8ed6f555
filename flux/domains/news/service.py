"""The news service: a refresh in, the latest articles out."""

from flux.domains.choosing import choose
from flux.domains.commands import Route
from flux.domains.domain import ServiceContext
from flux.domains.news.contract import NAME, REJECTED
from flux.domains.news.provider import NewsProvider
from flux.domains.news.real import real
from flux.domains.news.simulated import SimulatedNews
from flux.domains.news.views import NEWS_REFRESH
from flux.domains.worker import CommandWorker
from flux.nurseries.service import Service
from flux.nurseries.together import together


def news_service(context: ServiceContext) -> Service:
    """Return the service; ready once its sources run and it has subscribed to its commands."""
    simulated: NewsProvider = SimulatedNews(context.simulation, now=context.now)
    choice, found = choose(NAME, context, real, simulated)
    worker = CommandWorker(
        context,
        rejected=REJECTED,
        routes=[Route.refresh(NEWS_REFRESH, choice, lambda provider: provider.latest())],
    )
    return together(*found.services, worker.run)
