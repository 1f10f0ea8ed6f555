"""The stock service: a refresh in, the top performers out."""

from flux.domains.commands import Route
from flux.domains.domain import ServiceContext
from flux.domains.providers import Mode
from flux.domains.sources import Choice, Real
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
    options = context.providers
    simulated = options.mode_of(NAME) is Mode.SIMULATED
    outside: Real[StockProvider] = (
        Real(provider=None) if simulated else real(options, context.board, context.now)
    )
    choice: Choice[StockProvider] = Choice(
        NAME,
        options,
        real=outside.provider,
        simulated=SimulatedStocks(context.simulation, now=context.now),
        missing=outside.missing,
        source=outside.source,
    )
    routes = [Route.refresh(PERFORMERS_REFRESH, choice, lambda provider: provider.top_performers())]
    worker = CommandWorker(context, rejected=REJECTED, routes=routes)
    return together(*outside.services, worker.run)
