"""The crypto service: refreshes in, snapshots out, and the ticker beside them."""

from flux.domains.choosing import choose
from flux.domains.commands import Route
from flux.domains.crypto.coinbase.feed import SOURCE
from flux.domains.crypto.contract import NAME, REJECTED, TopCoins
from flux.domains.crypto.outlet import TickOutlet
from flux.domains.crypto.products import Products
from flux.domains.crypto.provider import CryptoProvider
from flux.domains.crypto.real import feed, real
from flux.domains.crypto.relay import TickRelay
from flux.domains.crypto.simulated import SimulatedCrypto
from flux.domains.crypto.standin import StandIn
from flux.domains.crypto.ticker import SimulatedTicker
from flux.domains.crypto.views import COINS_REFRESH, MOVERS_REFRESH
from flux.domains.domain import ServiceContext
from flux.domains.providers import Mode
from flux.domains.worker import CommandWorker
from flux.nurseries.service import Service
from flux.nurseries.together import together


def crypto_service(context: ServiceContext) -> Service:
    """Return the service; ready once it has subscribed to its commands."""
    simulated = SimulatedCrypto(context.simulation, now=context.now)
    snapshots: CryptoProvider = simulated
    choice, found = choose(NAME, context, real, snapshots)
    products = Products()

    async def top_coins(provider: CryptoProvider) -> TopCoins:
        coins = await provider.top_coins()
        if provider is found.provider:
            products.follow(asset.symbol for asset in coins.topCoins)
        return coins

    worker = CommandWorker(
        context,
        rejected=REJECTED,
        routes=[
            Route.refresh(MOVERS_REFRESH, choice, lambda provider: provider.movers()),
            Route.refresh(COINS_REFRESH, choice, top_coins),
        ],
    )
    return together(*found.services, worker.run, *ticker_services(context, simulated, products))


def ticker_services(
    context: ServiceContext, simulated: SimulatedCrypto, products: Products
) -> tuple[Service, ...]:
    """Return what makes the ticks, by the domain's mode: simulated, real, or real with a stand-in."""
    mode = context.providers.mode_of(NAME)
    outlet = TickOutlet(context)
    stand_in = StandIn(context.providers.patience) if mode is Mode.AUTO else None
    services: list[Service] = [outlet.run]
    if mode is not Mode.REAL:
        rate = context.simulation.ticker_rate
        ticker = SimulatedTicker(simulated, outlet, rate=rate, now=context.now, stand_in=stand_in)
        services.append(ticker.run)
    if mode is not Mode.SIMULATED:
        relay = TickRelay(SOURCE, outlet, now=context.now, stand_in=stand_in)
        limit = context.simulation.products
        listening = feed(context.providers, context.board, products, relay, limit=limit, rng=context.rng)
        services.append(listening.run)
    return tuple(services)
