"""Real ticks on their way: the exchange's own object in the contract's envelope, not encoded again."""

from collections.abc import Callable
from datetime import datetime

import structlog

from flux.domains.crypto.contract import NAME
from flux.domains.crypto.outlet import TickOutlet
from flux.domains.crypto.standin import StandIn
from flux.messages import iso_time

log = structlog.get_logger("flux.sources")


class TickRelay:
    """A `FeedListener` that sends what it hears.

    Args:
        source: the feed's name, as it stands in every event.
        outlet: where the ticks go.
        now: the wall clock, aware.
        stand_in: is told how the feed is; None: nothing stands in for it.
    """

    def __init__(
        self, source: str, outlet: TickOutlet, *, now: Callable[[], datetime], stand_in: StandIn | None
    ) -> None:
        self._outlet = outlet
        self._now = now
        self._stand_in = stand_in
        self._source = f',"source":"{source}","timestamp":"'.encode()

    async def tick(self, product: str, data: bytes) -> None:
        """Send a tick, or skip it while the broker does not take it.

        Args:
            product: the record's key.
            data: a valid JSON object, UTF-8.
        """
        if self._stand_in is not None and self._stand_in.ticked():
            log.info("real ticks are shown again", domain=NAME)
        time = iso_time(self._now()).encode()
        value = b"".join((b'{"status":"success","data":', data, self._source, time, b'"}'))
        await self._outlet.put(product, value)

    def down(self, reason: str) -> None:  # noqa: ARG002 - the feed's health says it
        """Note that the feed is down, or is not there yet."""
        if self._stand_in is not None:
            self._stand_in.down()
