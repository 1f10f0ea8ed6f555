"""The one Prometheus registry of a Flux process.

Each module declares the families that it counts at its head, with ``registry=REGISTRY`` and names that
begin with ``flux_``; the door serves them all under ``/metrics``.
"""

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector

REGISTRY = CollectorRegistry()

ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)
GCCollector(registry=REGISTRY)
