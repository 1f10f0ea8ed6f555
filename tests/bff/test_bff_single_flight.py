"""Single flight: one at a time until an answer or the limit."""

from flux.bff.single_flight import SingleFlight


def test_one_flight_until_its_end() -> None:
    """Whoever asks second is told that one is on its way; after the answer the next may fly."""
    flights = SingleFlight(10.0)
    assert flights.begin("k", 0.0)
    assert not flights.begin("k", 9.999)
    assert flights.begin("other", 1.0)
    flights.end("k")
    assert flights.begin("k", 2.0)


def test_limit_ends_a_flight_that_nothing_answered() -> None:
    """A lost refresh does not keep others away for ever."""
    flights = SingleFlight(10.0)
    assert flights.begin("k", 0.0)
    assert flights.begin("k", 10.0)
    flights.end("never begun")
