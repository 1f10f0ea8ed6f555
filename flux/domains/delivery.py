"""Delivery for certain: a record is published until Kafka reports it, however long the broker is away."""

import random

import structlog
import trio
from prometheus_client import Counter

from flux.domains.limits import WorkerLimits
from flux.errors import BrokenError
from flux.messages import Record
from flux.metrics import REGISTRY
from flux.transport.kafka.bus import Client

RETRIES = Counter(
    "flux_delivery_retries",
    "Publications tried again because the broker was away",
    ["principal"],
    registry=REGISTRY,
)

log = structlog.get_logger("flux.domains")


class Delivery:
    """Publishes for all tasks of a service, and says once when the broker goes and once when it is back.

    Args:
        client: the bus as this principal.
        limits: `backoff_min` and `backoff_max`.
        rng: of the jitter.
    """

    def __init__(self, client: Client, limits: WorkerLimits, rng: random.Random) -> None:
        self._client = client
        self._limits = limits
        self._rng = rng
        self._away = False
        self._retries = RETRIES.labels(client.principal)

    async def deliver(self, record: Record) -> None:
        """Publish a record; return once Kafka has reported it.

        A record may be delivered twice (its report was lost): both have the same ``ce_id``.

        Cancellation: the record may be delivered or not.

        Raises:
            LocalError: as `Client.publish`.
        """
        ceiling = self._limits.backoff_min
        while True:
            try:
                await self._client.publish(record)
            except BrokenError as error:
                self._note_away(str(error))
            else:
                self._note_back()
                return
            self._retries.inc()
            await trio.sleep(self._rng.uniform(self._limits.backoff_min, ceiling))
            ceiling = min(2 * ceiling, self._limits.backoff_max)

    def _note_away(self, reason: str) -> None:
        if not self._away:
            self._away = True
            log.warning("events wait for the broker", principal=self._client.principal, reason=reason)

    def _note_back(self) -> None:
        if self._away:
            self._away = False
            log.info("events are delivered again", principal=self._client.principal)
