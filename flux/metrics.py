"""The one Prometheus registry of a Flux process.

Each module declares the families that it counts at its head, with ``registry=REGISTRY`` and names that
begin with ``flux_``; the door serves them all under ``/metrics``.
"""

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

# A second series for each counter, which only says when its process started.
disable_created_metrics()  # type: ignore[no-untyped-call] # it has no hints

REGISTRY = CollectorRegistry()

ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)
GCCollector(registry=REGISTRY)
