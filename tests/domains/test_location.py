"""Locations: accepted, or refused with a `LocationError`; nothing else."""

import math
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flux.domains.domain import location_command_data
from flux.domains.location import Location, LocationError, city_key, parse_location

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
locations = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("city", "region", "country", "lat", "lon", "ip"), json_values)
)


@settings(deadline=None)
@given(json_values | locations)
@example({"city": "x", "lat": 10**5000, "lon": 1})
@example({"city": "x", "lat": math.nan, "lon": 1})
@example({"city": "\ud800"})
def test_any_payload_is_a_location_or_a_location_error(payload: Any) -> None:
    """No input from a client reaches the inside, or fails in another way."""
    try:
        location = parse_location(payload)
    except LocationError as error:
        refusal = error
    else:
        refusal = None
    if refusal is not None:
        assert str(refusal)
        assert refusal.city is None or 1 <= len(refusal.city) <= 100
        return
    assert location.city == payload["city"]
    assert 1 <= len(location.city) <= 100
    assert (location.lat is None) == (location.lon is None)
    if location.lat is not None and location.lon is not None:
        assert -90 <= float(location.lat) <= 90
        assert -180 <= float(location.lon) <= 180
    # What is accepted once travels as a command's data and is accepted again, the same.
    data = msgspec.json.decode(msgspec.json.encode(location_command_data(location)))
    assert parse_location(data) == location


@settings(deadline=None)
@given(st.floats(-90, 90), st.floats(-180, 180))
def test_numbers_and_their_texts_mean_the_same(lat: float, lon: float) -> None:
    """Coordinates may be sent as numbers or as text."""
    numbers = parse_location({"city": "x", "lat": lat, "lon": lon})
    texts = parse_location({"city": "x", "lat": str(lat), "lon": f" {lon} "})
    assert numbers == texts


def test_the_contracts_location_is_accepted_without_its_ip() -> None:
    """The contract's example is valid; the address goes no further."""
    payload = {"city": "Delhi", "region": "Delhi", "country": "IN", "lat": "28.61", "lon": "77.20", "ip": "x"}
    location = parse_location(payload)
    assert location == Location("Delhi", "Delhi", "IN", "28.61", "77.20")
    assert "ip" not in location_command_data(location)


@pytest.mark.parametrize(
    "payload",
    [
        None,
        [],
        "Delhi",
        {},
        {"city": ""},
        {"city": "  "},
        {"city": 5},
        {"city": "x" * 101},
        {"city": "a\nb"},
        {"city": "a\u2028b"},
        {"city": "x", "lat": "28.61"},
        {"city": "x", "lat": "91", "lon": "0"},
        {"city": "x", "lat": "0", "lon": "-180.01"},
        {"city": "x", "lat": "nan", "lon": "0"},
        {"city": "x", "lat": "inf", "lon": "0"},
        {"city": "x", "lat": "1_0", "lon": "0"},
        {"city": "x", "lat": "\u0661", "lon": "0"},
        {"city": "x", "lat": True, "lon": False},
        {"city": "x", "lat": [1], "lon": 0},
        {"city": "x", "lat": "1" + "0" * 40, "lon": 0},
        {"city": "x", "region": 5},
        {"city": "x", "country": "x" * 101},
    ],
)
def test_a_malformed_location_is_refused(payload: Any) -> None:
    """Each rule of a location refuses what breaks it."""
    with pytest.raises(LocationError):
        parse_location(payload)


def test_an_error_beside_a_valid_city_names_the_city() -> None:
    """The error can go to the city's own event where that much was valid."""
    with pytest.raises(LocationError) as caught:
        parse_location({"city": "St. John's", "lat": "x", "lon": "y"})
    assert caught.value.city == "St. John's"
    with pytest.raises(LocationError) as caught:
        parse_location({"city": "a\x00"})
    assert caught.value.city is None


def test_spellings_of_a_city_share_a_key() -> None:
    """Case, surrounding space and Unicode composition do not make another city."""
    assert city_key(" São Paulo ") == city_key("SA\u0303O PAULO") == "são paulo"
    assert city_key("St. John's") != city_key("St Johns")
