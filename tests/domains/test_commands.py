"""Commands as bytes: a query, or an error for the one who sent it; nothing else. Rejections repeat them."""

import json
import random
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flux.domains.commands import REASON_LIMIT, Query, Route, read_command, rejection
from flux.domains.providers import ProviderOptions, SimulationOptions
from flux.domains.sources.choice import Choice
from flux.domains.weather.provider import WeatherProvider
from flux.domains.weather.service import weather_route
from flux.domains.weather.simulated import SimulatedWeather
from flux.errors import RemoteError
from flux.messages import Received, Stamp

TOPIC = "weather.service.command.fetch"
EXAMPLE = b'{"event":"locationUpdate","userId":"uuid","data":{"city":"Delhi","lat":"28.61","lon":"77.20"}}'


def route() -> Route:
    """Return the weather's route over the simulation."""
    simulated = SimulatedWeather(SimulationOptions(seed=1), now=lambda: datetime(2026, 1, 1, tzinfo=UTC))
    choice: Choice[WeatherProvider] = Choice("weather", ProviderOptions(), real=None, simulated=simulated)
    return weather_route(choice)


def record(value: bytes | None, key: bytes | None = None) -> Received:
    """Return a command as it was consumed."""
    return Received(TOPIC, 3, 17, 0, value, key)


def stamp() -> Stamp:
    """Return the weather's stamp."""
    return Stamp("weather", lambda: datetime(2026, 1, 1, tzinfo=UTC), random.Random(1))


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
data = st.fixed_dictionaries({}, optional=dict.fromkeys(("city", "lat", "lon", "region"), json_values))
others = dict.fromkeys(("event", "timestamp", "userId", "reason", "more"), json_values)
shapes = st.fixed_dictionaries({}, optional={**others, "data": data})
damaged = st.tuples(st.integers(0, len(EXAMPLE) - 1), st.binary(max_size=3)).map(
    lambda cut: EXAMPLE[: cut[0]] + cut[1] + EXAMPLE[cut[0] + 1 :]
)


@settings(deadline=None, max_examples=300)
@given(st.binary() | damaged | shapes.map(lambda shape: json.dumps(shape).encode()))
@example(b'{"event":"\xff"}')
@example(b'{"event":"x","data":{"city":"x","lat":' + b"1" * 5000 + b"}}")
@example(b'{"event":"x","data":{"city":"x","lat":' + b"1" * 400 + b',"lon":1}}')
@example(b'{"event":"x","data":' + b'{"a":' * 30_000)
def test_any_value_is_a_query_or_a_refusal(value: bytes) -> None:
    """No command makes the worker fail in another way, and every query has a key that can be encoded."""
    try:
        query = read_command(record(value), route(), limit=65_536)
    except RemoteError as error:
        refusal = str(error)
    else:
        refusal = ""
        assert isinstance(query, Query)
        assert query.key.encode()
    fact = rejection(record(value), refusal, "weather.service.event.rejected", stamp(), limit=65_536)
    assert fact.value == value[:65_536]


def test_the_bound_of_a_command_counts_bytes() -> None:
    """A command of exactly the bound is read, one byte more is refused."""
    padded = EXAMPLE + b" " * 10
    assert read_command(record(padded), route(), limit=len(padded)).key == "delhi"
    with pytest.raises(RemoteError, match="at most"):
        read_command(record(padded), route(), limit=len(padded) - 1)


def test_a_reason_is_bounded_and_always_text() -> None:
    """A long reason is cut; what cannot be encoded is replaced."""
    fact = rejection(record(b"x", b"k"), "\ud800" + "é" * 10_000, "t", stamp(), limit=10)
    (reason,) = (raw for name, raw in fact.headers if name == "flux_reason")
    assert len(reason.decode()) == REASON_LIMIT
    assert fact.key == b"k"
    assert dict(fact.headers)["flux_partition"] == b"3"
    assert dict(fact.headers)["flux_offset"] == b"17"
