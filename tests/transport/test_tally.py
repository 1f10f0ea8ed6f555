"""A tally is read by Prometheus like any counter."""

from prometheus_client import CollectorRegistry, generate_latest

from flux.transport.tally import Tally


def test_a_tally_is_exposed_as_a_counter() -> None:
    """Its value is read at each scrape."""
    registry = CollectorRegistry()
    tally = Tally("flux_things_total", "Things", registry)
    tally.value += 2
    text = generate_latest(registry).decode()
    assert "# TYPE flux_things_total counter" in text
    assert "flux_things_total 2.0" in text
    tally.value += 1
    assert "flux_things_total 3.0" in generate_latest(registry).decode()
