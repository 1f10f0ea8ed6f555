"""The watch on a client that has given up every broker it knew, which librdkafka does not mend by itself.

A lone broker that its controller has fenced, as after a pause of some seconds, names no broker in its
metadata, not even itself. librdkafka, since 2.10, then drops the one it knew, and is to return to the
bootstrap servers once that one is gone. Where an answer on its way holds the dropped one, or calls the return
off, it asks nobody any more, for good (confluentinc/librdkafka#5301). Its statistics show it: nothing is up,
and no broker is tried. The client is given up, and made anew by whoever supervises it.
"""

from typing import Any, Self

import msgspec
from attrs import define, field

STATISTICS_SECONDS = 2.0

PATIENCE_SECONDS = 6.0
"""How long it must show: a client that is well connects to some broker within a second when none is up, and a
broker that waits for its backoff counts as being tried."""

STRANDED = "it was told of no broker any more, and tries none"

_REAL = frozenset({"configured", "learned"})
"""Sources of a broker that can be asked for others; a group's coordinator is a logical one."""

_AT_REST = frozenset({"INIT", "DOWN"})
"""States in which a broker is neither connected nor being tried."""


class _Broker(msgspec.Struct):
    source: str
    state: str
    stateage: int  # microseconds

    @property
    def tried(self) -> bool:
        """Whether it is being tried, or was since the last look: an attempt makes its state a new one."""
        return self.state not in _AT_REST or self.stateage < STATISTICS_SECONDS * 1_000_000


class _Statistics(msgspec.Struct):
    brokers: dict[str, _Broker]


_decode = msgspec.json.Decoder(_Statistics).decode


@define
class BrokerWatch:
    """Reads a client's statistics; all of it runs in the client's thread.

    Source: librdkafka's ``STATISTICS.md``, the part on brokers.
    """

    _looks: int = field(default=0, init=False)

    @classmethod
    def over(cls, settings: dict[str, Any]) -> Self:
        """Return a watch over the client that is to be made with these settings; adds its own to them."""
        watch = cls()
        settings["statistics.interval.ms"] = round(STATISTICS_SECONDS * 1000)
        settings["stats_cb"] = watch.take
        return watch

    def take(self, statistics: str) -> None:
        """Take the statistics, a JSON text."""
        brokers = _decode(statistics).brokers.values()
        connected = any(broker.state == "UP" for broker in brokers)
        tried = any(broker.tried for broker in brokers if broker.source in _REAL)
        self._looks = 0 if connected or tried else self._looks + 1

    @property
    def stranded(self) -> bool:
        """Whether the client tries no broker, and so never will."""
        return self._looks * STATISTICS_SECONDS >= PATIENCE_SECONDS
