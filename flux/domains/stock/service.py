"""The stock service: a refresh in, the top performers out."""

from flux.domains.commands import Route
from flux.domains.domain import ServiceContext
from flux.domains.sources.choice import Choice
from flux.domains.stock.contract import NAME, REJECTED
from flux.domains.stock.provider import StockProvider
from flux.domains.stock.simulated import SimulatedStocks
from flux.domains.stock.views import PERFORMERS_REFRESH
from flux.domains.worker import CommandWorker
from flux.nurseries.service import Service


def stock_service(context: ServiceContext) -> Service:
    """Return the service; ready once it has subscribed to its commands."""
    choice: Choice[StockProvider] = Choice(
        NAME, context.providers, real=None, simulated=SimulatedStocks(context.simulation, now=context.now)
    )
    routes = [Route.refresh(PERFORMERS_REFRESH, choice, lambda provider: provider.top_performers())]
    return CommandWorker(context, rejected=REJECTED, routes=routes).run
