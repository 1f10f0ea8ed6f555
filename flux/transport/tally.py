"""Counters for hot paths: an increment is an integer addition."""

from collections import defaultdict
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


class TallyBy(Collector):
    """A counter with one label, for one thread.

    Args:
        name: ends in ``_total``.
        documentation: one line.
        label: its name.
        registry: where it is read.

    Attributes:
        values: the counts by the label's value; add to them.
    """

    def __init__(
        self, name: str, documentation: str, label: str, registry: CollectorRegistry = REGISTRY
    ) -> None:
        self.values: defaultdict[object, int] = defaultdict(int)
        self._name = name
        self._documentation = documentation
        self._label = label
        registry.register(self)

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Give the values to the registry."""
        family = CounterMetricFamily(self._name, self._documentation, labels=[self._label])
        for label, value in self.values.items():
            family.add_metric([str(label)], value)
        yield family
