"""A counter for hot paths: an increment is an integer addition."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from flux.metrics import REGISTRY


class Tally(Collector):
    """A counter without labels, for one thread.

    Args:
        name: ends in ``_total``.
        documentation: one line.
        registry: where it is read.

    Attributes:
        value: the count; add to it.
    """

    def __init__(self, name: str, documentation: str, registry: CollectorRegistry = REGISTRY) -> None:
        self.value = 0
        self._name = name
        self._documentation = documentation
        registry.register(self)

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Give the value to the registry."""
        yield CounterMetricFamily(self._name, self._documentation, value=self.value)
