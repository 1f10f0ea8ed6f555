"""A tally is read by Prometheus like any counter."""

from prometheus_client import CollectorRegistry, generate_latest

from flux.transport.tally import Tally, TallyBy


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


def test_a_tally_by_a_label_is_exposed_with_each_of_its_values() -> None:
    """A value that nothing was counted for is not there."""
    registry = CollectorRegistry()
    tally = TallyBy("flux_test_answers_total", "For this test", "status", registry)
    tally.values[200] += 2
    tally.values[404] += 1
    exposed = generate_latest(registry).decode()
    assert 'flux_test_answers_total{status="200"} 2.0' in exposed
    assert 'flux_test_answers_total{status="404"} 1.0' in exposed
    assert 'status="500"' not in exposed
