"""The simulated ticker: a steady stream of ticks, of which none is worth waiting for."""

from collections.abc import Callable
from datetime import datetime

import msgspec
import structlog
import trio

from flux.domains.crypto.contract import NAME
from flux.domains.crypto.outlet import TickOutlet
from flux.domains.crypto.pace import Pace
from flux.domains.crypto.provider import TickSource
from flux.domains.crypto.standin import StandIn
from flux.messages import iso_time

log = structlog.get_logger("flux.sources")


class SimulatedTicker:
    """Makes ticks at a rate; those that cannot go out in time are skipped and counted, never queued.

    Args:
        source: where the ticks come from.
        outlet: where they go.
        rate: per second, over all products; 0 is none.
        now: the wall clock, aware.
        stand_in: says when it is its turn; None: always.

    Raises:
        LocalError: the rate is not from 0 to 10,000.
    """

    def __init__(
        self,
        source: TickSource,
        outlet: TickOutlet,
        *,
        rate: float,
        now: Callable[[], datetime],
        stand_in: StandIn | None = None,
    ) -> None:
        self._source = source
        self._outlet = outlet
        self._rate = rate
        self._now = now
        self._stand_in = stand_in
        if rate:
            Pace(rate, 0.0)  # refuse a wrong rate now, not at the first tick

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Send until cancelled; ready at once.

        Cancellation: the ticks that fell due since the last wake-up are lost.
        """
        task_status.started()
        if not self._rate:
            await trio.sleep_forever()
        while True:
            if self._stand_in is not None:
                await self._stand_in.turn()
                log.info("simulated ticks stand in", domain=NAME)
            await self._take_turn(Pace(self._rate, trio.current_time()))

    async def _take_turn(self, pace: Pace) -> None:
        while self._its_turn():
            await trio.sleep_until(pace.next_wake(trio.current_time()))
            due, late = pace.due(trio.current_time())
            if self._its_turn():
                self._outlet.skip(late)
                await self._send(due, until=trio.current_time() + pace.max_lag)

    def _its_turn(self) -> bool:
        return self._stand_in is None or self._stand_in.wanted

    async def _send(self, due: int, *, until: float) -> None:
        """Send the ticks due, skipping those that are not out `until` then."""
        for sent in range(due):
            if trio.current_time() > until or not self._outlet.takes():
                self._outlet.skip(due - sent)
                return
            if not self._its_turn():
                return
            tick = self._source.tick()
            value = msgspec.json.encode(
                {
                    "status": "success",
                    "data": tick,
                    "source": self._source.source,
                    "timestamp": iso_time(self._now()),
                }
            )
            await self._outlet.put(tick["product_id"], value)
