"""The ticker's publisher: a steady stream of ticks, of which none is worth waiting for."""

import msgspec
import structlog
import trio
from prometheus_client import Counter

from flux.domains.crypto.contract import TICKER_UPDATED
from flux.domains.crypto.pace import Flow, Pace
from flux.domains.crypto.provider import TickSource
from flux.domains.domain import ServiceContext
from flux.errors import BrokenError
from flux.messages import Record, Stamp, iso_time
from flux.metrics import REGISTRY

TICKS = Counter(
    "flux_ticks",
    "Ticks by outcome: sent to the producer, or skipped (too late, or the broker was away)",
    ["outcome"],
    registry=REGISTRY,
)

log = structlog.get_logger("flux.domains")


class TickerPublisher:
    """Sends ticks at a rate; ticks that cannot go out in time are skipped and counted, never queued.

    Args:
        context: the bus as crypto's principal, the clock.
        source: where the ticks come from.
        rate: per second, over all products; 0 is none.

    Raises:
        LocalError: the rate is not from 0 to 10,000.
    """

    def __init__(self, context: ServiceContext, source: TickSource, *, rate: float) -> None:
        self._context = context
        self._source = source
        self._rate = rate
        self._stamp = Stamp(context.client.principal, context.now, context.rng)
        self._sent = TICKS.labels("sent")
        self._skipped = TICKS.labels("skipped")
        if rate:
            Pace(rate, 0.0)  # refuse a wrong rate now, not at the first tick

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Send until cancelled; ready at once.

        Cancellation: the ticks that fell due since the last wake-up are lost.
        """
        task_status.started()
        if not self._rate:
            await trio.sleep_forever()
        pace = Pace(self._rate, trio.current_time())
        limits = self._context.limits
        flow = Flow(self._context.rng, backoff_min=limits.backoff_min, backoff_max=limits.backoff_max)
        async with trio.open_nursery() as nursery:
            while True:
                await trio.sleep_until(pace.next_wake(trio.current_time()))
                due, late = pace.due(trio.current_time())
                self._skipped.inc(late)
                if flow.overdue(trio.current_time()):
                    self._note_away(f"no delivery report within {flow.patience:g} s")
                await self._send(due, flow, nursery, until=trio.current_time() + pace.max_lag)

    async def _send(self, due: int, flow: Flow, nursery: trio.Nursery, *, until: float) -> None:
        """Send the ticks due, skipping those that are not out `until` then; the last may be the probe."""
        probe = due > 0 and flow.wants_probe(trio.current_time())
        unconfirmed = 0 if flow.away else due - probe
        self._skipped.inc(due - unconfirmed - probe)
        for sent in range(unconfirmed):
            if trio.current_time() > until:  # the producer's queue is full: sending waits
                self._skipped.inc(unconfirmed - sent + probe)
                return
            try:
                await self._context.client.send(self._record())
            except BrokenError as error:
                if flow.failed(trio.current_time(), probe=False):
                    self._note_away(str(error))
                self._skipped.inc(unconfirmed - sent + probe)
                return
            self._sent.inc()
        if probe:
            flow.asked(trio.current_time())
            nursery.start_soon(self._probe, flow)

    async def _probe(self, flow: Flow) -> None:
        try:
            await self._context.client.publish(self._record())
        except BrokenError as error:
            self._skipped.inc()
            if flow.failed(trio.current_time(), probe=True):
                self._note_away(str(error))
        else:
            self._sent.inc()
            if flow.reported(trio.current_time()):
                log.info("ticks are sent again")

    def _record(self) -> Record:
        tick = self._source.tick()
        value = msgspec.json.encode(
            {
                "status": "success",
                "data": tick,
                "source": self._source.source,
                "timestamp": iso_time(self._context.now()),
            }
        )
        return self._stamp.record(TICKER_UPDATED.name, value, key=tick["product_id"])

    def _note_away(self, reason: str) -> None:
        log.warning("ticks are skipped until the broker is back", reason=reason)
