"""The crypto service: refreshes in, snapshots out, and the ticker beside them."""

from flux.domains.commands import Route
from flux.domains.crypto.contract import NAME, REJECTED
from flux.domains.crypto.provider import CryptoProvider
from flux.domains.crypto.simulated import SimulatedCrypto
from flux.domains.crypto.ticker import TickerPublisher
from flux.domains.crypto.views import COINS_REFRESH, MOVERS_REFRESH
from flux.domains.domain import ServiceContext
from flux.domains.sources.choice import Choice
from flux.domains.worker import CommandWorker
from flux.nurseries.service import Service
from flux.nurseries.together import together


def crypto_service(context: ServiceContext) -> Service:
    """Return the service; ready once it has subscribed to its commands."""
    simulated = SimulatedCrypto(context.simulation, now=context.now)
    choice: Choice[CryptoProvider] = Choice(NAME, context.providers, real=None, simulated=simulated)
    worker = CommandWorker(
        context,
        rejected=REJECTED,
        routes=[
            Route.refresh(MOVERS_REFRESH, choice, lambda provider: provider.movers()),
            Route.refresh(COINS_REFRESH, choice, lambda provider: provider.top_coins()),
        ],
    )
    ticker = TickerPublisher(context, simulated, rate=context.simulation.ticker_rate)
    return together(worker.run, ticker.run)
