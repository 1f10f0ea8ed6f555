"""The crypto service: refreshes in, snapshots out, and the ticker beside them."""

import trio

from flux.domains.commands import Route
from flux.domains.crypto.contract import REJECTED
from flux.domains.crypto.simulated import SimulatedCrypto
from flux.domains.crypto.ticker import TickerPublisher
from flux.domains.crypto.views import COINS_REFRESH, MOVERS_REFRESH
from flux.domains.domain import ServiceContext
from flux.domains.worker import CommandWorker
from flux.nurseries.service import Service


def crypto_service(context: ServiceContext) -> Service:
    """Return the service; ready once it has subscribed to its commands."""
    provider = SimulatedCrypto(context.options, now=context.now)
    worker = CommandWorker(
        context,
        rejected=REJECTED,
        routes=[
            Route.refresh(MOVERS_REFRESH, provider.source, provider.movers),
            Route.refresh(COINS_REFRESH, provider.source, provider.top_coins),
        ],
    )
    ticker = TickerPublisher(context, provider, rate=context.options.ticker_rate)

    async def run(*, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(worker.run)
            nursery.start_soon(ticker.run)
            task_status.started()

    return run
