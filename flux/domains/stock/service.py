"""The stock service: a refresh in, the top performers out."""

from flux.domains.choosing import choose
from flux.domains.commands import Route
from flux.domains.domain import ServiceContext
from flux.domains.stock.contract import NAME, REJECTED
from flux.domains.stock.provider import StockProvider
from flux.domains.stock.real import real
from flux.domains.stock.simulated import SimulatedStocks
from flux.domains.stock.views import PERFORMERS_REFRESH
from flux.domains.worker import CommandWorker
from flux.nurseries.service import Service
from flux.nurseries.together import together


def stock_service(context: ServiceContext) -> Service:
    """Return the service; ready once it has subscribed to its commands."""
    simulated: StockProvider = SimulatedStocks(context.simulation, now=context.now)
    choice, found = choose(NAME, context, real, simulated)
    routes = [Route.refresh(PERFORMERS_REFRESH, choice, lambda provider: provider.top_performers())]
    worker = CommandWorker(context, rejected=REJECTED, routes=routes)
    return together(*found.services, worker.run)
