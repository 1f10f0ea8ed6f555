"""The ticks' way to the broker: in order; what cannot go out at once is skipped and counted, not queued."""

from types import TracebackType
from typing import Self

import structlog
import trio
from prometheus_client import Counter

from flux.domains.crypto.contract import TICKER_UPDATED
from flux.domains.crypto.pace import MAX_LAG, Flow
from flux.domains.domain import ServiceContext
from flux.errors import BrokenError, LocalError
from flux.messages import Record, Stamp
from flux.metrics import REGISTRY

TICKS = Counter(
    "flux_ticks",
    "Ticks by outcome: sent to the producer, or skipped (too late, or the broker was away)",
    ["outcome"],
    registry=REGISTRY,
)

log = structlog.get_logger("flux.domains")


class _Turn:
    """One tick at a time, in the order in which they came; costs nothing where nobody else is at it."""

    def __init__(self) -> None:
        self._lock = trio.Lock()

    async def __aenter__(self) -> Self:
        try:
            self._lock.acquire_nowait()
        except trio.WouldBlock:
            await self._lock.acquire()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()


class TickOutlet:
    """Sends ticks. One a second is a probe, whose delivery report tells whether the broker takes them.

    It must be running (`run`, a service) to be used.

    Args:
        context: the bus as crypto's principal, the clock.
    """

    def __init__(self, context: ServiceContext) -> None:
        self._context = context
        self._client = context.client
        self._stamp = Stamp(context.client.principal, context.now, context.rng)
        self._flow = self._new_flow()
        self._turn = _Turn()
        self._full_until = 0.0
        self._nursery: trio.Nursery | None = None
        self._sent = TICKS.labels("sent")
        self._skipped = TICKS.labels("skipped")

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Hold the probes under way, until cancelled."""
        self._flow = self._new_flow()  # of an earlier run a probe may be lost
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            try:
                task_status.started()
                await trio.sleep_forever()
            finally:
                self._nursery = None

    def takes(self) -> bool:
        """Return whether a tick that came now would be sent; while it would not, none need be made."""
        now = trio.current_time()
        if self._flow.overdue(now):
            self._note_away(f"no delivery report within {self._flow.patience:g} s")
        return self._flow.wants_probe(now) or not (self._flow.away or now < self._full_until)

    def skip(self, count: int) -> None:
        """Count ticks that were not even offered."""
        self._skipped.inc(count)

    async def put(self, product: str, value: bytes) -> None:
        """Send a tick, or skip it; waits a quarter of a second at most, while the producer's queue is full.

        Cancellation: the tick was queued or not at all.

        Args:
            product: the record's key.
            value: the whole payload.

        Raises:
            LocalError: the outlet is not running, or the record is too large.
        """
        async with self._turn:
            if not self.takes():
                self._skipped.inc()
                return
            record = self._stamp.record(TICKER_UPDATED.name, value, key=product)
            if not self._flow.wants_probe(trio.current_time()):
                await self._send(record)
            elif self._nursery is not None:
                self._flow.asked(trio.current_time())
                await self._nursery.start(self._probe, record)
            else:
                raise LocalError("the outlet is not running")

    def _new_flow(self) -> Flow:
        limits = self._context.limits
        return Flow(self._context.rng, backoff_min=limits.backoff_min, backoff_max=limits.backoff_max)

    async def _send(self, record: Record) -> None:
        try:
            with trio.move_on_after(MAX_LAG) as scope:
                await self._client.send(record)
        except BrokenError as error:
            self._skipped.inc()
            if self._flow.failed(trio.current_time(), probe=False):
                self._note_away(str(error))
            return
        if scope.cancelled_caught:
            # The next ticks are skipped without waiting, so that what comes in does not pile up meanwhile.
            self._full_until = trio.current_time() + MAX_LAG
            self._skipped.inc()
        else:
            self._sent.inc()

    async def _probe(
        self, record: Record, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        # The starter goes on at its next turn, and so the record is in the producer's queue before another.
        task_status.started()
        try:
            await self._client.publish(record)
        except BrokenError as error:
            self._skipped.inc()
            if self._flow.failed(trio.current_time(), probe=True):
                self._note_away(str(error))
        else:
            self._sent.inc()
            if self._flow.reported(trio.current_time()):
                log.info("ticks are sent again")

    def _note_away(self, reason: str) -> None:
        log.warning("ticks are skipped until the broker is back", reason=reason)
