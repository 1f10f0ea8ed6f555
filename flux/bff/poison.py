"""Poison: records that make no sense are counted and logged with their position, at a bounded rate."""

import structlog
from attrs import define
from prometheus_client import Counter

from flux.bff.views import people_text
from flux.messages import Received
from flux.metrics import REGISTRY

POISON = Counter("flux_bff_poison_events", "Events that were skipped.", ["topic"], registry=REGISTRY)

log = structlog.get_logger("flux.bff")

BURST = 1_000
"""Log lines a topic may have at once, so that every single poison has its own."""

RATE = 10.0
"""Lines a second beyond that: a ticker gone wrong brings thousands a second, for hours."""


@define
class _Budget:
    lines: float
    at: float
    unlogged: int = 0


class PoisonLog:
    """Counts every poison record, and logs it once with its position while its topic has lines left."""

    def __init__(self) -> None:
        self._budgets: dict[str, _Budget] = {}

    def skipped(self, record: Received, reason: str, now: float) -> None:
        """Note a record that is skipped.

        Args:
            record: the record.
            reason: why; may quote it.
            now: seconds, of one clock that never goes back.
        """
        POISON.labels(record.topic).inc()
        budget = self._budgets.setdefault(record.topic, _Budget(BURST, now))
        budget.lines = min(BURST, budget.lines + (now - budget.at) * RATE)
        budget.at = now
        if budget.lines < 1:
            budget.unlogged += 1
            return
        budget.lines -= 1
        unlogged, budget.unlogged = budget.unlogged, 0
        log.warning(
            "poison event skipped",
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            reason=people_text(reason),
            unlogged=unlogged,
        )
